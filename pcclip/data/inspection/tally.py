"""Statistics of all records of a set."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pcclip.data.index import ShardIndex
from pcclip.data.inspection.checks import Checked, check_picture, check_triple
from pcclip.data.inspection.report import FAULTS_KEPT, InspectReport
from pcclip.data.records import Picture, ShardError, Triple, decode_picture, stable_hash


class Tally:
    """Statistics of millions of records in some tens of MB: hashes and counts, no texts."""

    def __init__(self, report: InspectReport, indexes: Sequence[ShardIndex]) -> None:
        self.report = report
        self.indexes = indexes
        self.starts = np.cumsum([0] + [len(index) for index in indexes])
        self.lengths: array[int] = array("I")
        self.texts: array[int] = array("Q")
        self.text_records: array[int] = array("Q")
        self.images: tuple[array[int], array[int]] = (array("Q"), array("Q"))
        self.pair_records: array[int] = array("Q")
        self.counters = {"writer": Counter[str](), "class": Counter[str](), "attributes": Counter[str]()}

    def add(self, number: int, checked: Checked) -> None:
        """Counts record `number` of the set."""
        for fault in checked.faults:
            self.report.fault(fault)
        for text in checked.texts:
            self.lengths.append(len(text.split()))
            self.texts.append(stable_hash(text))
            self.text_records.append(number)
        if checked.pair is not None:
            for column, key in zip(self.images, checked.pair, strict=True):
                column.append(stable_hash(key))
            self.pair_records.append(number)
        for name, label in checked.labels.items():
            if label is not None:
                self.counters[name].update(label if isinstance(label, list) else [label])

    def finish(self, known: npt.NDArray[np.uint64] | None, samples: int) -> None:
        """Turns the counts into the report's fields."""
        report = self.report
        report.writers = dict(self.counters["writer"].most_common())
        report.classes = dict(self.counters["class"].most_common())
        report.attributes = dict(self.counters["attributes"].most_common())
        self._refuse_repeated_keys()
        self._describe_texts()
        self._describe_pairs(known)
        drawn = random.Random(0).sample(range(report.records), min(samples, report.records))
        report.samples = [self._sample(number) for number in sorted(drawn)]

    def _describe_texts(self) -> None:
        report, lengths = self.report, np.array(self.lengths, np.int64)
        report.texts = len(lengths)
        if not report.texts:
            return
        report.words = {
            "min": int(lengths.min()),
            "median": float(np.median(lengths)),
            "mean": round(float(lengths.mean()), 1),
            "p95": float(np.quantile(lengths, 0.95)),
            "max": int(lengths.max()),
        }
        width = max(1, -(-int(lengths.max() - lengths.min() + 1) // 12))
        bins = np.bincount((lengths - lengths.min()) // width).tolist()
        first = int(lengths.min())
        report.histogram = [(first + i * width, first + (i + 1) * width - 1, n) for i, n in enumerate(bins)]
        hashes, at, counts = np.unique(np.array(self.texts, np.uint64), return_index=True, return_counts=True)
        report.distinct_texts = len(hashes)
        often = [i for i in np.argsort(-counts, kind="stable")[:3].tolist() if counts[i] > 1]
        for i in often:
            texts = self._checked(self.text_records[int(at[i])]).texts
            text = next(text for text in texts if stable_hash(text) == int(hashes[i]))
            report.repeated_texts.append((text, int(counts[i])))

    def _describe_pairs(self, known: npt.NDArray[np.uint64] | None) -> None:
        report = self.report
        first, second = (np.array(column, np.uint64) for column in self.images)
        pairs = np.stack([np.minimum(first, second), np.maximum(first, second)], axis=1)
        _, counts = np.unique(pairs, axis=0, return_counts=True) if len(pairs) else (None, np.zeros(0))
        report.repeated_pairs = int((counts > 1).sum())
        named = np.unique(np.concatenate([first, second]))
        report.pictures = len(named)
        if known is None or report.kind != "triples":
            return
        report.missing_pictures = int((~np.isin(named, known)).sum())
        wrong = np.flatnonzero(~(np.isin(first, known) & np.isin(second, known))).tolist()
        report.fault_count += max(0, len(wrong) - FAULTS_KEPT)
        for at in wrong[:FAULTS_KEPT]:
            index, record = self._place(self.pair_records[at])
            pair = self._checked(self.pair_records[at]).pair or ()
            absent = [key for key in pair if not np.isin(np.uint64(stable_hash(key)), known)]
            report.fault(
                str(
                    ShardError.at(
                        index.path,
                        index.key(record),
                        f"names {' and '.join(map(repr, absent))}, not in the picture set",
                        "Add the picture, or remove the record.",
                    )
                )
            )

    def _refuse_repeated_keys(self) -> None:
        hashes = np.fromiter((stable_hash(key) for index in self.indexes for key in index.keys), np.uint64)
        order = np.argsort(hashes, kind="stable")
        again = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
        for before, number in sorted(zip(order[again].tolist(), order[again + 1].tolist(), strict=True)):
            (first, _), (index, record) = self._place(before), self._place(number)
            remedy = "Give every record of the set its own key."
            problem = f"its key is in {first.path} already"
            self.report.fault(str(ShardError.at(index.path, index.key(record), problem, remedy)))

    def _place(self, number: int) -> tuple[ShardIndex, int]:
        shard = int(np.searchsorted(self.starts, number, side="right")) - 1
        return self.indexes[shard], number - int(self.starts[shard])

    def _checked(self, number: int) -> Checked:
        check = check_picture if self.report.kind == "pictures" else check_triple
        return check(*self._place(number), self.report.payload, decode=False)

    def _sample(self, number: int) -> dict[str, Any]:
        index, record = self._place(number)
        sample: dict[str, Any] = {"shard": index.path.name, "key": index.key(record)}
        try:
            if self.report.kind == "triples":
                triple = Triple.parse(index.key(record), index.read(record, "json"), index.path)
                return sample | {
                    name: getattr(triple, name) for name in ("image1", "image2", "difference", "source")
                }
            picture = Picture.parse(index.key(record), index.read_record(record), index.path)
            size = decode_picture(picture.image, picture.key, index.path).size
        except ShardError as error:
            return sample | {"fault": str(error)}
        about = {"class": picture.class_name, "attributes": picture.attributes}
        return (
            sample
            | {"size": list(size), "captions": list(picture.captions)}
            | {k: v for k, v in about.items() if v}
        )
