"""A named model as an encoder of pictures and texts, its towers loaded when they are needed.

Shape letters: N pictures, M texts, D embedding width.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.embedding import embed
from pcclip.evaluation.encoding.models import Model, NamedModel
from pcclip.evaluation.statistics import Floats
from pcclip.inference.finding import Found
from pcclip.inference.pictures import Picture, given_set, listed

if TYPE_CHECKING:
    from pcclip.evaluation.sets import EvaluationSet


class EmbeddingModel:
    """Encodes pictures and texts to unit rows.

    The towers are loaded when something has to be encoded: embeddings that are kept need neither them nor
    torch.

    Args:
        found: The weights.
        device: Where the towers are to be; `auto` takes a GPU where there is one.
        cache: Folder where embeddings are kept; None keeps none beyond this object.
        batch_size: Pictures per call of the image tower.

    Attributes:
        title: What it is called, for people.
        finetuned: Whether its folder says that it was finetuned from other weights.
        cache: Folder where embeddings are kept.
        batch_size: Pictures per call of the image tower.
    """

    def __init__(
        self,
        found: Found,
        device: str = "auto",
        cache: str | Path | None = None,
        batch_size: int = 64,
    ) -> None:
        self.title = found.title
        self.finetuned = found.finetuned
        self.cache = None if cache is None else Path(cache).expanduser()
        self.batch_size = batch_size
        self._named = NamedModel(found.named, device, self.cache)

    @cached_property
    def _model(self) -> Model:
        return self._named.model()

    @property
    def image_fingerprint(self) -> str:
        """Hex sha256 of the image tower's weights, preprocessing and architecture."""
        return self._named.fingerprints.image

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """Embeddings of texts, each distinct text encoded once.

        Args:
            texts: M texts.

        Returns:
            (M, D) float32 unit rows.

        Raises:
            PcclipError: A text is empty, or no text is given.

        Example:
            >>> features = model.encode_texts(["the first is larger", "it is night"])
            >>> len(features), features.dtype
            (2, dtype('float32'))
        """
        if isinstance(texts, str):
            texts = [texts]
        if not len(texts) or any(not text.strip() for text in texts):
            raise PcclipError("a text is empty: say how pictures differ, as 'the animal is larger'")
        rows = self._model.encoders.texts(list(texts))
        self._model.encoders.keep()
        return rows

    def encode_images(self, pictures: Sequence[Picture] | Picture, *, progress: bool = False) -> Floats:
        """Embeddings of pictures, in batches, decoded by threads ahead of the tower.

        Args:
            pictures: N paths or opened pictures; one alone counts as a list of one.
            progress: Show a progress bar.

        Returns:
            (N, D) float32 unit rows.

        Raises:
            PcclipError: A picture cannot be read, or none is given.

        Example:
            >>> from PIL import Image
            >>> len(model.encode_images(["photos/a.jpg", Image.new("RGB", (32, 32))]))
            2
        """
        from pcclip.data.progress import progress_bar

        if not (given := listed(pictures)):
            raise PcclipError("no pictures are given")
        data, rows = given_set(given), []
        with progress_bar(progress) as bars:
            bar = bars.add_task("Embedding pictures", total=len(given))
            for batch in self.embed(data):
                rows.append(batch)
                bars.advance(bar, len(batch))
        return np.concatenate(rows)

    def embed(self, data: EvaluationSet, first: int = 0) -> Iterator[Floats]:
        """Embeddings of a set's pictures from number `first` on, batch by batch: see `embed`."""
        workers = min(8, len(os.sched_getaffinity(0)))
        return embed(
            data,
            self._named.encode_images,
            self._model.preprocess,
            batch_size=self.batch_size,
            workers=workers,
            first=first,
        )
