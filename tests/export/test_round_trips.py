"""Exported folders in processes that have no pcclip: the same embeddings by open_clip and by transformers."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from pcclip.cli import main
from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import Towers, load_towers

TEXTS = ["the first picture is darker", "Two dogs, one of THEM larger!", "snow " * 100]

PROLOGUE = """
import json, sys
sys.modules["pcclip"] = None  # an editable install is seen by every process of this Python
try:
    import pcclip
except ImportError:
    pass
else:
    raise SystemExit("pcclip can be imported")
import torch
from PIL import Image
name, texts, pictures = sys.argv[1], json.loads(sys.argv[2]), [Image.open(p) for p in json.loads(sys.argv[3])]
torch.set_grad_enabled(False)
"""

OPEN_CLIP = """
import open_clip
model, _, preprocess = open_clip.create_model_and_transforms(name)
model.eval()
pixels = torch.stack([preprocess(p) for p in pictures])
tokens = open_clip.get_tokenizer(name)(texts)
print(json.dumps([model.encode_image(pixels).tolist(), model.encode_text(tokens).tolist(),
                  model.logit_scale.exp().item()]))
"""

TRANSFORMERS = """
from transformers import CLIPModel, CLIPProcessor, CLIPTextModelWithProjection, CLIPTokenizer
name = name.removeprefix("hf-hub:")
model = CLIPModel.from_pretrained(name)
processor = CLIPProcessor.from_pretrained(name, backend="pil")
inputs = processor(text=texts, images=pictures, padding=True, truncation=True, return_tensors="pt")
images = model.get_image_features(pixel_values=inputs["pixel_values"]).pooler_output
tokens = {k: inputs[k] for k in ("input_ids", "attention_mask")}
found = model.get_text_features(**tokens).pooler_output
inputs = CLIPTokenizer.from_pretrained(name)(texts, padding=True, truncation=True, return_tensors="pt")
alone = CLIPTextModelWithProjection.from_pretrained(name)(**inputs).text_embeds
assert (alone - found).abs().max() < 1e-6, (alone - found).abs().max()
print(json.dumps([images.tolist(), found.tolist(), model.logit_scale.exp().item()]))
"""

TEXT = """
from transformers import CLIPTextModelWithProjection, CLIPTokenizer
inputs = CLIPTokenizer.from_pretrained(name)(texts, padding=True, truncation=True, return_tensors="pt")
print(json.dumps([[], CLIPTextModelWithProjection.from_pretrained(name)(**inputs).text_embeds.tolist(), 0.0]))
"""


def elsewhere(
    code: str, name: str, pictures: list[Path], hub: Path | None = None
) -> list[tuple[torch.Tensor, torch.Tensor, float]]:
    """What a process without pcclip prints, offline: embeddings of pictures and texts, logit scale."""
    words = [name, json.dumps(TEXTS), json.dumps([str(p) for p in pictures])]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1"} | ({} if hub is None else {"HF_HUB_CACHE": str(hub)})
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROLOGUE + code, *words],
        env=environment,
        cwd=pictures[0].parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return [(torch.tensor(images), torch.tensor(texts), scale) for images, texts, scale in found]


@torch.no_grad()
def here(folder: Path, pictures: list[Path]) -> tuple[torch.Tensor, torch.Tensor, Towers]:
    towers = load_towers(f"local-dir:{folder}")
    pixels = torch.stack([towers.preprocess(Image.open(p)) for p in pictures])
    return towers.encode_images(pixels), towers.encode_texts(towers.tokenizer(TEXTS)), towers


def agree(
    found: list[tuple[torch.Tensor, torch.Tensor, float]], times: int, folder: Path, pictures: list[Path]
) -> None:
    images, texts, _ = here(folder, pictures)
    assert len(found) == times
    for their_images, their_texts, scale in found:
        torch.testing.assert_close(their_images, images, rtol=0, atol=1e-5)
        torch.testing.assert_close(their_texts, texts, rtol=0, atol=1e-5)
        assert scale == pytest.approx(25.0, rel=1e-5)


def in_the_hub(folder: Path, cache: Path) -> Path:
    """The folder as the hub's client keeps a repository that it has downloaded."""
    repository = cache / "models--someone--tuned"
    shutil.copytree(folder, repository / "snapshots" / ("b" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("b" * 40)
    return cache


def test_transformers(run: Path, pictures: list[Path], tmp_path: Path) -> None:
    """A whole model, and the text tower of one whose image tower is no vision transformer."""
    out, text = tmp_path / "exported", tmp_path / "text"
    words = ["--to", "transformers", "--stage", "interpolated", "--out", str(out)]
    assert main(["export", str(run), *words]) == 0
    assert {file.suffix for file in out.iterdir()} == {".json", ".txt", ".md", ".safetensors", ""}
    torch.manual_seed(0)
    other = save_folder(load_towers("pcclip-mini", random_init=True), tmp_path / "model")
    words = ["--to", "transformers", "--part", "text", "--out", str(text)]
    assert main(["export", str(other), *words]) == 0

    whole, alone = elsewhere(f"{TRANSFORMERS}\nname = {str(text)!r}\n{TEXT}", str(out), pictures)
    agree([whole], 1, run / "interpolated", pictures)
    torch.testing.assert_close(alone[1], here(other, pictures)[1], rtol=0, atol=1e-5)

    again = here(out, pictures)  # and back into pcclip
    before = here(run / "interpolated", pictures)
    torch.testing.assert_close(again[0], before[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(again[1], before[1], rtol=0, atol=1e-6)
    assert again[2].text_fingerprint() == before[2].text_fingerprint()


def test_open_clip_from_a_folder_and_both_libraries_from_the_hub(
    run: Path, pictures: list[Path], tmp_path: Path
) -> None:
    """The latter as the hub's client has it after an upload and a download."""
    alone, out = tmp_path / "open_clip", tmp_path / "exported"
    assert main(["export", str(run), "--to", "open_clip", "--out", str(alone)]) == 0
    assert main(["export", str(run), "--out", str(out)]) == 0
    hub = in_the_hub(out, tmp_path / "hub")
    code = f"{OPEN_CLIP}\nname = 'hf-hub:someone/tuned'\n{OPEN_CLIP}{TRANSFORMERS}"
    found = elsewhere(code, f"local-dir:{alone}", pictures, hub)
    agree(found, 3, run / "model", pictures)


@pytest.mark.slow
def test_examples_of_the_cards(run: Path, pictures: list[Path], tmp_path: Path) -> None:
    """As they stand there, in the folder where the exported ones are."""
    for picture in pictures:
        Image.open(picture).save(tmp_path / f"{picture.stem}.jpg")
    code: list[str] = []
    for to in ("open_clip", "transformers", "text"):
        words = ["--to", "transformers", "--part", "text"] if to == "text" else ["--to", to]
        assert main(["export", str(run), *words, "--out", str(tmp_path / to)]) == 0
        blocks = re.findall(r"```python\n(.*?)```", (tmp_path / to / "README.md").read_text(), re.S)
        assert len(blocks) == (1 if to == "text" else 2)
        code += blocks
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
