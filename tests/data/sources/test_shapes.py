import io
import itertools
import re

import numpy as np
import pytest
from PIL import Image

from pcclip.data.records import Picture
from pcclip.data.sources.shapes import Shapes
from pcclip.data.sources.shapes_drawing import COLOURS, KINDS
from pcclip.errors import PcclipError


def pixels(picture: Picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture.image)), dtype=np.float64)


@pytest.fixture(scope="module")
def world() -> dict[str, list[Picture]]:
    source = Shapes(seed=3, train=500, validation=200, test=300)
    return {split: list(source.pictures(split)) for split in ("train", "validation", "test")}


def coverage(picture: Picture) -> np.ndarray:
    """Where a pixel's hue is that of the shapes rather than the grey ground's, (64, 64)."""
    values = pixels(picture)
    unit = values / np.maximum(np.linalg.norm(values, axis=2, keepdims=True), 1)
    colour = np.array(COLOURS[str(picture.attributes["colour"])], dtype=float)
    return unit @ (colour / np.linalg.norm(colour)) > unit @ np.full(3, 3**-0.5) + 0.015


def test_pictures_are_64_pixels_wide_and_the_same_for_the_same_seed_and_key(world: dict) -> None:
    source = Shapes(seed=3, train=9999, validation=200, test=300)
    for picture in world["train"][:20]:
        assert source.picture("train", picture.key) == picture
        assert pixels(picture).shape == (64, 64, 3)
    assert Shapes(seed=4).picture("train", "k").image != source.picture("train", "k").image
    images = {picture.image for split in world.values() for picture in split}
    assert len(images) == 1000


def test_attributes_are_what_the_pixels_show(world: dict) -> None:
    everything = [picture for split in world.values() for picture in split]
    brightness = [float(p.attributes["brightness"]) for p in everything]
    means = [pixels(p).mean() for p in everything]
    assert np.corrcoef(brightness, means)[0, 1] > 0.9
    # Strong colours stand out by hue; grey-blue ones are too near the tinted ground for this simple test.
    clear = [p for p in everything if p.attributes["colour"] in ("red", "yellow", "green")]
    for name, axis in (("horizontal", 1), ("vertical", 0)):
        found, known = [], []
        for picture in clear:
            inside = coverage(picture)
            place = np.argwhere(inside)[:, axis].mean() / 64
            found.append(1 - place if name == "vertical" else place)
            known.append(float(picture.attributes[name]))
        assert np.corrcoef(found, known)[0, 1] > 0.9, name
    area = [coverage(p).sum() for p in clear]
    expected = [float(p.attributes["number"]) * float(p.attributes["size"]) ** 2 for p in clear]
    assert np.corrcoef(area, expected)[0, 1] > 0.75


def test_degrees_are_spread_and_do_not_follow_each_other(world: dict) -> None:
    names = ("size", "number", "brightness", "horizontal", "vertical")
    values = np.array([[float(p.attributes[n]) for n in names] for p in world["train"]])
    assert (values.std(axis=0) > np.array([0.04, 0.8, 0.12, 0.12, 0.12])).all()
    correlation = np.corrcoef(values.T) - np.eye(len(names))
    assert np.abs(correlation).max() < 0.15


def test_held_out_combinations_never_occur_in_training(world: dict) -> None:
    source = Shapes()
    held_out = source.notes()["held_out_classes"]
    train = {p.class_name for p in world["train"]}
    assert len(source.classes()) == len(COLOURS) * len(KINDS) == 56
    assert train.isdisjoint(held_out["test"] + held_out["validation"])
    assert set(held_out["test"]).isdisjoint(held_out["validation"])
    assert train == set(source.classes()) - set(held_out["test"]) - set(held_out["validation"])
    for word in itertools.chain(COLOURS, KINDS):
        assert sum(word in name.split() for name in train) >= 4, word
    for split in ("validation", "test"):
        marked = {p.class_name for p in world[split] if p.attributes["combination"] == "held_out"}
        plain = {p.class_name for p in world[split] if p.attributes["combination"] == "seen"}
        assert marked == set(held_out[split])
        assert plain <= train
        share = sum(p.attributes["combination"] == "held_out" for p in world[split]) / len(world[split])
        assert 0.1 < share < 0.3


def test_captions_are_true_and_varied(world: dict) -> None:
    opposite = {"left": "right", "top": "bottom"}
    for picture in world["train"]:
        known = picture.attributes
        assert picture.caption == picture.captions[0]
        assert len(set(picture.captions)) == 4
        for text in picture.captions:
            words = set(re.findall(r"\w+", text))
            assert not re.search(r"[{}]|  |\ba [aeio]|\ban [^aeio]|^\W|\W$", text), text
            assert {w.rstrip("s") for w in words} & set(KINDS) <= {known["kind"]}, text
            assert words & set(COLOURS) <= {known["colour"]}, text
            counts = {w: n for n, w in enumerate(("one", "two", "three", "four"), 1)}
            assert all(counts[w] == known["number"] for w in words & counts.keys()), text
            for low_word, high_word in opposite.items():
                axis = "horizontal" if low_word == "left" else "vertical"
                low, high = (low_word, high_word) if low_word == "left" else (high_word, low_word)
                assert low not in words or known[axis] < 0.5, text
                assert high not in words or known[axis] > 0.5, text
            assert not {"dark", "dim"} & words or known["brightness"] < 0.6, text
            assert not {"bright", "light"} & words or known["brightness"] > 0.8, text
            assert not {"large", "big"} & words or known["size"] > 0.295, text
            assert not {"small", "little", "tiny"} & words or known["size"] < 0.235, text
    texts = {text for picture in world["train"] for text in picture.captions}
    assert len(texts) > 1500


def test_held_out_prompts_never_occur_in_captions_but_their_words_do(world: dict) -> None:
    prompts = Shapes().prompts()
    captions = [text for picture in world["train"] for text in picture.captions]
    corpus, classes = "\n".join(captions), {p.class_name for p in world["train"]}
    known = set(corpus.split())
    for prompt in prompts["held_out"]:
        assert not any(prompt.format(name) in corpus for name in classes), prompt
        assert set(prompt.replace("{}", "red").split()) <= known, prompt
    assert any(prompt.format(name) in corpus for prompt in prompts["seen"] for name in classes)


@pytest.mark.parametrize(("setting", "message"), [({"train": 1}, "2 pictures"), ({"held_out_share": 2}, "2")])
def test_impossible_settings_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(PcclipError, match=message):
        Shapes(**setting)
