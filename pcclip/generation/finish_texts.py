"""From a job's answers about captions or classes to a picture set or a file of texts."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from pcclip.data.class_texts import TEXTS_FILE, ClassText, ClassTexts
from pcclip.data.records import Picture, ShardError
from pcclip.data.shards import SET_FILE, ShardIndex, ShardSet, ShardSetWriter, resolve_shards
from pcclip.generation.caption_rows import CaptionRows
from pcclip.generation.class_rows import ClassPairRows, ClassTextRows
from pcclip.generation.finish import Finish, Made

PICTURES = "pictures"
_SAMPLES = 12


@dataclass(kw_only=True)
class CaptionFinish(Finish):
    """The picture set again, with the captions that were rewritten; its pictures are copied as they are.

    Where a rewrite was rejected or went wrong the picture keeps that caption as it was, so that the set has
    the pictures of the one that it comes from. Pictures without a caption are left out.

    Args:
        source: Where the rows came from.
        records_per_shard: Records per tar file.
    """

    what: ClassVar[str] = "pictures"
    about: ClassVar[str] = "A picture set with rewritten captions"

    source: CaptionRows
    records_per_shard: int = 1000

    @property
    def last_file(self) -> Path:
        """The shards' `set.json`."""
        return self.manifest.folder / PICTURES / SET_FILE

    def make(self, rejected: Counter[str]) -> None:
        """Writes the shards."""
        told = Counter[str]()
        answers = self.texts(rejected)
        with ShardSetWriter(
            self.manifest.folder / PICTURES, "pictures", self.records_per_shard, self.card()
        ) as shards:
            for picture in self.source.whole_pictures():
                new = self._rewritten(picture, answers, told)
                if not new:
                    told["pictures without a caption, left out"] += 1
                    continue
                try:
                    shards.write_picture(replace(picture, caption=new[0], captions=new))
                except ShardError:
                    told["pictures that no shard can hold, left out"] += 1
            shards.card |= {"rejected": dict(sorted(rejected.items())), "captions": dict(told)}

    def made(self) -> Made:
        """Reads `set.json` and the first captions."""
        folder = self.manifest.folder / PICTURES
        made = ShardSet.load(folder)
        index = ShardIndex.load(resolve_shards(str(folder))[0])
        samples = [
            f"{index.key(at)}: {index.read(at, 'txt').decode()}" for at in range(min(_SAMPLES, len(index)))
        ]
        return Made(made.records, made.card, samples)

    def _rewritten(
        self, picture: Picture, answers: Iterator[tuple[int, str | None]], told: Counter[str]
    ) -> tuple[str, ...]:
        asked = self.source.asked(picture)
        new = [text for _, text in itertools.islice(answers, len(asked))]
        told["rewritten"] += sum(text is not None for text in new)
        told["kept as they were"] += sum(text is None for text in new)
        return tuple(dict.fromkeys(text or old for text, old in zip(new, asked, strict=True)))


@dataclass(kw_only=True)
class ClassTextFinish(Finish):
    """`texts.json`: what was written about each class or pair, each text of it once.

    Args:
        source: Where the rows came from.
    """

    what: ClassVar[str] = "texts"
    about: ClassVar[str] = "Texts about classes"

    source: ClassTextRows

    @property
    def last_file(self) -> Path:
        """The file itself."""
        return self.manifest.folder / TEXTS_FILE

    def make(self, rejected: Counter[str]) -> None:
        """Writes the file."""
        pairs = isinstance(self.source, ClassPairRows)
        entries = list(self._entries(rejected, pairs))
        without = sum(not entry.texts for entry in entries)
        name = "pairs of classes" if pairs else "classes"
        card = self.card() | {
            "rejected": dict(sorted(rejected.items())),
            "classes": {name: len(entries), "of them without a text": without},
        }
        ClassTexts("pair texts" if pairs else "class texts", entries, card).write(self.last_file)

    def made(self) -> Made:
        """Reads the file."""
        made = ClassTexts.load(self.last_file)
        samples = (
            f"{entry.name}{f' against {entry.other}' if entry.other else ''}: {text}"
            for entry in made.entries
            for text in entry.texts
        )
        return Made(
            sum(len(entry.texts) for entry in made.entries),
            made.card,
            list(itertools.islice(samples, _SAMPLES)),
        )

    def _entries(self, rejected: Counter[str], pairs: bool) -> Iterator[ClassText]:
        each = self.source.texts
        for at, answers in itertools.groupby(self.texts(rejected), lambda answer: answer[0] // each):
            name, other = self.source.subject(at)
            given = [text for _, text in answers if text is not None]
            if twice := len(given) - len(set(given)):
                rejected["again for the same class"] += twice
            yield ClassText(name, other if pairs else None, tuple(dict.fromkeys(given)))
