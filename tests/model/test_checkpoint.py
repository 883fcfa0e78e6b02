"""Folders that plain open_clip loads, and checks of what fits what."""

import json
import math
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pcclip.model.checkpoint import check_compatible, describe, read_meta, save_folder
from pcclip.model.errors import ModelError
from pcclip.model.towers import Towers, load_towers
from pcclip.model.trainable import select_trainable
from tests.model.conftest import TEXTS


@pytest.mark.parametrize("name", ["pcclip-tiny", "pcclip-small"])
def test_plain_open_clip_loads_the_folder(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    towers = load_towers(name, random_init=True)
    select_trainable(towers, "both")
    towers.train()
    pixels = torch.randn(4, 3, *towers.preprocess_config()["size"])
    towers.encode_images(pixels)  # moves BatchNorm statistics, which must be saved
    towers.eval()
    folder = save_folder(towers, tmp_path / "model", {"trained": "both"})
    clip, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    clip.eval()
    picture = Image.effect_noise((90, 70), 60).convert("RGB")
    assert torch.equal(preprocess(picture), towers.preprocess(picture))
    with torch.no_grad():
        torch.testing.assert_close(clip.encode_image(pixels), towers.encode_images(pixels), atol=0, rtol=0)
        texts = clip.encode_text(tokenizer(TEXTS))
        torch.testing.assert_close(texts, towers.encode_texts(towers.tokenizer(TEXTS)), atol=1e-5, rtol=0)
    again = load_towers(f"local-dir:{folder}")
    assert again.image_fingerprint() == towers.image_fingerprint()
    assert again.text_fingerprint() == towers.text_fingerprint()
    assert again.tokenizer_fingerprint() == towers.tokenizer_fingerprint()
    assert again.architecture() == towers.architecture()


def test_meta(tiny: Towers, tmp_path: Path) -> None:
    folder = save_folder(tiny, tmp_path / "model", {"trained": "blocks", "alpha": 0.5})
    meta = read_meta(folder)
    assert (meta["trained"], meta["alpha"]) == ("blocks", 0.5)
    assert meta["base"]["name"] == "pcclip-tiny"
    assert meta["architecture"]["activation"] == "gelu"
    assert meta["fingerprints"] == {"image": tiny.image_fingerprint(), "text": tiny.text_fingerprint()}
    with pytest.raises(ModelError, match="only folders that pcclip saved"):
        read_meta(tmp_path)
    (folder / "pcclip.json").write_text('{"schema": 7}')
    with pytest.raises(ModelError, match="schema 7 is unknown"):
        read_meta(folder)


def test_logit_scale(tiny: Towers, tmp_path: Path) -> None:
    own = tiny.clip.logit_scale.item()
    folder = save_folder(tiny, tmp_path / "model", logit_scale=50.0)
    stored = load_file(folder / "open_clip_model.safetensors")["logit_scale"].item()
    assert stored == pytest.approx(math.log(50), abs=1e-6)
    assert tiny.clip.logit_scale.item() == own
    with pytest.raises(ModelError, match="above 0"):
        save_folder(tiny, tmp_path / "other", logit_scale=0.0)


def test_nothing_is_overwritten_and_nothing_left_half(tiny: Towers, tmp_path: Path) -> None:
    save_folder(tiny, tmp_path / "model")
    with pytest.raises(ModelError, match="exists already"):
        save_folder(tiny, tmp_path / "model")
    with pytest.raises(TypeError):
        save_folder(tiny, tmp_path / "other", {"not json": object()})
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_saving_adapters_leaves_training_as_it_was(tiny: Towers, tmp_path: Path) -> None:
    select_trainable(tiny, "lora")
    parameters = {n: p for n, p in tiny.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-2)
    tokens = tiny.tokenizer(TEXTS)
    losses = []
    for step in range(3):
        loss = tiny.encode_texts(tokens).square().mean()
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        save_folder(tiny, tmp_path / str(step))
    now = {n: p for n, p in tiny.named_parameters() if p.requires_grad}
    assert all(now[n] is p for n, p in parameters.items())
    assert losses[0] > losses[1] > losses[2]
    assert not any("lora" in n for n in load_file(tmp_path / "2" / "open_clip_model.safetensors"))


def test_another_architecture_is_refused(tiny: Towers, tmp_path: Path) -> None:
    small = load_towers("pcclip-small", random_init=True)
    with pytest.raises(ModelError, match=r"'pcclip-small' .*model is 'pcclip-tiny'.*embed_dim: 256 != 64"):
        check_compatible(describe(small), tiny)
    config = open_clip.get_model_config("pcclip-tiny") | {"quick_gelu": True}
    (tmp_path / "test-tiny-quickgelu.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    quick = load_towers("test-tiny-quickgelu", random_init=True)
    with pytest.raises(ModelError, match=r"\(CLIP, quick_gelu\).*\(CLIP, gelu\)"):
        check_compatible(describe(quick), tiny)


def test_other_base_weights_are_refused(tiny_folder: Path, tmp_path: Path, tiny: Towers) -> None:
    other = load_towers(f"local-dir:{save_folder(tiny, tmp_path / 'other')}")
    towers = load_towers(f"local-dir:{tiny_folder}")
    check_compatible(
        describe(towers), load_towers("pcclip-tiny", str(tiny_folder / "open_clip_model.safetensors"))
    )
    with pytest.raises(ModelError, match=r"continues from .*other'.*their image weights differ"):
        check_compatible(describe(other), towers)
    with torch.no_grad():  # what training does to the model says nothing on where it came from
        towers.clip.ln_final.weight.add_(1)
    check_compatible(read_meta(tiny_folder) | describe(towers), towers)
