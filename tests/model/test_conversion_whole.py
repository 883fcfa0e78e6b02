"""Whole models between open_clip and transformers, both ways."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel

from pcclip.model.checkpoint import save_folder
from pcclip.model.conversion import to_transformers
from pcclip.model.errors import ModelError
from pcclip.model.towers import Towers, load_towers
from tests.model.conftest import TEXTS
from tests.model.conversions import SMALL, towers_of

CLIP_CONFIG: dict[str, Any] = {
    "projection_dim": 40,
    "logit_scale_init_value": 3.5,
    "text_config": {
        "hidden_size": 64,
        "intermediate_size": 200,  # no multiple of the width
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    },
    "vision_config": {
        "hidden_size": 48,
        "intermediate_size": 100,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "image_size": 32,
        "patch_size": 8,
    },
}


def clip_model(activation: str = "quick_gelu", **text: Any) -> CLIPModel:
    """A small random `CLIPModel`."""
    config = json.loads(json.dumps(CLIP_CONFIG))
    config["text_config"] |= {"hidden_act": activation, **text}
    config["vision_config"]["hidden_act"] = activation
    torch.manual_seed(3)
    return CLIPModel(CLIPConfig(**config)).eval()


def embeddings_agree(towers: Towers, model: CLIPModel, pixels: torch.Tensor, tokens: torch.Tensor) -> None:
    with torch.no_grad():
        images = model.get_image_features(pixel_values=pixels).pooler_output
        texts = model.get_text_features(input_ids=tokens).pooler_output
        torch.testing.assert_close(images, towers.encode_images(pixels), rtol=0, atol=1e-5)
        torch.testing.assert_close(texts, towers.encode_texts(tokens), rtol=0, atol=1e-5)
        torch.testing.assert_close(model.logit_scale, towers.clip.logit_scale.reshape(()))


@pytest.mark.parametrize("quick_gelu", [False, True])
@pytest.mark.parametrize("custom_text", [False, True])
def test_out(quick_gelu: bool, custom_text: bool, stir: Callable[[torch.nn.Module], None]) -> None:
    towers = towers_of({**SMALL, "quick_gelu": quick_gelu, "custom_text": custom_text})
    stir(towers)
    embeddings_agree(towers, to_transformers(towers), torch.randn(3, 3, 32, 32), towers.tokenizer(TEXTS))


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu", "gelu_pytorch_tanh"])
@pytest.mark.parametrize("size", ["5GB", "100kB"])
def test_in(tmp_path: Path, activation: str, size: str) -> None:
    """From one file and from shards; then out again in open_clip's own layout."""
    model = clip_model(activation)
    model.save_pretrained(tmp_path / "theirs", max_shard_size=size)
    assert (tmp_path / "theirs" / "model.safetensors.index.json").exists() == (size == "100kB")
    towers = load_towers(f"local-dir:{tmp_path / 'theirs'}")
    pixels, tokens = torch.randn(3, 3, 32, 32), towers.tokenizer(TEXTS)
    embeddings_agree(towers, model, pixels, tokens)
    save_folder(towers, tmp_path / "ours")
    again = load_towers(f"local-dir:{tmp_path / 'ours'}")
    embeddings_agree(again, model, pixels, tokens)
    assert again.image_fingerprint() == towers.image_fingerprint()
    embeddings_agree(towers, to_transformers(again), pixels, tokens)


def test_in_from_older_files(tmp_path: Path) -> None:
    """`pytorch_model.bin`, with the counters that transformers saved once."""
    model = clip_model()
    model.config.save_pretrained(tmp_path)
    counters = {
        f"{tower}_model.embeddings.position_ids": torch.arange(5)[None] for tower in ("text", "vision")
    }
    torch.save({**model.state_dict(), **counters}, tmp_path / "pytorch_model.bin")
    towers = load_towers(f"local-dir:{tmp_path}")
    embeddings_agree(towers, model, torch.randn(2, 3, 32, 32), towers.tokenizer(TEXTS))


