"""CUB-200-2011: birds of 200 kinds, with attributes (Wah et al. 2011) and captions (Reed et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pcclip.data.records import IMAGE_EXTENSIONS
from pcclip.data.sources.base import DescribedPictures, Split
from pcclip.data.sources.cub_words import WORDS, bird_attributes, value_words
from pcclip.data.sources.listed import Entry, ListedPictures, digest_of, key_of, lines_of
from pcclip.errors import PcclipError
from pcclip.generation.vocabulary import Attribute, References, references

_LAYOUT = (
    "'root' is the folder CUB_200_2011 of the official archive, with classes.txt, images/ and "
    "attributes/class_attribute_labels_continuous.txt."
)
_CAPTIONS = "'captions' is the folder text_c10 of Reed et al.'s captions, with CLASS/NAME.txt, one a line."


@dataclass
class Cub(ListedPictures, DescribedPictures):
    """Photos of birds, joined with their classes by name.

    A picture's key is CLASS/NAME, such as `001.Black_footed_Albatross/Black_Footed_Albatross_0001_796111`.
    Attributes are those of its class: in each group (`wing_color`, `bill_shape`) the one that people saw most
    often. Where images.txt and train_test_split.txt are there, the test split is the official one.

    Args:
        root: The folder CUB_200_2011.
        captions: Folder of Reed et al.'s captions (`text_c10`); null: one caption, made of the class's name.
        strength: Share, in percent, of the answers about a class that must agree for an attribute to count.
    """

    root: str
    captions: str | None = None
    strength: float = 40.0

    name: ClassVar[str] = "cub"
    licence: ClassVar[str] = (
        "CUB-200-2011 (Wah et al. 2011), pictures for non-commercial research and education only; captions: "
        "Reed et al. 2016, or the class's name"
    )
    places: ClassVar[tuple[str, ...]] = ("root", "captions")

    def material(self) -> dict[str, Any]:
        """The official lists, and whether captions are people's."""
        root = Path(self.root)
        return {
            "lists": digest_of(root / "classes.txt", self._strengths_file),
            "captions": "class names" if self.captions is None else "Reed et al. 2016",
            "words": WORDS,
        }

    def attributes(self) -> tuple[Attribute, ...]:
        """Kinds of colour, shape and pattern, one for each part of a bird."""
        return bird_attributes(self._attribute_names)

    def references(self) -> tuple[References, ...]:
        """By "picture", "image" and "photo"."""
        return references(("picture", "image", "photo"))

    def _list_file(self) -> Path:
        listed = Path(self.root) / "images.txt"
        return listed if listed.exists() else Path(self.root) / "images"

    def _entries(self) -> Iterator[Entry]:
        folder = Path(self.root) / "images"
        classes = self._classes
        official = self._official_test
        for number, name in self._names():
            class_folder = name.split("/")[0]
            if class_folder not in classes:
                raise PcclipError(
                    f"{self._list_file()}: {name!r} lies in a folder that is no class of "
                    f"{Path(self.root) / 'classes.txt'}. {_LAYOUT}"
                )
            key = key_of(name)
            split: Split | None = None
            if official is not None:
                split = "test" if official.get(number) else self.split_of(key, test=False)
            yield Entry(
                key,
                folder / name,
                self._captions_of(name),
                _spoken(class_folder),
                self.class_attributes[class_folder],
                split,
                f"picture {name!r}",
            )

    def _names(self) -> Iterator[tuple[str, str]]:
        """Number (as images.txt has it) and CLASS/NAME.jpg of each picture."""
        listed, folder = Path(self.root) / "images.txt", Path(self.root) / "images"
        if listed.exists():
            yield from _table(listed)
            return
        if not folder.is_dir():
            raise PcclipError(f"{folder}: there is no such folder. {_LAYOUT}")
        for class_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
            for file in sorted(class_folder.iterdir()):
                if file.suffix[1:].lower() in IMAGE_EXTENSIONS:
                    yield "", f"{class_folder.name}/{file.name}"

    def _captions_of(self, name: str) -> list[str]:
        if self.captions is None:
            kind = _spoken(name.split("/")[0])
            return [f"a photo of {'an' if kind[0] in 'AEIOU' else 'a'} {kind}"]
        file = (Path(self.captions) / name).with_suffix(".txt")
        if not file.exists():
            self._skipped["caption file missing"] += 1
            return []
        return [line.removesuffix("\r") for _, line in lines_of(file, _CAPTIONS)]

    @cached_property
    def _classes(self) -> dict[str, str]:
        """Class names (`001.Black_footed_Albatross`) and their numbers."""
        if self.captions is not None and not Path(self.captions).is_dir():
            raise PcclipError(f"{self.captions}: there is no such folder. {_CAPTIONS}")
        return {name: number for number, name in _table(Path(self.root) / "classes.txt")}

    @cached_property
    def _official_test(self) -> dict[str, bool] | None:
        """By the numbers of images.txt, whether a picture is in the test split; None where it is not said."""
        file = Path(self.root) / "train_test_split.txt"
        if not file.exists() or not (Path(self.root) / "images.txt").exists():
            return None
        return {number: train == "0" for number, train in _table(file)}

    @property
    def _strengths_file(self) -> Path:
        return Path(self.root) / "attributes" / "class_attribute_labels_continuous.txt"

    @cached_property
    def _attribute_names(self) -> list[str]:
        root = Path(self.root)
        # The official archive keeps attributes.txt beside the folder, copies have it inside.
        places = (
            root / "attributes" / "attributes.txt",
            root / "attributes.txt",
            root.parent / "attributes.txt",
        )
        return [name for _, name in _table(next((file for file in places if file.exists()), places[0]))]

    @cached_property
    def class_attributes(self) -> dict[str, dict[str, float | str]]:
        """By class name: in each group of attributes the strongest, where it is strong enough."""
        file, names = self._strengths_file, self._attribute_names
        rows = [line.split() for _, line in lines_of(file, _LAYOUT)]
        if len(rows) != len(self._classes) or any(len(row) != len(names) for row in rows):
            raise PcclipError(
                f"{file}: is no table of {len(self._classes)} classes and {len(names)} attributes. {_LAYOUT}"
            )
        found: dict[str, dict[str, float | str]] = {}
        for class_folder, number in self._classes.items():
            strongest: dict[str, tuple[float, str]] = {}
            try:
                strengths = [float(value) for value in rows[int(number) - 1]]
            except (ValueError, IndexError) as error:
                raise PcclipError(f"{file}: row of class {number}: {error}. {_LAYOUT}") from error
            for name, strength in zip(names, strengths, strict=True):
                group, value = value_words(name)
                strongest[group] = max(strongest.get(group, (self.strength, "")), (strength, value))
            found[class_folder] = {group: value for group, (_, value) in strongest.items() if value}
        return found


def _table(file: Path) -> Iterator[tuple[str, str]]:
    """The rows "NUMBER NAME" of a list."""
    for number, line in lines_of(file, _LAYOUT):
        words = line.split()
        if len(words) != 2:
            raise PcclipError(f"{file}: line {number} is {line.strip()!r}, not 'NUMBER NAME'. {_LAYOUT}")
        yield words[0], words[1]


def _spoken(class_folder: str) -> str:
    """The name of a class in words: "001.Black_footed_Albatross" is a "Black footed Albatross"."""
    return class_folder.partition(".")[2].replace("_", " ") or class_folder
