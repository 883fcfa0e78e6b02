"""Differences from captions alone, without a model."""

import json
from pathlib import Path

import pytest

from pcclip.cli import main
from pcclip.data.records import Picture, Triple
from pcclip.data.shards import ShardIndex, ShardSetWriter, resolve_shards

CAPTIONS = {
    "one": ("A dog runs along the beach.", "<|im_end|> a wet dog"),
    "two": ("Two children pull a sledge",),
    "three": ("Berlin at night.",),
    "four": ("berlin at night",),
}


def write(folder: Path, *words: str) -> int:
    with ShardSetWriter(folder / "pictures", "pictures", 10) as pictures:
        for key, texts in CAPTIONS.items():
            pictures.write_picture(Picture(key, b"JPEG", "jpg", texts[0], None, {}, texts))
    recipe = ["--config", "data_recipes/your_own/contrasts.yaml", "--rows.pictures", str(folder / "pictures")]
    plan = ["--rows.plan", "{pictures: 0, pairs: 0, method: all, direction: both}"]
    return main(["write", *recipe, *plan, "--out", str(folder / "out"), "--progress", "false", *words])


def test_each_text_sets_a_caption_of_one_picture_against_one_of_the_other(tmp_path: Path) -> None:
    assert write(tmp_path, "--writer.frames", '["{one} rather than {two}", "not {two} but {one}"]') == 0
    parts = {
        "one": ("a dog runs along the beach", "a wet dog"),
        "two": ("two children pull a sledge",),
        "three": ("Berlin at night",),
        "four": ("berlin at night",),
    }
    found = {}
    for path in resolve_shards(str(tmp_path / "out/triples")):
        index = ShardIndex.load(path)
        for at, key in enumerate(index.keys):
            triple = Triple.parse(key, index.read(at, "json"), index.path)
            found[triple.image1, triple.image2] = triple.difference
    assert len(found) == 12 - 2  # three and four say the same
    for (first, second), text in found.items():
        one, but, two = text.partition(" rather than ") if " rather than " in text else _turned(text)
        assert but
        assert any(one.endswith(part) for part in parts[first]), text
        assert any(two.endswith(part) for part in parts[second]), text
        assert "<|im_end|>" not in text
    card = (tmp_path / "out/CARD.md").read_text()
    assert "both captions are the same" in card or "empty" in card


def _turned(text: str) -> tuple[str, str, str]:
    two, but, one = text.removeprefix("not ").partition(" but ")
    return one, but, two


def test_the_same_seed_writes_the_same(tmp_path: Path) -> None:
    answers = []
    for place, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        (tmp_path / place).mkdir()
        assert write(tmp_path / place, "--writer.seed", seed) == 0
        lines = [file.read_text() for file in sorted((tmp_path / place / "out/answers").glob("*"))]
        answers.append([json.loads(line)["text"] for text in lines for line in text.splitlines()])
    assert answers[0] == answers[1] != answers[2]


@pytest.mark.parametrize("frame", ["{one} alone", "{one} and {two} and {three}", "{one} {two} {"])
def test_a_frame_that_leaves_a_picture_out_is_refused(tmp_path: Path, frame: str, capsys) -> None:
    assert write(tmp_path, "--writer.frames", json.dumps([frame])) == 1
    assert "should have the slots {one} and {two}" in capsys.readouterr().err
