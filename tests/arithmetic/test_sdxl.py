"""Stable Diffusion XL with its first text encoder replaced, against diffusers on a small real pipeline."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image
from torch import Tensor

from pcclip.arithmetic.generators import Conditioning
from pcclip.arithmetic.sdxl import StableDiffusionXL
from pcclip.arithmetic.sdxl_generator import SDXLGenerator
from pcclip.arithmetic.vectors import Arithmetic
from pcclip.errors import PcclipError
from pcclip.model.conversion import text_model
from pcclip.model.towers import Towers, load_towers
from tests.arithmetic.conftest import TinySDXL
from tests.arithmetic.tiny_sdxl import WIDTH, random_towers

TEXTS = ["a photo of a camel", "snowier than, with far more trees behind it", ""]


@pytest.fixture(scope="module")
def generator(tiny_sdxl: TinySDXL) -> SDXLGenerator:
    return StableDiffusionXL(str(tiny_sdxl.pipeline), device="cpu", steps=2).load()


@pytest.fixture(scope="module")
def tuned(tiny_sdxl: TinySDXL) -> Towers:
    return load_towers(f"local-dir:{tiny_sdxl.tuned}")


@pytest.fixture
def diffusers_own(tiny_sdxl: TinySDXL) -> Iterator[StableDiffusionXLPipeline]:
    pipeline = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl.pipeline)
    pipeline.set_progress_bar_config(disable=True)
    with torch.no_grad():
        yield pipeline


def joined(conditioning: Conditioning) -> Tensor:
    return torch.cat([conditioning.states, conditioning.other_states], dim=-1)


def same(first: Image.Image, second: Image.Image) -> bool:
    return first.size == second.size and np.array_equal(np.asarray(first), np.asarray(second))


def test_no_tower_gives_the_pipelines_own_prompt_embeddings(
    generator: SDXLGenerator, diffusers_own: StableDiffusionXLPipeline
) -> None:
    ours = generator.encode(TEXTS)
    for row, text in enumerate(TEXTS):
        theirs = diffusers_own.encode_prompt(text)
        assert torch.equal(joined(ours)[row], theirs[0][0])
        assert torch.equal(ours.other_pooled[row], theirs[2][0])
    assert ours.pooled is None


def test_a_tower_replaces_exactly_the_first_encoders_part(
    generator: SDXLGenerator, tuned: Towers, diffusers_own: StableDiffusionXLPipeline
) -> None:
    before, after = generator.encode(TEXTS), generator.encode(TEXTS, tuned)
    assert after.states.shape == (3, 77, WIDTH)
    assert not torch.isclose(before.states[:, 1:], after.states[:, 1:]).all(dim=(1, 2)).any()
    assert torch.equal(before.other_states, after.other_states)
    assert torch.equal(before.other_pooled, after.other_pooled)

    diffusers_own.text_encoder = text_model(tuned).text_model
    theirs = diffusers_own.encode_prompt(TEXTS)
    torch.testing.assert_close(joined(after), theirs[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(after.other_pooled, theirs[2], rtol=0, atol=1e-5)
    assert torch.equal(generator.encode(TEXTS).states, before.states)  # the pipeline has its own back


def test_the_pipelines_own_tower_as_an_open_clip_model_changes_nothing(
    generator: SDXLGenerator, tiny_sdxl: TinySDXL
) -> None:
    base = load_towers(f"local-dir:{tiny_sdxl.base}")
    torch.testing.assert_close(
        generator.encode(TEXTS, base).states, generator.encode(TEXTS).states, rtol=0, atol=1e-5
    )


def test_a_tower_that_trains_on_is_converted_again(generator: SDXLGenerator, tiny_sdxl: TinySDXL) -> None:
    tower = load_towers(f"local-dir:{tiny_sdxl.base}")
    before = generator.encode(TEXTS, tower)
    with torch.no_grad():
        for parameter in tower.clip.transformer.parameters():
            parameter.mul_(1.1)
    assert not torch.allclose(generator.encode(TEXTS, tower).states, before.states)


@pytest.mark.parametrize("negative", [None, "blurred"])
def test_pictures_are_those_of_the_pipeline_called_by_hand(
    tiny_sdxl: TinySDXL, tuned: Towers, diffusers_own: StableDiffusionXLPipeline, negative: str | None
) -> None:
    source = StableDiffusionXL(str(tiny_sdxl.pipeline), device="cpu", steps=3, negative_prompt=negative)
    generator = source.load()
    ours = generator.draw(generator.encode(TEXTS), [5, 6, 7])
    for text, seed, picture in zip(TEXTS, [5, 6, 7], ours, strict=True):
        random = torch.Generator().manual_seed(seed)
        theirs = diffusers_own(
            text, negative_prompt=negative, num_inference_steps=3, guidance_scale=5.0, generator=random
        ).images[0]
        assert same(picture, theirs)

    # With a tower: the negative prompt stays with the pipeline's own encoders.
    states, away, pooled, pooled_away = diffusers_own.encode_prompt(TEXTS[0], negative_prompt=negative)
    states[..., :WIDTH] = text_states(tuned, diffusers_own, TEXTS[0])
    theirs = diffusers_own(
        prompt_embeds=states,
        pooled_prompt_embeds=pooled,
        negative_prompt_embeds=away,
        negative_pooled_prompt_embeds=pooled_away,
        num_inference_steps=3,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(5),
    ).images[0]
    (replaced,) = generator.draw(generator.encode(TEXTS[:1], tuned), [5])
    assert same(replaced, theirs)
    assert not same(replaced, ours[0])


def text_states(tower: Towers, pipeline: StableDiffusionXLPipeline, text: str) -> Tensor:
    tokens = pipeline.tokenizer(text, padding="max_length", return_tensors="pt").input_ids
    return text_model(tower)(tokens, output_hidden_states=True).hidden_states[-2]


@pytest.mark.parametrize(
    "arithmetic",
    [
        Arithmetic("add"),
        Arithmetic("average", keep_length=True),
        Arithmetic("direction", "opposite", "both", "all"),
    ],
    ids=["add", "average", "direction"],
)
def test_weight_zero_is_the_base_picture_and_other_weights_move_it(
    generator: SDXLGenerator, tuned: Towers, arithmetic: Arithmetic
) -> None:
    base, attribute, opposite = (
        generator.encode([text], tuned) for text in ("a camel", "snowier than", "less snowy than")
    )
    minus = opposite if arithmetic.relative_to == "opposite" else None
    (plain,) = generator.draw(base, [3])
    drawn = [generator.draw(arithmetic.apply(base, attribute, w, minus), [3])[0] for w in (0, 0.5, 1)]
    assert same(plain, drawn[0])
    assert not same(drawn[0], drawn[1])
    assert not same(drawn[1], drawn[2])


@pytest.mark.parametrize("scheduler", [None, "EulerAncestralDiscreteScheduler"])  # the latter adds noise
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_picture_depends_on_its_row_and_seed_alone(
    tiny_sdxl: TinySDXL, batch_size: int, scheduler: str | None
) -> None:
    generator = StableDiffusionXL(
        str(tiny_sdxl.pipeline), device="cpu", steps=2, batch_size=batch_size, scheduler=scheduler
    ).load()
    together = generator.encode([*TEXTS, "a wolf"])
    pictures = generator.draw(together, [1, 2, 3, 1])
    for row, seed in enumerate([1, 2, 3, 1]):
        text = [*TEXTS, "a wolf"][row]
        (alone,) = generator.draw(generator.encode([text]), [seed])
        off = np.abs(np.asarray(alone, dtype=int) - np.asarray(pictures[row], dtype=int)).max()
        assert off == 0 if batch_size == 1 else off <= 1
    assert not same(generator.draw(together.select([0]), [9])[0], pictures[0])


def test_the_cost_is_told(tiny_sdxl: TinySDXL) -> None:
    generator = StableDiffusionXL(str(tiny_sdxl.pipeline), device="cpu", steps=1, batch_size=2).load()
    assert generator.cost()["pictures"] == 0
    generator.draw(generator.encode(TEXTS), [1, 2, 3])
    cost = generator.cost()
    assert cost["pictures"] == 3
    assert cost["seconds_per_picture"] == pytest.approx(cost["seconds"] / 3)
    assert cost["seconds"] > 0
    assert 0.1 < cost["peak_memory_gib"] < 100


def test_options_of_memory_change_no_picture_and_others_do(
    tiny_sdxl: TinySDXL, generator: SDXLGenerator
) -> None:
    model = str(tiny_sdxl.pipeline)
    plain = generator.draw(generator.encode(TEXTS[:1]), [1])[0]
    thrifty = StableDiffusionXL(model, device="cpu", steps=2, attention_slicing=True, vae_slicing=True).load()
    picture = np.asarray(thrifty.draw(thrifty.encode(TEXTS[:1]), [1])[0], dtype=int)
    assert np.abs(picture - np.asarray(plain, dtype=int)).max() <= 1
    assert thrifty.fingerprint() == generator.fingerprint()
    for other in (
        {"steps": 3},
        {"guidance": 1.0},
        {"negative_prompt": "blurred"},
        {"scheduler": "DDIMScheduler"},
        {"dtype": "bf16"},
        {"height": 48, "width": 64},
    ):
        changed = StableDiffusionXL(model, device="cpu", **{"steps": 2, **other}).load()
        assert changed.fingerprint() != generator.fingerprint()
        (drawn,) = changed.draw(changed.encode(TEXTS[:1]), [1])
        assert not same(drawn, plain)
        assert drawn.size == ((64, 48) if "height" in other else (32, 32))


def test_other_weights_have_another_fingerprint(tiny_sdxl: TinySDXL, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_sdxl.pipeline, tmp_path / "copy"))
    model = StableDiffusionXLPipeline.from_pretrained(copy)
    with torch.no_grad():
        next(model.unet.parameters()).view(-1)[0] += 1e-3
    model.unet.save_pretrained(copy / "unet")
    prints = [
        StableDiffusionXL(str(folder), device="cpu").load().fingerprint()
        for folder in (tiny_sdxl.pipeline, copy)
    ]
    assert prints[0] != prints[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ({"width": 64}, "width 64 != 32, MLP width 256 != 128"),
        ({"layers": 2}, "layers 2 != 3"),
        ({"context_length": 32}, "context 32 != 77"),
    ],
)
def test_a_tower_that_does_not_fit_is_refused(
    generator: SDXLGenerator, tmp_path: Path, text: dict[str, int], said: str
) -> None:
    towers = random_towers(tmp_path, name=f"unfit-{next(iter(text))}", **text)
    with pytest.raises(PcclipError, match=rf"unfit-\w+.*{said}.*ViT-L-14-quickgelu"):
        generator.encode(TEXTS, towers)


def test_another_activation_is_refused_and_other_base_weights_are_warned_of(
    generator: SDXLGenerator, tmp_path: Path, tiny_sdxl: TinySDXL
) -> None:
    gelu = Path(shutil.copytree(tiny_sdxl.base, tmp_path / "gelu"))
    config = json.loads((gelu / "open_clip_config.json").read_text())
    config["model_cfg"]["quick_gelu"] = False
    (gelu / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(PcclipError, match="activation gelu != quick_gelu"):
        generator.encode(TEXTS, load_towers(f"local-dir:{gelu}"))
    with pytest.warns(UserWarning, match="not trained from the weights"):
        generator.encode(TEXTS, random_towers(tmp_path, seed=9, name="stranger"))


def test_what_cannot_be_loaded_says_why(
    tiny_sdxl: TinySDXL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = str(tiny_sdxl.pipeline)

    def refused(match: str, **settings: object) -> None:
        with pytest.raises(PcclipError, match=match):
            StableDiffusionXL(**{"model": model, "device": "cpu", **settings}).load()

    (tmp_path / "empty").mkdir()
    refused(r"empty: has no model_index\.json", model=str(tmp_path / "empty"))
    refused("nowhere: no such folder", model=str(tmp_path / "nowhere"))
    refused("cannot read model_index.json of 'nobody/nothing'", model="nobody/nothing")
    refused("dtype: fp16 is for GPUs", dtype="fp16")
    refused("offload: model moves weights", offload="model")
    refused("device: 'gpu' is none", device="gpu")
    refused("height: 20 is not divisible by 8", height=20)
    refused("'Euler' does not go with this model; these do: .*DDIMScheduler", scheduler="Euler")
    refused(r"cannot load .* \(variant fp16\)", variant="fp16")
    refused("batch_size must be at least 1, got 0", batch_size=0)

    other = Path(shutil.copytree(tiny_sdxl.pipeline, tmp_path / "other"))
    index = json.loads((other / "model_index.json").read_text())
    (other / "model_index.json").write_text(json.dumps({**index, "_class_name": "StableDiffusionPipeline"}))
    refused("is a StableDiffusionPipeline, not a StableDiffusionXLPipeline", model=str(other))
    (other / "model_index.json").write_text(json.dumps({**index, "text_encoder": [None, None]}))
    refused("has no text_encoder", model=str(other))
    (other / "model_index.json").write_text(json.dumps(index))
    (other / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"damaged")
    refused("cannot load .*other", model=str(other))
