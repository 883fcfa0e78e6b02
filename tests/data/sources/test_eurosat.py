import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcclip.data.records import ShardError
from pcclip.data.sources.eurosat import COVERS, EuroSAT, measure
from pcclip.errors import PcclipError


def jpeg(colour: tuple[int, int, int], noise: int, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    values = np.array(colour) + rng.integers(-noise, noise + 1, (64, 64, 1))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in COVERS:
        (root / "eurosat" / "2750" / name).mkdir(parents=True)
        for number in range(1, 21):
            colour = tuple(int(c) for c in rng.integers(40, 200, 3))
            image = jpeg(colour, int(rng.integers(1, 40)), number)
            (root / "eurosat" / "2750" / name / f"{name}_{number}.jpg").write_bytes(image)
    return root


@pytest.fixture(scope="module")
def archive(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("zip")
    with zipfile.ZipFile(root / "EuroSAT.zip", "w") as file:
        for photo in sorted(folder.glob("eurosat/2750/*/*.jpg")):
            file.write(photo, photo.relative_to(folder / "eurosat"))
    return root


def test_measures_are_what_they_say() -> None:
    grey, dark, green = jpeg((120,) * 3, 2, 0), jpeg((60,) * 3, 2, 0), jpeg((60, 120, 60), 2, 0)
    assert measure(grey, "k", "p")["brightness"] == pytest.approx(120 / 255, abs=0.01)
    # Colours are shares: a darker picture of the same colour measures the same.
    for colour in ("red", "green", "blue"):
        assert measure(grey, "k", "p")[colour] == pytest.approx(measure(dark, "k", "p")[colour], abs=0.005)
    assert measure(green, "k", "p")["green"] == pytest.approx(0.5, abs=0.01)
    assert measure(jpeg((120,) * 3, 30, 0), "k", "p")["texture"] > 5 * measure(grey, "k", "p")["texture"]
    with pytest.raises(ShardError, match=r"there: record 'Forest_1'.*cannot be decoded"):
        measure(b"no photo", "Forest_1", "there")


def test_splits_are_disjoint_stratified_and_the_same_from_folder_and_zip(folder: Path, archive: Path) -> None:
    made = {split: list(EuroSAT(str(folder)).pictures(split)) for split in ("train", "validation", "test")}
    assert {split: len(pictures) for split, pictures in made.items()} == {
        "train": 120,
        "validation": 30,
        "test": 50,
    }
    assert len({p.key for pictures in made.values() for p in pictures}) == 200
    for split, each in (("train", 12), ("validation", 3), ("test", 5)):
        names = [p.class_name for p in made[split]]
        assert {names.count(cover) for cover in COVERS.values()} == {each}
        assert list(EuroSAT(str(archive)).pictures(split)) == made[split]
        assert EuroSAT(str(folder)).count(split) == len(names)
    other = EuroSAT(str(folder), seed=1)
    assert {p.key for p in other.pictures("test")} != {p.key for p in made["test"]}
    photo = folder / "eurosat" / "2750" / "Forest" / "Forest_1.jpg"
    assert (
        EuroSAT(str(folder)).image("Forest_1")
        == EuroSAT(str(archive)).image("Forest_1")
        == photo.read_bytes()
    )
    for key in ("Forest_21", "Wood_1", "Forest"):
        with pytest.raises(PcclipError, match=f"has no photo '{key}'"):
            EuroSAT(str(archive)).image(key)
    assert photo.read_bytes() in {p.image for pictures in made.values() for p in pictures}


def test_captions_name_what_stands_out_in_the_training_split(folder: Path) -> None:
    source = EuroSAT(str(folder), captions=5)
    train = list(source.pictures("train"))
    bounds = {
        name: np.quantile([float(p.attributes[name]) for p in train], [0.3, 0.7])
        for name in ("brightness", "texture", "green", "blue", "red")
    }
    said = 0
    for picture in [*train, *source.pictures("test")]:
        low, high = (
            {n for n, b in bounds.items() if s * picture.attributes[n] > s * b[i]}
            for s, i in ((-1, 0), (1, 1))
        )
        for text in picture.captions:
            assert not re.search(r"[{}]|  |\ba [aeio]|\ban [^aeio]|^\W|\W$", text), text
            for word, name, side in (
                ("dark|dim|little light", "brightness", low),
                ("bright|much light", "brightness", high),
                ("rough|busy|coarse|much structure", "texture", high),
                ("smooth|calm|plain|little structure", "texture", low),
                ("little green|weak green", "green", low),
                ("much green|greenish|very green", "green", high),
                ("bluish|much blue", "blue", high),
                ("little red|weak red", "red", low),
            ):
                if re.search(rf"\b(?:{word})\b", text):
                    assert name in side, (text, picture.attributes)
                    said += 1
    assert said > 300


def test_held_out_prompts_never_occur_in_captions_but_their_words_do(folder: Path) -> None:
    source = EuroSAT(str(folder), captions=8)
    corpus = "\n".join(text for p in source.pictures("train") for text in p.captions)
    known = set(re.findall(r"\w+", corpus))
    for prompt in source.prompts()["held_out"]:
        assert not any(prompt.format(cover) in corpus for cover in COVERS.values()), prompt
        assert set(re.findall(r"\w+", prompt)) <= known, prompt
    assert any(p.format(c) in corpus for p in source.prompts()["seen"][1:] for c in COVERS.values())


def test_missing_photos_are_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(PcclipError, match=rf"no photos in {tmp_path}.*EuroSAT\.zip.*download: true"):
        EuroSAT(str(tmp_path)).count("train")
    (tmp_path / "EuroSAT.zip").write_bytes(b"half a zip")
    with pytest.raises(PcclipError, match=r"EuroSAT\.zip: is not a whole zip"):
        EuroSAT(str(tmp_path)).count("train")
    with pytest.raises(PcclipError, match="leave some for the test"):
        EuroSAT(str(tmp_path), train=0.9, validation=0.1)


def test_the_real_photos(real_data: Path) -> None:
    whole = EuroSAT(str(real_data))
    assert [whole.count(split) for split in ("train", "validation", "test")] == [16200, 4050, 6750]
    part = EuroSAT(str(real_data), per_class=20)
    pictures = list(part.pictures("train"))
    texts = list(part.texts("train"))
    assert [t.image for t in texts] == [b""] * 120
    assert [(t.key, t.captions) for t in texts] == [(p.key, p.captions) for p in pictures]
    assert whole.image(pictures[0].key) == pictures[0].image
    assert len(pictures) == 120
    means = {
        cover: np.mean(
            [
                [float(p.attributes[n]) for n in ("brightness", "texture")]
                for p in pictures
                if p.class_name == cover
            ],
            axis=0,
        )
        for cover in ("forest", "an industrial area", "a sea or lake")
    }
    # Woods and water are dark and smooth from above, roofs are neither.
    assert (means["an industrial area"] > means["forest"]).all()
    assert (means["an industrial area"] > means["a sea or lake"]).all()
