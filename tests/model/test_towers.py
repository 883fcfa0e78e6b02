"""Where towers come from, and what is refused."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from pcclip.model.errors import ModelError
from pcclip.model.towers import Towers, load_towers
from tests.model.conftest import TEXTS

WEIGHTS = "open_clip_model.safetensors"


def test_bare_architecture_wants_weights() -> None:
    with pytest.raises(ModelError, match="random_init=True"):
        load_towers("pcclip-tiny")
    with pytest.raises(ModelError, match="contradict"):
        load_towers("pcclip-tiny", "x.pt", random_init=True)


def test_loaded_frozen_in_fp32(tiny: Towers) -> None:
    assert {p.dtype for p in tiny.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in tiny.parameters())
    assert not tiny.training
    assert tiny.image_frozen
    assert tiny.encode_texts(tiny.tokenizer(TEXTS)).shape == (len(TEXTS), tiny.embed_dim)
    assert tiny.encode_images(torch.randn(2, 3, 32, 32)).shape == (2, tiny.embed_dim)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
def test_checkpoint_file(tiny_folder: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    state = load_file(tiny_folder / WEIGHTS)
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": {f"module.{n}": t for n, t in state.items()}}, path)
    towers = load_towers("pcclip-tiny", str(path))
    folder = load_towers(f"local-dir:{tiny_folder}")
    assert towers.image_fingerprint() == folder.image_fingerprint()
    assert towers.text_fingerprint() == folder.text_fingerprint()
    assert towers.tokenizer_fingerprint() == folder.tokenizer_fingerprint()


def test_hub_from_the_cache(tiny_folder: Path, tmp_path: Path) -> None:
    """The hub's own cache layout, offline, in a process of its own."""
    repository = tmp_path / "models--someone--tiny"
    shutil.copytree(tiny_folder, repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    code = (
        "from pcclip.model.towers import load_towers\n"
        f"print(load_towers('hf-hub:someone/tiny', cache_dir={str(tmp_path)!r}).text_fingerprint())"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == load_towers(f"local-dir:{tiny_folder}").text_fingerprint()


@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        ("pcclip-smal", None, "no architecture is called 'pcclip-smal'; near names: pcclip-small"),
        ("ViT-B-32", "laion2b_s34b", "no pretrained weights called 'laion2b_s34b'.*near: laion2b_s34b_b79k"),
        ("pcclip-tiny", "openai", "there are: none is published"),
        (
            "ViT-B-32",
            "openai",
            "trained with QuickGELU but 'ViT-B-32' computes GELU: use .*-quickgelu'",
        ),
        ("ViT-B-32", "missing/weights.pt", "no such checkpoint file"),
        ("local-dir:missing", None, "no such folder"),
        ("local-dir:.", "openai", "brings its own weights"),
    ],
)
def test_names_that_are_not_there(name: str, pretrained: str | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_towers(name, pretrained)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / WEIGHTS).unlink(), "has open_clip_config.json but no weights"),
        (lambda f: (f / "open_clip_config.json").unlink(), "open_clip_config.json: no such file"),
        (lambda f: (f / "open_clip_config.json").write_text("{"), "not an open_clip config"),
        (lambda f: (f / "open_clip_config.json").write_text('{"model_cfg": {}}'), "needs the keys embed_dim"),
        (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:5000]), "damaged"),
    ],
)
def test_spoiled_folder(tiny_folder: Path, tmp_path: Path, spoil: object, message: str) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "copy")
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(ModelError, match=message):
        load_towers(f"local-dir:{folder}")


def test_file_of_another_architecture(tiny_folder: Path, tmp_path: Path) -> None:
    beside = str(tiny_folder / WEIGHTS)
    with pytest.raises(ModelError, match=r"not a 'pcclip-small': .*embed_dim: 64 != 256.*local-dir:"):
        load_towers("pcclip-small", beside)
    alone = shutil.copy(beside, tmp_path / "alone.safetensors")
    with pytest.raises(
        ModelError,
        match=r"another architecture than 'pcclip-small'. The file: text layers 2, text width 64.*"
        r"Asked for: text layers 3, text width 192.*fit the file: pcclip-tiny",
    ):
        load_towers("pcclip-small", str(alone))


def test_position_embeddings_are_not_stretched(tiny_folder: Path, tmp_path: Path) -> None:
    state = load_file(tiny_folder / WEIGHTS)
    state["positional_embedding"] = state["positional_embedding"][:32].clone()
    save_file(state, tmp_path / "short.safetensors")
    with pytest.raises(ModelError, match=r"context 32.*Asked for.*context 77"):
        load_towers("pcclip-tiny", str(tmp_path / "short.safetensors"))


class Payload:
    def __reduce__(self) -> tuple:
        return os.system, ("touch owned",)


def test_pickled_code_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Payload()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="pickled code, which is never run"):
        load_towers("pcclip-tiny", "evil.pt")
    assert not (tmp_path / "owned").exists()


def test_file_without_weights(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="no weights in it"):
        load_towers("pcclip-tiny", str(tmp_path / "other.pt"))


def test_preprocessing_beside_a_file_is_used(tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "copy")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["preprocess_cfg"] |= {"mean": [0.5, 0.5, 0.5], "interpolation": "bilinear"}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    towers = load_towers("pcclip-tiny", str(folder / WEIGHTS))
    assert towers.preprocess_config()["mean"] == [0.5, 0.5, 0.5]
    with pytest.raises(ModelError, match=r"preprocessing of its image tower are not those that were saved"):
        load_towers(f"local-dir:{folder}")
    (folder / "pcclip.json").unlink()  # what the message says of a change on purpose
    same = load_towers(f"local-dir:{folder}")
    assert towers.image_fingerprint() == same.image_fingerprint()
    assert towers.image_fingerprint() != load_towers(f"local-dir:{tiny_folder}").image_fingerprint()


def test_image_fingerprint_follows_the_weights(tiny: Towers) -> None:
    first = tiny.image_fingerprint()
    assert tiny.image_fingerprint() == first
    with torch.no_grad():
        tiny.visual.conv1.weight[0, 0, 0, 0] += 1e-6
    assert tiny.image_fingerprint() != first


def test_tokenizer_fingerprint(tiny: Towers) -> None:
    other = open_clip.SimpleTokenizer(context_length=77, clean="canonicalize")
    first = tiny.tokenizer_fingerprint()
    tiny.tokenizer = other
    assert tiny.tokenizer_fingerprint() != first
