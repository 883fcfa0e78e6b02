"""`pcclip export`: where it writes, what its card says, what it refuses."""

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from safetensors import safe_open

from pcclip.cli import main
from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import load_towers


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["export", *words]) == 1
    return capsys.readouterr().err


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "small" / "seed0"
    shutil.copytree(run, folder)
    return folder


def test_goes_into_the_run(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(copy)]) == 0
    out = copy / "exported" / "hub-folder"
    assert {file.name for file in out.iterdir()} == {
        *("README.md", "LICENSE", "pcclip.json"),
        *("open_clip_config.json", "open_clip_model.safetensors"),
        *("config.json", "model.safetensors", "preprocessor_config.json"),
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt"),
    }
    with safe_open(out / "model.safetensors", "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F32"}  # noqa: SIM118
    assert str(out) in capsys.readouterr().out
    assert main(["export", str(copy), "--stage", "interpolated", "--part", "text"]) == 0
    assert (copy / "exported" / "hub-folder-interpolated-text" / "model.safetensors").is_file()
    before = {file: file.read_bytes() for file in out.iterdir()}
    assert "exists already" in refused([str(copy)], capsys)
    assert {file: file.read_bytes() for file in out.iterdir()} == before


def test_card(copy: Path, run: Path) -> None:
    assert main(["export", str(copy)]) == 0
    text = (copy / "exported" / "hub-folder" / "README.md").read_text()
    card = ModelCard(text)
    assert (card.data.license, card.data.library_name) == ("other", "open_clip")
    assert card.data.pipeline_tag == "zero-shot-image-classification"
    for said in (
        "trained: `text` (123,456 parameters), 1,500 steps",
        "`DifferenceInfoNCE` (temperature 0.07, reversed_negative True)",
        "`MuonAdamW` (lr 0.002)",
        "61,234 differences of 600 pictures",
        "writer rules",
        "5 pairs rejected",
        "`nowhere/captions`, which was not there any more",
        # a loss, its interval below zero; the baselines beside
        "| shapes: zero-shot top-1 | 60.0 [58.0, 62.0] |  |  | **55.0 [53.0, 57.0] (▼ -5.0)** | 60.0",
        "| 50.0 [48.0, 52.0] | 93.0 [91.0, 95.0] | 70.0 [68.0, 72.0] | 90.0 [88.0, 92.0] (+40.0) |",
        "tuned (90.0) does not reach text difference (base, training-free) (93.0)",
        "Of 2 held-out wordings it reads 1 below chance; the worst is `odd-2` (3.1).",
        "Only the text tower was trained",
    ):
        assert said in text, said
    assert "made up (CC0)" in (copy / "exported" / "hub-folder" / "LICENSE").read_text()
    # nothing of where it was made
    assert all(
        str(run.parents[3]) not in file.read_text(errors="ignore") for file in copy.rglob("hub-folder/*.*")
    )


def test_base_weights(copy: Path, run: Path) -> None:
    assert main(["export", str(copy), "--stage", "base", "--to", "open_clip"]) == 0
    out = copy / "exported" / "open_clip-base"
    exported = load_towers(f"local-dir:{out}")
    base = json.loads((copy / "summary.json").read_text())["base_model"]["base"]
    assert exported.text_fingerprint() == base["text_fingerprint"]
    assert "unchanged" in (out / "README.md").read_text()
    assert "column **base**" in (out / "README.md").read_text()


def test_a_model_that_transformers_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused where it was asked for; said in the card of a hub folder, which open_clip loads."""
    model = save_folder(load_towers("pcclip-mini", random_init=True), tmp_path / "model")
    out = tmp_path / "out"
    error = refused([str(model), "--to", "transformers", "--out", str(out)], capsys)
    assert "ModifiedResNet" in error
    assert "--part text" in error
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    assert main(["export", str(model), "--out", str(out)]) == 0
    assert "ModifiedResNet" in (out / "README.md").read_text()
    assert (out / "tokenizer.json").is_file()
    assert not (out / "config.json").exists()
    assert (
        load_towers(f"local-dir:{out}").text_fingerprint()
        == load_towers(f"local-dir:{model}").text_fingerprint()
    )


def test_refusals(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--to transformers" in refused([str(copy), "--to", "open_clip", "--part", "text"], capsys)
    assert "no such folder" in refused([str(tmp_path / "none")], capsys)
    assert "--out" in refused([str(copy / "model")], capsys)
    shutil.rmtree(copy / "interpolated")
    assert "no interpolated weights" in refused([str(copy), "--stage", "interpolated"], capsys)
    (copy / "summary.json").unlink()
    assert "not finished" in refused([str(copy)], capsys)
