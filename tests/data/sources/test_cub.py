import shutil
from collections import Counter
from pathlib import Path

import pytest
from source_making import HOSTILE, everything, in_shards, jpeg

from pcclip.cli import main
from pcclip.data.inspect import inspect_shards
from pcclip.data.records import Triple
from pcclip.data.shards import ShardIndex, resolve_shards
from pcclip.data.sources.cub import Cub
from pcclip.errors import PcclipError
from pcclip.generation.rules import RuleWriter

CLASSES = ("001.Black_footed_Albatross", "002.Indigo_Bunting")
NAMES = (
    "has_wing_color::blue",
    "has_wing_color::brown",
    "has_size::small_(5_-_9_in)",
    "has_size::large_(16_in)",
)


def layout(root: Path, each: int = 3) -> Path:
    """The official archive's layout, images.txt left out."""
    (root / "attributes").mkdir(parents=True)
    (root / "classes.txt").write_text("".join(f"{n} {name}\n" for n, name in enumerate(CLASSES, 1)))
    (root / "attributes/attributes.txt").write_text("".join(f"{n} {x}\n" for n, x in enumerate(NAMES, 1)))
    (root / "attributes/class_attribute_labels_continuous.txt").write_text("2.5 90 5 60\n80 10 30 20\n")
    for number, name in enumerate(CLASSES):
        (root / "images" / name).mkdir(parents=True)
        for at in range(each):
            (root / "images" / name / f"{name[4:]}_{at:04d}_{number}.jpg").write_bytes(jpeg(10 * number + at))
    return root


def test_the_real_birds_by_their_folders(real_data: Path) -> None:
    source = Cub(str(real_data / "CUB_200_2011"))
    pictures = everything(source)
    assert len(pictures) == 294
    counts = Counter(p.class_name for p in pictures.values())
    assert sorted(counts.values()) == [25, 26, 26, 26, 27, 28, 32, 33, 35, 36]
    assert counts["Black footed Albatross"] == 36
    assert counts["Red winged Blackbird"] == 27
    assert source.skipped() == {}
    one = pictures["001.Black_footed_Albatross/Black_footed_Albatross_0001_2950163169"]
    assert one.captions == ("a photo of a Black footed Albatross",)
    blackbird = next(p for p in pictures.values() if p.class_name == "Red winged Blackbird")
    known = {name: value for name, value in blackbird.attributes.items() if name.endswith("color")}
    assert set(known.values()) == {"black"}
    assert len(known) == 16
    assert one.attributes["bill_shape"] == "hooked seabird"
    assert one.attributes["primary_color"] == "brown"
    names = {attribute.name: set(attribute.values) for attribute in source.attributes()}  # type: ignore[union-attr]
    assert len(names) == 25
    for picture in pictures.values():
        for name, value in picture.attributes.items():
            assert name not in names or value in names[name]
    assert len(names["wing_color"]) == 15
    assert names["size"] == {"very small", "small", "medium", "large", "very large"}


def test_differences_between_real_birds_are_said_of_the_right_one(real_data: Path) -> None:
    source = Cub(str(real_data / "CUB_200_2011"))
    birds = {p.class_name: p.attributes for p in source.texts("train")}
    writer = RuleWriter(source.attributes(), source.references(), 0)
    black, white = birds["Brewer Blackbird"], birds["Least Auklet"]
    assert black["belly_color"] == "black"
    assert white["belly_color"] == "white"
    texts = [writer.write(str(n), black, white) for n in range(200)]
    assert all(text is not None and "{" not in text.text for text in texts)
    assert writer.write("0", black, black) is None
    bare = {
        t.text for t in texts if t and t.frames[0].startswith("bare-") and t.attributes == ("belly_color",)
    }
    assert bare <= {
        *("a belly that is black", "a bird with a belly that is black"),
        *(t for t in bare if "white" in t and t.index("black") < t.index("white")),
    }
    assert not any("there is black" in t.text or "there is white" in t.text for t in texts if t)


