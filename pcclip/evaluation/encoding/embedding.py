"""The pictures of a set through an image tower: decoded ahead by threads, normalised in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pcclip.crew import Job
from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import ImageEncoder
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Floats

if TYPE_CHECKING:
    from torch import Tensor

Transform = Callable[[Image.Image], Any]


@dataclass(frozen=True)
class LoadedLater:
    """A preprocessing that is looked up when the first picture needs it: its model may have to be loaded.

    Attributes:
        get: Looks it up.
    """

    get: Callable[[], Transform]

    def __call__(self, picture: Image.Image) -> Any:
        """Preprocesses one picture."""
        return self.get()(picture)


_AHEAD = 2  # batches decoded while one is encoded


def embed(
    data: EvaluationSet,
    encode_images: ImageEncoder,
    preprocess: Transform,
    *,
    batch_size: int,
    workers: int,
    first: int = 0,
) -> Iterator[Floats]:
    """Embeddings of a set's pictures, batch by batch in their order.

    Args:
        data: Whose pictures.
        encode_images: The tower.
        preprocess: RGB picture to pixels (3, H, W).
        batch_size: Pictures per call of the tower.
        workers: Threads that decode.
        first: Number of the first picture that is wanted.

    Yields:
        (B, D) float32 rows.

    Raises:
        PcclipError: A picture cannot be decoded, or an embedding is not finite.
    """
    job = picture_job(data, encode_images, preprocess, batch_size=batch_size, workers=workers, first=first)
    return map(job.encode, job.prepare(range(job.count)))


def picture_job(
    data: EvaluationSet,
    encode_images: ImageEncoder,
    preprocess: Transform,
    *,
    batch_size: int,
    workers: int,
    first: int = 0,
) -> Job[tuple[int, Tensor]]:
    """The batches of `embed`, to be shared among processes; takes the same arguments."""
    starts = range(first, len(data), batch_size)

    def prepare(numbers: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        mine = [starts[number] for number in numbers]
        return zip(mine, _pixels(data, preprocess, mine, batch_size, workers), strict=True)

    def encode(batch: tuple[int, Tensor]) -> Floats:
        start, pixels = batch
        rows: Floats = encode_images(pixels).detach().float().cpu().numpy()
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            raise PcclipError(
                f"the image tower's embedding of picture {data.keys[start + int(np.argmin(finite))]!r} of "
                f"{data.path} is not finite. Check the image tower's weights."
            )
        return rows

    return Job(len(starts), prepare, encode)


def _pixels(
    data: EvaluationSet, preprocess: Transform, starts: Sequence[int], batch_size: int, workers: int
) -> Iterator[Tensor]:
    each, batch = split_transform(preprocess)

    def load(numbers: range) -> list[Any]:
        return [each(data.image(number)) for number in numbers]

    share = -(-batch_size // workers)  # one task per thread and batch: a task per picture costs more
    pool = ThreadPoolExecutor(workers)
    waiting: deque[list[Future[list[Any]]]] = deque()

    def collect() -> Tensor:
        return batch([picture for task in waiting.popleft() for picture in task.result()])

    try:
        for start in starts:
            stop = min(start + batch_size, len(data))
            tasks = [range(at, min(at + share, stop)) for at in range(start, stop, share)]
            waiting.append([pool.submit(load, numbers) for numbers in tasks])
            if len(waiting) > _AHEAD:
                yield collect()
        while waiting:
            yield collect()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def split_transform(preprocess: Transform) -> tuple[Callable[[Image.Image], Any], Callable[[Any], Tensor]]:
    """Preprocessing as what is done to each picture and what is done to a whole batch at once.

    The outcome is that of `preprocess` on each picture, bit by bit. open_clip's ends in the conversion to
    floating point and the normalisation: of small pictures these cost more in Python than in arithmetic.

    Args:
        preprocess: RGB picture to pixels (3, H, W).
    """
    import torch
    from torchvision.transforms import Compose, Normalize, ToTensor

    if isinstance(preprocess, LoadedLater):
        preprocess = preprocess.get()
    steps = preprocess.transforms if isinstance(preprocess, Compose) else []
    if len(steps) < 2 or not isinstance(steps[-2], ToTensor) or not isinstance(steps[-1], Normalize):
        return preprocess, torch.stack
    resize, normalize = Compose(steps[:-2]), steps[-1]

    def each(picture: Image.Image) -> npt.NDArray[np.uint8]:
        return np.asarray(resize(picture))

    def batch(pictures: list[npt.NDArray[np.uint8]]) -> Tensor:
        pixels = torch.from_numpy(np.stack(pictures)).to(torch.get_default_dtype()).div(255)
        return normalize(pixels.permute(0, 3, 1, 2))  # channels last in memory: faster in convolutions

    return each, batch
