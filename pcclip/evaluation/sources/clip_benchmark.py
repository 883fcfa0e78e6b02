"""Sets in CLIP_benchmark's WebDataset layout, from a folder or from their address."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pcclip.data.index import ShardIndex
from pcclip.data.sources.base import SPLITS
from pcclip.data.sources.splits import share_of
from pcclip.errors import PcclipError
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.sources.captions import captioned
from pcclip.evaluation.sources.download import fetch
from pcclip.evaluation.sources.folders import NAMES
from pcclip.evaluation.sources.labelled import ALL, LabelledSource, Listing
from pcclip.evaluation.sources.shard_records import LAYOUT, Records
from pcclip.evaluation.sources.words import Words

_CLASSES = "classnames.txt"
_TEMPLATES = "zeroshot_classification_templates.txt"


@dataclass
class ClipBenchmark(LabelledSource):
    """A set that `clip_benchmark_export_wds` wrote, or one of those published for CLIP_benchmark.

    Retrieval sets have captions, the others classes (by number, as classnames.txt lists them) and their own
    templates. Where there is no folder for the validation split, it is cut from the train split.

    Args:
        root: Folder of the set; with an address, where its files are kept once they are downloaded.
        address: Where to download files from that are not in `root`, such as
            `https://huggingface.co/datasets/clip-benchmark/wds_vtab-eurosat/tree/main`;
            `{dataset_cleaned}` in it stands for the name, which is such as
            `wds/vtab/eurosat`, or that of the folder where it is null.
        validation: Share of the train split that is the validation split where that has no folder.
        seed: Decides which.
    """

    root: str
    address: str | None = None
    validation: float = 0.1
    seed: int = 0

    @property
    def set_name(self) -> str:
        """The name, as CLIP_benchmark's addresses have it."""
        name = self.name or self._root.resolve().name.removeprefix("wds_")
        return name.removeprefix("wds/").replace("/", "-")

    def load(self, split: str) -> EvaluationSet:
        """Indexes the shards of one split, downloading what is not there; no picture is decoded.

        Raises:
            PcclipError: A file is missing or off the layout, or cannot be downloaded.
        """
        kind = (self._text("dataset_type.txt") or "classification").strip().lower()
        if kind == "retrieval" and split in self.splits():
            records = Records(self._shards(split))
            keep = self._kept(records, split)
            captions = records.captions(keep)
            return captioned(
                self.set_name, split, self._root, [records.keys[n] for n in keep], records.of(keep), captions
            )
        if kind == "multilabel":
            raise PcclipError(
                f"{self._root / 'dataset_type.txt'}: pictures have several labels each, which zero-shot "
                "classification here does not evaluate. Use a set with one label per picture."
            )
        return super().load(split)

    def _list(self, split: str) -> Listing:
        records = Records(self._shards(split))
        keep = self._kept(records, split)
        labels = records.labels(keep)
        names = self._lines(_CLASSES)
        if not names and self.class_names is None:
            raise PcclipError(f"{self._root / _CLASSES}: is not there. Set 'class_names'. {LAYOUT}")
        highest = max(labels, default=-1)
        if names and highest >= len(names):
            raise PcclipError(
                f"{self._root / _CLASSES}: {len(names)} class names, but {records.place} has a picture of "
                f"class number {highest}, counted from 0. Complete the list."
            )
        classes = [str(number) for number in range(len(names) or highest + 1)]
        return Listing(
            records.place,
            [records.keys[n] for n in keep],
            records.of(keep),
            [str(label) for label in labels],
            classes,
        )

    def _words(self) -> Words:
        names = {str(number): name for number, name in enumerate(self._lines(_CLASSES))}
        templates = tuple(line.replace("{c}", "{}") for line in self._lines(_TEMPLATES))
        if not templates and self.prompts in ("ensemble", "one"):
            raise PcclipError(f"{self._root / _TEMPLATES}: is not there. Set 'prompts'. {LAYOUT}")
        place = self._root / _CLASSES
        return Words(str(place), self.address or str(self._root), names, templates, (), self.set_name)

    @property
    def _root(self) -> Path:
        return Path(self.root).expanduser()

    def _file(self, name: str) -> Path | None:
        """A file of the set, downloaded if need be; None where the set has none of that name."""
        file = self._root / name
        if not file.exists() and self.address is not None:
            absent = file.with_name(f".{file.name}.absent")  # so that a set is complete without its address
            if not absent.exists() and not fetch(f"{self._base}/{name}", file):
                absent.touch()
        return file if file.exists() else None

    @property
    def _base(self) -> str:
        address = (self.address or "").replace("{dataset_cleaned}", self.set_name).rstrip("/")
        if address.startswith("https://huggingface.co/datasets/"):
            return address.replace("/tree/", "/resolve/", 1)
        return address

    def _text(self, name: str) -> str | None:
        file = self._file(name)
        return None if file is None else file.read_text("utf-8")

    def _lines(self, name: str) -> list[str]:
        return [line.strip() for line in (self._text(name) or "").splitlines() if line.strip()]

    def _folder(self, split: str) -> str | None:
        return next((name for name in NAMES[split] if self._file(f"{name}/nshards.txt")), None)

    def _shards(self, split: str) -> list[ShardIndex]:
        found: list[ShardIndex] = []
        wanted = SPLITS if split == ALL else (split,)
        folders = [folder for part in wanted if (folder := self._folder(part))]
        if not folders and split == "validation" and (train := self._folder("train")):
            folders = [train]
        for folder in folders:
            count = (self._text(f"{folder}/nshards.txt") or "").strip()
            if not count.isdigit():
                raise PcclipError(
                    f"{self._root / folder}/nshards.txt: holds {count[:40]!r}, not the number of shards. "
                    + LAYOUT
                )
            for number in range(int(count)):
                shard = self._file(f"{folder}/{number}.tar")
                if shard is None:
                    raise PcclipError(
                        f"{self._root / folder}/{number}.tar: is not there, but nshards.txt says {count}. "
                        "Complete the copy."
                    )
                found.append(ShardIndex.load(shard))
        if not found:
            raise PcclipError(f"{self._root}: has no split {split!r} (no {split}/nshards.txt). {LAYOUT}")
        return found

    def _kept(self, records: Records, split: str) -> list[int]:
        if split not in ("train", "validation") or self._folder("validation"):
            return list(range(len(records.keys)))
        return [
            number
            for number, key in enumerate(records.keys)
            if share_of(key, 1 - self.validation, self.validation, self.seed, test=False) == split
        ]
