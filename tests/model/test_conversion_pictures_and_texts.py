"""Preprocessing and tokenizer between open_clip and transformers."""

import shutil
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessor, CLIPProcessor

from pcclip.model.conversion import to_transformers
from pcclip.model.conversion.preprocessing import image_processor, preprocess_config
from pcclip.model.conversion.tokenizers import save_tokenizer
from pcclip.model.errors import ModelError
from pcclip.model.towers import Towers, load_towers
from tests.model.conftest import TEXTS
from tests.model.conversions import SMALL


def _pictures(real_data: Path) -> list[Image.Image]:
    """Real photos, one of them turned and one cut very narrow."""
    files = sorted((real_data / "coco").rglob("*.jpg"))[:12]
    pictures = []
    for file in files:
        with Image.open(file) as picture:
            pictures.append(picture.convert("RGB"))
    return [*pictures, pictures[0].transpose(Image.Transpose.ROTATE_90), pictures[0].crop((0, 0, 40, 300))]


@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_preprocessing_of_real_pictures(real_data: Path, mode: str, interpolation: str) -> None:
    clip = open_clip.create_model(
        "pcclip-tiny",
        force_preprocess_cfg={
            "resize_mode": mode,
            "interpolation": interpolation,
            "mean": (0.1, 0.2, 0.3),
            "std": (0.4, 0.5, 0.6),
        },
    )
    towers = Towers(clip, "tiny", SMALL, open_clip.SimpleTokenizer())
    config = towers.preprocess_config()
    processor = image_processor(config)
    pil = _pil_processor()(**{k: v for k, v in processor.to_dict().items() if k != "image_processor_type"})
    pictures = _pictures(real_data)
    assert any(_crop_shift(picture, 32) != (0, 0) for picture in pictures)
    for picture in pictures:
        ours = towers.preprocess(picture)
        exact = pil(picture, return_tensors="pt")["pixel_values"][0]
        close = processor(picture, return_tensors="pt")["pixel_values"][0]
        shift = _crop_shift(picture, 32) if mode == "shortest" else (0, 0)
        down, right = shift
        rows, columns = slice(down, None), slice(right, None)
        their_rows = slice(None, -down if down else None)
        their_columns = slice(None, -right if right else None)
        # one pixel aside at most, and there the same picture
        torch.testing.assert_close(
            ours[:, their_rows, their_columns], exact[:, rows, columns], rtol=0, atol=1e-6
        )
        level = 3 / 255 / 0.4
        assert (ours[:, their_rows, their_columns] - close[:, rows, columns]).abs().max() < level
    back = preprocess_config(processor, 32)
    assert {**back, "size": [32, 32], "mean": list(back["mean"]), "std": list(back["std"])} == config


def _crop_shift(picture: Image.Image, edge: int) -> tuple[int, int]:
    """How far open_clip's crop lies below and right of transformers' (both round half a pixel)."""
    width, height = picture.size
    short = min(width, height)
    long = int(edge * max(width, height) / short)
    margin = long - edge
    aside = round(margin / 2) - margin // 2
    return (aside, 0) if height > width else (0, aside)


def _pil_processor() -> Any:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return CLIPImageProcessorPil


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": {"shortest_edge": 40}}, "shortest_edge"),
        ({"resample": 1}, "resample"),
        ({"do_normalize": False}, "do_normalize"),
        ({"rescale_factor": 1 / 128}, "rescale_factor"),
    ],
)
def test_preprocessing_that_open_clip_lacks(change: dict[str, Any], said: str) -> None:
    square = {"height": 32, "width": 32}
    processor = CLIPImageProcessor(**{"size": {"shortest_edge": 32}, "crop_size": square, **change})
    with pytest.raises(ModelError, match=said):
        preprocess_config(processor, 32)


def test_tokenizer_files(tiny: Towers, tmp_path: Path) -> None:
    """The same ids up to the end of text, also from the older files alone."""
    from transformers import AutoTokenizer, CLIPTokenizer

    tiny.context_length = 77
    save_tokenizer(tiny, tmp_path)
    older = tmp_path / "older"
    older.mkdir()
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(tmp_path / name, older / name)
    texts = [*TEXTS, "Don't  SHOUT!!! it's 3.14%, naïve émigrés\tand 中文 🙂", "<b>a & b</b>", "x" * 300]
    ours = tiny.tokenizer(texts)
    for tokenizer in (
        CLIPTokenizer.from_pretrained(tmp_path),
        AutoTokenizer.from_pretrained(tmp_path),
        CLIPTokenizer.from_pretrained(older),
    ):
        theirs = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
        lengths = theirs["attention_mask"].sum(1)
        assert lengths.tolist() == (ours.argmax(1) + 1).tolist()
        for our, their, length in zip(ours, theirs["input_ids"], lengths, strict=True):
            assert torch.equal(our[:length], their[:length])


def test_processor_of_a_folder(tiny: Towers, tmp_path: Path) -> None:
    save_tokenizer(tiny, tmp_path)
    image_processor(tiny.preprocess_config()).save_pretrained(tmp_path)
    to_transformers(tiny).save_pretrained(tmp_path)
    processor = CLIPProcessor.from_pretrained(tmp_path)
    picture = Image.new("RGB", (50, 40), "red")
    inputs = processor(text=["a cat"], images=picture, return_tensors="pt", padding=True)
    assert inputs["input_ids"].tolist() == [[49406, 320, 2368, 49407]]
    assert inputs["pixel_values"].shape == (1, 3, 32, 32)
    towers = load_towers(f"local-dir:{tmp_path}")
    assert towers.preprocess_config() == tiny.preprocess_config()
    assert towers.tokenizer_fingerprint() == tiny.tokenizer_fingerprint()
    assert towers.image_fingerprint() == tiny.image_fingerprint()
    assert towers.text_fingerprint() == tiny.text_fingerprint()
