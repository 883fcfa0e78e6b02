"""Image embeddings of evaluation sets: computed once per image tower."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pcclip.checksums import crc32
from pcclip.crew import Crew, Job
from pcclip.data.locks import only_one
from pcclip.data.progress import progress_bar
from pcclip.errors import PcclipError, writing
from pcclip.evaluation.encoding.embedding import Transform, picture_job
from pcclip.evaluation.encoding.encoders import ImageEncoder
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Floats
from pcclip.folders import sync_folder
from pcclip.untrusted import load_array

_CRC = 4
"""Bytes of the checksum behind the rows; readers of `.npy` files do not mind it."""


@dataclass(frozen=True)
class PictureBatches:
    """How a set's pictures are cut into batches.

    Attributes:
        size: Pictures per call of the image tower.
        first: Number of the first picture that is wanted.
    """

    size: int
    first: int


class FeatureCache:
    """Embeddings by image tower and set: in memory, and on disk where there is a folder.

    A process that is stopped while it embeds leaves what it has; the next one goes on from there. Of several
    processes that want the same embeddings, one makes them. Memory holds each set's embeddings by the latest
    two towers only: a model and its base.

    Args:
        folder: Where `.npy` files are kept, memory-mapped when read; None keeps nothing on disk, which is
            right where the image tower trains and changes at every evaluation.
        batch_size: Pictures per call of the image tower.
        workers: Threads that decode pictures; as many as there are processors, at most 8, if None.
        progress: Show a progress bar while embedding.
    """

    def __init__(
        self,
        folder: Path | None = None,
        batch_size: int = 64,
        workers: int | None = None,
        progress: bool = True,
    ) -> None:
        self._folder = folder
        self._batch_size = batch_size
        self._workers = workers or min(8, len(os.sched_getaffinity(0)))
        self._progress = progress
        self._latest: dict[str, dict[str, Floats]] = {}

    def get(
        self,
        evaluation_set: EvaluationSet,
        encode_images: ImageEncoder,
        preprocess: Transform,
        image_fingerprint: str,
        crew: Crew | None = None,
        order: Callable[[PictureBatches], Any] = lambda batches: None,
    ) -> Floats:
        """The set's embeddings by the tower: (N, D) float32 unit rows, in the set's order.

        Args:
            evaluation_set: Whose pictures.
            encode_images: The tower.
            preprocess: RGB picture to pixels (3, H, W).
            image_fingerprint: Of the tower's weights and preprocessing.
            crew: Who embeds; this process alone if None.
            order: What the crew's other processes make `job` of.

        Raises:
            ShardError: A picture cannot be decoded.
            PcclipError: An embedding is not finite, the cached file is damaged, or the folder cannot be
                written to.
        """
        pictures = evaluation_set.fingerprint()
        identity = hashlib.sha256(f"{image_fingerprint} {pictures}".encode()).hexdigest()[:32]
        latest = self._latest.setdefault(pictures, {})
        if identity in latest:
            latest[identity] = latest.pop(identity)  # now the newest
            return latest[identity]

        def rows(first: int) -> Iterator[Floats]:
            batches = PictureBatches(self._batch_size, first)
            shared = self.job(evaluation_set, encode_images, preprocess, batches)
            return self._shown(evaluation_set, (crew or Crew()).map(order(batches), shared), first)

        if self._folder is None:
            features = np.concatenate(list(rows(0)))
        else:
            file = self._folder / f"features-{identity}.npy"
            if not file.is_file():
                with only_one(file.with_name(f".{file.name}.lock"), f"embedding {evaluation_set.evaluated}"):
                    if not file.is_file():
                        self._make(file, len(evaluation_set), rows)
            features = _read(file, len(evaluation_set))
        latest[identity] = features
        if len(latest) > 2:
            del latest[next(iter(latest))]
        return features

    def job(
        self, data: EvaluationSet, encode: ImageEncoder, preprocess: Transform, batches: PictureBatches
    ) -> Job[Any]:
        """The batches that are to be embedded."""
        return picture_job(
            data,
            encode,
            preprocess,
            batch_size=batches.size,
            workers=self._workers,
            first=batches.first,
        )

    def _make(self, file: Path, pictures: int, rows_from: Callable[[int], Iterator[Floats]]) -> None:
        """Appends to a file of another name, going on where it ends, until it is complete."""
        partial = file.with_name(f".{file.name}.partial")
        with writing(file):
            self._append(file, partial, pictures, rows_from)

    def _append(
        self, file: Path, partial: Path, pictures: int, rows_from: Callable[[int], Iterator[Floats]]
    ) -> None:
        # Whole batches only: how many rows a matrix product has may change its last bits.
        done = _whole_rows(partial, pictures, self._batch_size)
        if not done:
            partial.unlink(missing_ok=True)
        batches = rows_from(done)
        first = next(batches, None)  # before the file is made: the first picture may be unreadable
        with partial.open("ab") as stream:
            for rows in batches if first is None else itertools.chain([first], batches):
                if not done:
                    stream.write(_header(pictures, rows.shape[1]))
                stream.write(np.ascontiguousarray(rows, np.float32).data)
                stream.flush()
                done += len(rows)
            stream.write(crc32(load_array(partial, mmap_mode="r")).to_bytes(_CRC, "little"))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, file)
        sync_folder(file.parent)

    def _shown(self, data: EvaluationSet, batches: Iterator[Floats], first: int) -> Iterator[Floats]:
        with progress_bar(self._progress, transient=True) as progress:
            bar = progress.add_task(f"embedding {data.evaluated}", total=len(data), completed=first)
            for rows in batches:
                yield rows
                progress.advance(bar, len(rows))


def _header(pictures: int, length: int) -> bytes:
    stream = io.BytesIO()
    shape = {"descr": "<f4", "fortran_order": False, "shape": (pictures, length)}
    np.lib.format.write_array_header_1_0(stream, shape)
    return stream.getvalue()


def _whole_rows(partial: Path, pictures: int, batch_size: int) -> int:
    """Rows of whole batches that a stopped process has left, the file being cut off behind them, or 0."""
    try:
        with partial.open("r+b") as stream:
            np.lib.format.read_magic(stream)
            (number, length), _, _ = np.lib.format.read_array_header_1_0(stream)
            start = stream.tell()
            content = np.frombuffer(stream.read(), np.uint8)
            count = min(len(content) // (4 * length), pictures)
            rows = content[: 4 * length * count].view(np.float32).reshape(count, length)
            # After a power cut the end of a file may be zeros that nobody wrote.
            good = np.isfinite(rows).all(axis=1) & rows.any(axis=1)
            count = count if good.all() else int(np.argmin(good))
            if number != pictures:
                return 0
            if count < pictures:
                count -= count % batch_size
            stream.truncate(start + 4 * length * count)
            return count
    except (OSError, ValueError, TypeError):
        return 0  # absent or damaged: begun anew


def _read(file: Path, pictures: int) -> Floats:
    try:
        features = load_array(file, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise PcclipError(f"{file}: damaged ({error}). Delete it; it is made again.") from error
    if features.ndim != 2 or len(features) != pictures or features.dtype != np.float32:
        raise PcclipError(
            f"{file}: holds {features.dtype} {features.shape} for {pictures} pictures. Delete it; "
            "it is made again."
        )
    after = _after(file, features)
    # A file of an earlier version has no checksum behind its rows.
    if after and after != crc32(features).to_bytes(_CRC, "little"):
        raise PcclipError(f"{file}: damaged (its checksum differs). Delete it; it is made again.")
    return features


def _after(file: Path, rows: Floats) -> bytes:
    """What stands behind the rows of a file."""
    assert isinstance(rows, np.memmap)
    with file.open("rb") as stream:
        stream.seek(rows.offset + rows.nbytes)
        return stream.read()
