"""Image embeddings of evaluation sets: computed once per image tower."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor

from pcclip.errors import PcclipError
from pcclip.evaluation.encoders import ImageEncoder
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Floats

_AHEAD = 2  # batches decoded while one is encoded


class FeatureCache:
    """Embeddings by image tower and set: in memory, and on disk where there is a folder.

    Memory holds each set's embeddings by the latest two towers only: a model and its base.

    Args:
        folder: Where `.npy` files are kept, memory-mapped when read; None keeps nothing on disk, which is
            right where the image tower trains and changes at every evaluation.
        batch_size: Pictures per call of the image tower.
        workers: Threads that decode pictures.
        progress: Show a progress bar while embedding.
    """

    def __init__(
        self, folder: Path | None = None, batch_size: int = 128, workers: int = 2, progress: bool = True
    ) -> None:
        self._folder = folder
        self._batch_size = batch_size
        self._workers = workers
        self._progress = progress
        self._latest: dict[str, dict[str, Floats]] = {}

    def get(
        self,
        evaluation_set: EvaluationSet,
        encode_images: ImageEncoder,
        preprocess: Callable[[Image.Image], Tensor],
        image_fingerprint: str,
    ) -> Floats:
        """The set's embeddings by the tower: (N, D) float32 unit rows, in the set's order.

        Args:
            evaluation_set: Whose pictures.
            encode_images: The tower.
            preprocess: RGB picture to pixels (3, H, W).
            image_fingerprint: Of the tower's weights and preprocessing.

        Raises:
            ShardError: A picture cannot be decoded.
            PcclipError: An embedding is not finite, or the cached file is damaged.
        """
        pictures = evaluation_set.fingerprint()
        identity = hashlib.sha256(f"{image_fingerprint} {pictures}".encode()).hexdigest()[:32]
        latest = self._latest.setdefault(pictures, {})
        if identity in latest:
            latest[identity] = latest.pop(identity)  # now the newest
            return latest[identity]
        file = self._folder / f"features-{identity}.npy" if self._folder is not None else None
        if file is None or not file.is_file():
            features = self._embed(evaluation_set, encode_images, preprocess)
            if file is not None:
                _write(file, features)
        else:
            features = _read(file, len(evaluation_set))
        latest[identity] = features
        if len(latest) > 2:
            del latest[next(iter(latest))]
        return features

    def _embed(
        self,
        evaluation_set: EvaluationSet,
        encode_images: ImageEncoder,
        preprocess: Callable[[Image.Image], Tensor],
    ) -> Floats:
        features: Floats | None = None
        starts = range(0, len(evaluation_set), self._batch_size)
        batches = track(
            self._pixels(evaluation_set, preprocess, starts),
            f"Embedding {evaluation_set.name}/{evaluation_set.split}",
            total=len(starts),
            disable=not self._progress,
            transient=True,
        )
        for start, pixels in zip(starts, batches, strict=True):
            rows = encode_images(pixels).detach().float().cpu().numpy()
            if not np.isfinite(rows).all():
                bad = start + int(np.argmin(np.isfinite(rows).all(axis=1)))
                raise PcclipError(
                    f"the image tower's embedding of picture {evaluation_set.keys[bad]!r} of "
                    f"{evaluation_set.path} is not finite. Check the image tower's weights."
                )
            if features is None:
                features = np.empty((len(evaluation_set), rows.shape[1]), np.float32)
            features[start : start + len(rows)] = rows
        assert features is not None  # a set has at least one picture
        return features

    def _pixels(
        self, evaluation_set: EvaluationSet, preprocess: Callable[[Image.Image], Tensor], starts: range
    ) -> Iterator[Tensor]:
        """Batches of pixels, decoded ahead by threads (decoding and resizing let go of the lock)."""

        def load(index: int) -> Tensor:
            return preprocess(evaluation_set.image(index))

        pool = ThreadPoolExecutor(self._workers)
        waiting: deque[list[Future[Tensor]]] = deque()
        try:
            for start in starts:
                stop = min(start + self._batch_size, len(evaluation_set))
                waiting.append([pool.submit(load, index) for index in range(start, stop)])
                if len(waiting) > _AHEAD:
                    yield torch.stack([pixels.result() for pixels in waiting.popleft()])
            while waiting:
                yield torch.stack([pixels.result() for pixels in waiting.popleft()])
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _write(file: Path, features: Floats) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("xb") as stream:
            np.save(stream, features, allow_pickle=False)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _read(file: Path, pictures: int) -> Floats:
    try:
        features = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise PcclipError(f"{file}: damaged ({error}). Delete it; it is made again.") from error
    if features.ndim != 2 or len(features) != pictures or features.dtype != np.float32:
        raise PcclipError(
            f"{file}: holds {features.dtype} {features.shape} for {pictures} pictures. Delete it; "
            "it is made again."
        )
    return features