def test_prepare_makes_pictures_and_rule_written_differences_of_the_real_birds(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Path(__file__).parents[3] / "data_recipes" / "cub" / "pictures.yaml"
    words = ["prepare", "--config", str(recipe), "--progress", "false"]
    words += ["--source.root", str(real_data / "CUB_200_2011")]
    assert main([*words, "--out", str(tmp_path / "pictures")]) == 0
    assert {path.name for path in (tmp_path / "pictures/pictures").iterdir()} == {"train", "validation"}
    train = in_shards(tmp_path / "pictures/pictures/train")
    validation = in_shards(tmp_path / "pictures/pictures/validation")
    assert len(train) + len(validation) == 294
    source = Cub(str(real_data / "CUB_200_2011"))
    assert list(train.values()) == list(source.pictures("train"))
    plans = '{"train": {"pictures": 100, "pairs": 400, "restriction": "across_class"}, '
    plans += '"validation": {"pictures": 0, "pairs": 20, "direction": "both", "restriction": "across_class"}}'
    assert main([*words, "--out", str(tmp_path / "rules"), "--differences", plans]) == 0
    for split, count in (("train", 400), ("validation", 40)):
        folder = tmp_path / "rules/triples" / split
        report = inspect_shards(str(folder), pictures=str(tmp_path / "rules/pictures" / split))
        assert report.records == count
        known = in_shards(tmp_path / "rules/pictures" / split)
        for path in resolve_shards(folder):
            index = ShardIndex.load(path)
            for at in range(len(index)):
                triple = Triple.parse(index.keys[at], index.read(at, "json"), path)
                assert known[triple.image1].class_name != known[triple.image2].class_name
    assert not (tmp_path / "rules/evaluation.json").exists()
    words += ["--source.train", "1", "--source.validation", "0"]
    assert main([*words, "--out", str(tmp_path / "none"), "--differences", plans]) == 1
    assert "it has only train pictures. Set 'train' and 'validation'" in capsys.readouterr().err
    card = (tmp_path / "rules/CARD.md").read_text()
    assert "| triples/validation | 40 | keys |" in card
    assert "| wing_color | one of 15 | any |" in card


def test_official_lists_give_names_and_the_test_split(tmp_path: Path) -> None:
    root = layout(tmp_path / "CUB_200_2011", each=40)
    files = sorted(file for file in (root / "images").rglob("*.jpg"))
    names = [str(file.relative_to(root / "images")) for file in files]
    numbered = list(enumerate(names[::-1], 1))
    (root / "images.txt").write_text("".join(f"{n} {name}\n" for n, name in numbered))
    test = {name for n, name in numbered if n % 3 == 0}
    (root / "train_test_split.txt").write_text("".join(f"{n} {int(n % 3 != 0)}\n" for n, _ in numbered))
    # The official archive keeps this list beside the folder.
    (root / "attributes/attributes.txt").rename(tmp_path / "attributes.txt")
    source = Cub(str(root), train=0.5, validation=0.25)
    assert len(everything(source)) == 80
    assert {p.key for p in source.texts("test")} == {name.removesuffix(".jpg") for name in test}
    assert source.count("train") == pytest.approx(2 * source.count("validation"), abs=12)
    one = next(p for p in source.texts("train") if p.class_name == "Indigo Bunting")
    assert one.captions == ("a photo of an Indigo Bunting",)
    assert one.attributes == {"wing_color": "blue"}  # no size was seen by enough people
    files[0].unlink()
    assert len(everything(Cub(str(root)))) == 79
    assert Cub(str(root)).skipped() == {"picture file missing": 1}


def test_captions_of_reed_et_al(tmp_path: Path) -> None:
    root = layout(tmp_path / "CUB_200_2011")
    first = sorted((root / "images" / CLASSES[0]).iterdir())
    lines = [text for text in HOSTILE if "\n" not in text]
    for at, file in enumerate(sorted((root / "images").rglob("*.jpg"))):
        text = tmp_path / "text_c10" / file.parent.name / f"{file.stem}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_bytes(("\n".join(lines) if at == 0 else f"bird {at}\n\nwith a beak\r\n").encode())
    source = Cub(str(root), str(tmp_path / "text_c10"))
    pictures = everything(source)
    assert pictures[f"{CLASSES[0]}/{first[0].stem}"].captions == tuple(lines)
    assert pictures[f"{CLASSES[0]}/{first[1].stem}"].captions == ("bird 1", "with a beak")
    (tmp_path / "text_c10" / CLASSES[0] / f"{first[1].stem}.txt").unlink()
    source = Cub(str(root), str(tmp_path / "text_c10"))
    assert len(everything(source)) == 5
    assert source.skipped() == {"caption file missing": 1, "picture without a caption": 1}
    assert Cub(str(root)).material() != source.material()


def test_wrong_folders_are_named_with_the_remedy(tmp_path: Path) -> None:
    root = layout(tmp_path / "CUB_200_2011")

    def refuse(message: str, **settings: str) -> None:
        with pytest.raises(PcclipError, match=message):
            Cub(str(root), **settings).count("train")  # type: ignore[arg-type]

    refuse(r"text_c10: there is no such folder.*Reed", captions=str(tmp_path / "text_c10"))
    shutil.copytree(root / "images" / CLASSES[0], root / "images" / "Cats")
    refuse(r"'Cats/.*' lies in a folder that is no class of .*classes\.txt")
    shutil.rmtree(root / "images" / "Cats")
    strengths = root / "attributes/class_attribute_labels_continuous.txt"
    strengths.write_text("1 2 3 4\n1 2 3\n")
    refuse(r"labels_continuous\.txt: is no table of 2 classes and 4 attributes")
    strengths.write_text("1 2 3 4\n1 2 x 4\n")
    refuse(r"labels_continuous\.txt: row of class 2: could not convert")
    (root / "classes.txt").write_text("1 001.Black_footed_Albatross extra\n")
    refuse(r"classes\.txt: line 1 is '1 001.Black_footed_Albatross extra', not 'NUMBER NAME'")
    (root / "classes.txt").unlink()
    refuse(r"classes\.txt: there is no such file.*'root' is the folder CUB_200_2011")
    with pytest.raises(PcclipError, match=r"images: there is no such folder|classes\.txt: there is no such"):
        Cub(str(tmp_path / "nowhere")).count("train")
