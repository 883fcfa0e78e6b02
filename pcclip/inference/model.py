"""The Python interface: `pcclip.load(...)`, and what the model that it returns can do with differences.

Shape letters: N pictures, M texts, D embedding width.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import unit
from pcclip.evaluation.statistics import Floats, Indices
from pcclip.inference.embedding_model import EmbeddingModel
from pcclip.inference.finding import Stage, find
from pcclip.inference.ordering import WEIGHT, best, rank_scores, search_scores
from pcclip.inference.pictures import Picture, is_one, listed

if TYPE_CHECKING:
    from PIL import Image

    from pcclip.inference.gallery import Gallery

_log = logging.getLogger(__name__)


class Described(NamedTuple):
    """A text and how well it fits: cosine of its embedding and the image difference, -1 to 1."""

    text: str
    score: float


class Placed(NamedTuple):
    """A picture in an order.

    Attributes:
        picture: As it was given; of a gallery its name.
        score: Higher is nearer to what was asked for.
        number: Of the picture among those given, from 0.
    """

    picture: str | os.PathLike[str] | Image.Image
    score: float
    number: int


class DifferenceModel(EmbeddingModel):
    """A CLIP that is asked about differences; `load` makes one. Encodes as `EmbeddingModel` says."""

    def direction(self, text: str, opposite: str | None = None) -> Floats:
        """The direction that a text speaks of, in the space of image embeddings.

        A text tower finetuned on differences puts "the first picture is darker" along the difference of a
        darker and a lighter picture, so that f(text) is the direction itself. Any CLIP has, without
        training, the difference of two captions: f(text) - f(opposite), as f("a dark picture") - f("a light
        picture"). The finetuned tower too gains by f("it is darker") - f("it is lighter"): what the two
        sentences share, their subject and their form, falls out.

        Args:
            text: How pictures differ; with `opposite`, what one end of the direction shows.
            opposite: What the other end shows.

        Returns:
            (D,) float32 unit vector.

        Raises:
            PcclipError: A text is empty, or both have the same embedding.
        """
        if opposite is None:
            return self.encode_texts([text])[0]
        ends = self.encode_texts([text, opposite])
        direction = unit(ends[0] - ends[1])
        if not direction.any():
            raise PcclipError(f"{text!r} and {opposite!r} have the same embedding: they say no difference")
        return direction

    def difference(self, image1: Picture | Sequence[Picture], image2: Picture | Sequence[Picture]) -> Floats:
        """Directions in which pictures 1 differ from pictures 2.

        `d12 = unit(g(I1) - g(I2))` of unit embeddings g (arXiv 2409.09721, section 3). Swapping the pictures
        flips its sign.

        Args:
            image1: A path or an opened picture, or N of them.
            image2: As many.

        Returns:
            (D,) float32 unit vector for two pictures, (N, D) for two lists.

        Raises:
            PcclipError: The lists differ in length, a picture cannot be read, or the two pictures of a pair
                look the same to the model, so that there is no direction.

        Example:
            >>> d12 = model.difference("photos/a.jpg", "photos/b.jpg")
            >>> bool((d12 == -model.difference("photos/b.jpg", "photos/a.jpg")).all())
            True
        """
        single = is_one(image1)
        first, second = listed(image1), listed(image2)
        if len(first) != len(second) or single != is_one(image2):
            raise PcclipError(f"{len(first)} first and {len(second)} second pictures: give pairs")
        rows = self.encode_images([*first, *second])
        directions = unit(rows[: len(first)] - rows[len(first) :])
        if not (alive := directions.any(axis=1)).all():
            pair = int(np.argmin(alive))
            raise PcclipError(f"{first[pair]} and {second[pair]} look the same: they have no difference")
        return directions[0] if single else directions

    def describe(
        self, image1: Picture, image2: Picture, candidates: Sequence[str], top: int | None = None
    ) -> list[Described]:
        """Texts about how picture 1 differs from picture 2, the one that fits best first.

        A text that is true of the swapped pair scores below 0, and `describe(image2, image1, ...)` gives the
        same scores with the sign flipped, in the reverse order.

        Args:
            image1: A path or an opened picture.
            image2: The same.
            candidates: M texts that say how a first picture may differ from a second.
            top: How many are returned; all, if None.

        Raises:
            PcclipError: As `difference` and `encode_texts`.

        Example:
            >>> texts = ["the first is larger", "the first is smaller"]
            >>> model.describe("photos/a.jpg", "photos/b.jpg", texts)
            [Described(text='the first is ...', score=...), Described(text='the first is ...', score=...)]
        """
        direction = self.difference(image1, image2)
        scores = rank_scores(self.encode_texts(candidates), direction)
        return [Described(candidates[index], float(scores[index])) for index in best(scores, top)]

    def rank(
        self,
        pictures: Sequence[Picture] | Gallery | str | Path,
        text: str,
        opposite: str | None = None,
        *,
        top: int | None = None,
        reverse: bool = False,
    ) -> list[Placed]:
        """Pictures in the order that a difference speaks of: those that are most so come first.

        Args:
            pictures: N paths or opened pictures, a `Gallery`, or a folder.
            text: The difference, as "the animal is larger". Of a model that was not finetuned on differences
                a comparison orders nothing: give captions of both ends.
            opposite: The other end: see `direction`.
            top: How many are returned; all, if None.
            reverse: The least so come first.

        Raises:
            PcclipError: There are no pictures, one cannot be read, or a text is empty.

        Example:
            >>> model.rank("photos", "the animal is larger", top=1)
            [Placed(picture='....jpg', score=..., number=...)]
            >>> base.rank("photos", "a large animal", "a small animal", top=1)
            [Placed(picture='....jpg', score=..., number=...)]
        """
        self._warn(opposite)
        direction = self.direction(text, opposite)
        _, names, features = self._opened(pictures)
        scores = rank_scores(features, direction)
        return _placed(names, scores, best(-scores if reverse else scores, top))

    def search(
        self,
        pictures: Sequence[Picture] | Gallery | str | Path,
        like: Picture,
        but: str,
        opposite: str | None = None,
        *,
        weight: float = WEIGHT,
        top: int | None = None,
    ) -> list[Placed]:
        """Pictures like one, but changed as a text says: near to unit(g(like) + weight * direction).

        Args:
            pictures: N paths or opened pictures, a `Gallery`, or a folder. `like`, where it is one of them,
                is not returned.
            like: The picture to start from; of a gallery its name will do.
            but: How the pictures that are wanted differ from it, as "with more snow".
            opposite: The other end: see `direction`.
            weight: Of the change: 0 finds the nearest pictures, a large one ranks by the text alone.
            top: How many are returned; all, if None.

        Raises:
            PcclipError: There are no pictures, one cannot be read, or a text is empty.

        Example:
            >>> model.search("photos", like="photos/a.jpg", but="with more snow", top=1)
            [Placed(picture='....jpg', score=..., number=...)]
        """
        self._warn(opposite)
        direction = self.direction(but, opposite)
        gallery, names, features = self._opened(pictures)
        row = _place_of(like, gallery, names)
        start = features[row] if row is not None else self.encode_images(like)[0]
        scores = search_scores(features, start, direction, weight)
        if row is None:
            return _placed(names, scores, best(scores, top))
        wanted = scores.copy()
        wanted[row] = -np.inf  # the picture itself is the nearest to itself
        others = len(scores) - 1 if top is None else min(top, len(scores) - 1)
        return _placed(names, scores, best(wanted, others))

    def advice(self, opposite: str | None) -> str | None:
        """What to know about a direction without `opposite` by this model; None if there is nothing."""
        if self.finetuned or opposite is not None:
            return None
        return (
            "does not say that it was finetuned on differences: a comparison alone (“it is larger”) orders "
            "nothing then. Caption one end (“a large animal”), better with the opposite (“a small animal”)."
        )

    def _warn(self, opposite: str | None) -> None:
        if advice := self.advice(opposite):
            _log.warning("%s %s", self.title, advice)

    def _opened(
        self, pictures: Sequence[Picture] | Gallery | str | Path
    ) -> tuple[Gallery | None, Sequence[Picture], Floats]:
        from pcclip.inference.gallery import Gallery

        if isinstance(pictures, str | Path):
            pictures = Gallery.open(pictures, self)
        if isinstance(pictures, Gallery):
            return pictures, pictures.files, pictures.features
        pictures = list(pictures)
        return None, pictures, self.encode_images(pictures, progress=len(pictures) > self.batch_size)


def load(
    model: str | Path,
    pretrained: str | None = None,
    *,
    stage: Stage = "tuned",
    device: str = "auto",
    cache: str | Path | None = None,
) -> DifferenceModel:
    """A model to ask about differences.

    The towers are loaded when the first text or picture has to be encoded; a tag or a file of weights that
    is wrong shows then.

    Args:
        model: A finished run (`runs/EXPERIMENT/VERSION`; `runs/EXPERIMENT` where it has one), a folder that
            open_clip loads, an open_clip tag (with `pretrained`), or `hf-hub:ORG/NAME`.
        pretrained: Of a tag: open_clip's pretrained tag, or a file of weights.
        stage: Of a run: `tuned`, `interpolated`, or the `base` that it started from.
        device: `cpu`, `cuda`, `cuda:1`, `mps`, or `auto`, which takes a GPU where there is one.
        cache: Folder where embeddings of texts and of folders' pictures are kept; None keeps none.

    Raises:
        PcclipError: There is no such run or folder, the run has not finished, or it has no such stage.

    Example:
        >>> model = pcclip.load("runs/shapes-differences/seed0", cache="data/cache")
        >>> base = pcclip.load("runs/shapes-differences/seed0", stage="base")
        >>> large = pcclip.load("ViT-L-14", "datacomp_xl_s13b_b90k")
    """
    return DifferenceModel(find(model, pretrained, stage), device, cache)


def _place_of(like: Picture, gallery: Gallery | None, names: Sequence[Picture]) -> int | None:
    """Where `like` is among the pictures, if it is."""
    if gallery is not None:
        return gallery.row(like) if isinstance(like, str | os.PathLike) else None
    if not isinstance(like, str | os.PathLike):
        return next((index for index, one in enumerate(names) if one is like), None)
    real = os.path.realpath(os.path.expanduser(like))
    paths = (os.path.realpath(one) if isinstance(one, str | os.PathLike) else None for one in names)
    return next((index for index, path in enumerate(paths) if path == real), None)


def _placed(names: Sequence[Picture], scores: Floats, order: Indices) -> list[Placed]:
    return [Placed(names[index], float(scores[index]), int(index)) for index in order]