def test_another_end_of_text(tmp_path: Path) -> None:
    model = clip_model(vocab_size=1000, eos_token_id=7)
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no tokenizer files, and its 1000 tokens"):
        load_towers(f"local-dir:{tmp_path}")
    _byte_tokenizer(tmp_path)
    towers = load_towers(f"local-dir:{tmp_path}")
    tokens = torch.randint(8, 1000, (4, 77))
    tokens[:, 30] = 7
    embeddings_agree(towers, model, torch.randn(2, 3, 32, 32), tokens)
    assert towers.tokenizer(["ab"])[0, :4].tolist() == [6, 8, 9, 7]
    save_folder(towers, tmp_path / "ours")
    again = load_towers(f"local-dir:{tmp_path / 'ours'}")
    assert torch.equal(again.tokenizer(["ab a"]), towers.tokenizer(["ab a"]))
    embeddings_agree(again, model, torch.randn(2, 3, 32, 32), tokens)


def _byte_tokenizer(folder: Path) -> None:
    from transformers import CLIPTokenizer

    special = {"<s>": 6, "<e>": 7}
    vocabulary = {"!": 0, '"': 1, "#": 2, "$": 3, "%": 4, "&": 5, **special, "a": 8, "b</w>": 9, "a</w>": 10}
    CLIPTokenizer(
        vocab=vocabulary, merges=[], bos_token="<s>", eos_token="<e>", pad_token="<e>", unk_token="<e>"
    ).save_pretrained(folder)


def test_hub_in_the_cache(tmp_path: Path) -> None:
    """A repository in transformers' layout, offline, in a process of its own."""
    repository = tmp_path / "models--someone--clip"
    model = clip_model()
    model.save_pretrained(repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    code = (
        "from pcclip.model.towers import load_towers\n"
        f"towers = load_towers('hf-hub:someone/clip', cache_dir={str(tmp_path)!r})\n"
        "import torch; pixels = torch.linspace(-1, 1, 3072).view(1, 3, 32, 32)\n"
        "print(*towers.encode_images(pixels)[0].tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        pixels = torch.linspace(-1, 1, 3072).view(1, 3, 32, 32)
        wanted = model.get_image_features(pixel_values=pixels).pooler_output[0]
    torch.testing.assert_close(
        torch.tensor([float(x) for x in done.stdout.split()]), wanted, rtol=0, atol=1e-5
    )


def test_bad_folders(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    clip_model().save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    name = "text_model.encoder.layers.1.self_attn.k_proj.weight"
    save_file({n: t for n, t in weights.items() if n != name}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=rf"1 missing \({name}"):
        load_towers(f"local-dir:{folder}")
    save_file({**weights, "text_model.x": torch.ones(1)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="1 unexpected"):
        load_towers(f"local-dir:{folder}")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_towers(f"local-dir:{folder}")
    (folder / "config.json").write_text('{"model_type": "clip", "text_config": {"hidden_size": "wide"}}')
    with pytest.raises(ModelError, match=r"config\.json: cannot be read"):
        load_towers(f"local-dir:{folder}")
    (folder / "config.json").write_text('{"model_type": "siglip"}')
    with pytest.raises(ModelError, match="'siglip'"):
        load_towers(f"local-dir:{folder}")
    (folder / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="no model_type"):
        load_towers(f"local-dir:{folder}")


@pytest.mark.parametrize(
    ("vision", "reason"),
    [
        ({"layers": [1, 1, 1, 1], "patch_size": None}, "ModifiedResNet"),
        ({"timm_model_name": "test_vit"}, "timm's"),
        ({"attentional_pool": True}, "by attention"),
        ({"pool_type": "avg"}, "'avg'"),
        ({"no_ln_pre": True}, "layer norm before"),
        ({"image_size": [32, 64]}, "not square"),
    ],
)
def test_refused_image_towers(vision: dict[str, object], reason: str) -> None:
    config = {k: v for k, v in {**SMALL["vision_cfg"], **vision}.items() if v is not None}
    with pytest.raises(ModelError, match=f"{reason}.*text tower alone"):
        to_transformers(towers_of({**SMALL, "vision_cfg": config}))


def test_siglip_is_refused() -> None:
    with pytest.raises(ModelError, match="SigLIP"):
        to_transformers(towers_of({**SMALL, "init_logit_bias": -10.0}))
