import shutil
from pathlib import Path

import pytest

from pcclip.data.sources.awa2 import VISUAL, Awa2
from pcclip.errors import PcclipError
from pcclip.generation.pairs import PairPlan, make_pairs
from pcclip.generation.rules import RuleWriter, differs


def test_the_real_classes_joined_by_name(real_data: Path) -> None:
    source = Awa2(str(real_data / "AwA2"))
    classes = {p.key: p for p in source.texts("train")}
    assert len(classes) == source.count("train") == 50
    assert source.count("test") == 0
    assert len(source.attributes()) == len(VISUAL) == 31
    bear, whale = classes["grizzly+bear"], classes["killer+whale"]
    assert (bear.class_name, bear.captions, bear.image) == ("grizzly bear", ("grizzly bear",), b"")
    assert {bear.attributes[n] for n in ("furry", "paws", "big", "flippers")} == {
        *("a furry animal", "paws", "a big animal", "no flippers")
    }
    assert (whale.attributes["flippers"], whale.attributes["hairless"]) == ("flippers", "a hairless animal")
    # Known by every child, and wrong for the alphabetical neighbours of a wrongly joined matrix.
    stripes = {key for key, p in classes.items() if p.attributes["stripes"] == "stripes"}
    assert {"zebra", "tiger", "skunk"} <= stripes
    assert not {"polar+bear", "elephant", "blue+whale", "giraffe"} & stripes
    assert {key for key, p in classes.items() if p.attributes["longneck"] == "a long neck"} >= {"giraffe"}
    assert {k for k, p in classes.items() if p.attributes["tusks"] == "tusks"} >= {"elephant", "walrus"}
    with pytest.raises(PcclipError, match="has classes, no pictures"):
        source.pictures("train")
    with pytest.raises(PcclipError, match="awa2: picture 'zebra' cannot be read"):
        source.image("zebra")


def test_differences_of_class_pairs_name_what_only_one_of_them_has(real_data: Path) -> None:
    source = Awa2(str(real_data / "AwA2"))
    known = {p.key: p.attributes for p in source.texts("train")}
    writer = RuleWriter(source.attributes(), source.references(), 0, (1.0,))
    attributes = {attribute.name: attribute for attribute in source.attributes()}
    pairs = list(make_pairs(list(known), PairPlan(0, method="all"), 0))
    assert len(pairs) == 1225
    for first, second in pairs:
        written = writer.write(f"{first}/{second}", known[first], known[second])
        assert written is not None
        (name,) = written.attributes
        assert differs(attributes[name], known[first], known[second])
        assert "animal" in written.text or any(v in written.text for v in VISUAL[name]), written.text
        assert not any(
            f"there is {v}" in written.text for v in ("stripes", "no stripes", "paws", "long legs")
        )


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("classes.txt", "1 antelope\n3 zebra\n", r"classes\.txt: its numbers are not 1 to 2"),
        ("classes.txt", "1 antelope\n1 antelope\n", r"classes\.txt: line 2 is '1 antelope'"),
        ("predicates.txt", "1 black\n", r"matrix-binary\.txt: is no matrix of 50 classes and 1 predicates"),
        ("predicate-matrix-binary.txt", "0 1\n", r"is no matrix of 50 classes and 85 predicates"),
        ("predicates.txt", None, r"predicates\.txt: there is no such file.*'root' is the folder"),
    ],
)
def test_wrong_lists_are_named(
    real_data: Path, tmp_path: Path, file: str, text: str | None, message: str
) -> None:
    root = tmp_path / "AwA2"
    root.mkdir()
    for name in ("classes.txt", "predicates.txt", "predicate-matrix-binary.txt"):
        shutil.copyfile(real_data / "AwA2" / name, root / name)
    (root / file).unlink()
    if text is not None:
        (root / file).write_text(text)
    with pytest.raises(PcclipError, match=message):
        Awa2(str(root)).count("train")
