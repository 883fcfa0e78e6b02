"""The two functions that an evaluation needs of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from pcclip.crew import Crew, Job
from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.text_cache import TextCache
from pcclip.evaluation.statistics import Floats

if TYPE_CHECKING:  # torch takes seconds to import, and cached embeddings do not need it
    import torch
    from torch import Tensor

ImageEncoder: TypeAlias = "Callable[[Tensor], Tensor]"
"""Preprocessed pixels (B, 3, H, W) -> unit rows (B, D), float32 on the CPU."""

TextEncoder: TypeAlias = "Callable[[list[str]], Tensor]"
"""Texts -> unit rows (M, D), float32 on the CPU."""


class Encoders(Protocol):
    """A model, as evaluations see it."""

    def encode_images(self, pixels: Tensor) -> Tensor:
        """An `ImageEncoder`."""
        ...

    def encode_texts(self, texts: list[str]) -> Tensor:
        """A `TextEncoder`."""
        ...


class TowersLike(Protocol):
    """What `TowerEncoders` uses of a pair of towers."""

    tokenizer: Callable[[list[str]], Tensor]

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Pixels to embeddings of any length."""
        ...

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Tokens to embeddings of any length."""
        ...


class TowerEncoders:
    """Encoders of a pair of towers: evaluation mode, no gradients, unit rows.

    Args:
        towers: A module with `encode_images`, `encode_texts` and `tokenizer`. The modes (training or not) of
            its modules are as before after each call.
        device: Where the towers are.
    """

    def __init__(self, towers: TowersLike, device: torch.device | str = "cpu") -> None:
        self._towers = towers
        self._device = device

    def encode_images(self, pixels: Tensor) -> Tensor:
        """An `ImageEncoder`."""
        with _evaluating(self._towers):
            return _unit_rows(self._towers.encode_images(pixels.to(self._device)))

    def encode_texts(self, texts: list[str]) -> Tensor:
        """A `TextEncoder`."""
        from pcclip.data.tokens import quick  # imports torch

        tokens = quick(self._towers.tokenizer)(texts)
        with _evaluating(self._towers):
            return _unit_rows(self._towers.encode_texts(tokens.to(self._device)))


class CachedEncoders:
    """Encoders that encode each distinct text once, in batches of texts of like length.

    Make one per state of the text tower: it never forgets.

    Args:
        encoders: The model.
        batch_size: Texts per call.
        kept: Embeddings of earlier runs, where new ones are added; None where the text tower trains.
        crew: Who encodes; this process alone if None.
        order: Makes of some batches of texts what the crew's other processes make `job` of.
    """

    def __init__(
        self,
        encoders: Encoders,
        batch_size: int = 256,
        kept: TextCache | None = None,
        crew: Crew | None = None,
        order: Callable[[list[list[str]]], Any] = lambda batches: None,
    ) -> None:
        self._encoders = encoders
        self._batch_size = batch_size
        self._kept = kept
        self._crew = crew or Crew()
        self._order = order
        self._rows: dict[str, Floats] = {}

    def encode_images(self, pixels: Tensor) -> Tensor:
        """An `ImageEncoder`."""
        return self._encoders.encode_images(pixels)

    def encode_texts(self, texts: list[str]) -> Tensor:
        """A `TextEncoder`."""
        from torch import from_numpy

        return from_numpy(self.texts(texts))

    def keep(self) -> None:
        """Writes new embeddings of texts to where those of earlier runs are kept, if anywhere."""
        if self._kept is not None:
            self._kept.save()

    def texts(self, texts: Sequence[str]) -> Floats:
        """Unit embeddings (len(texts), D) of the texts, in their order.

        Raises:
            PcclipError: An embedding is not finite, or the encoder returns the wrong number of rows.
        """
        unknown = set(texts) - self._rows.keys()
        if self._kept is not None and unknown:
            self._rows.update(self._kept.find(unknown))
            unknown -= self._rows.keys()
        # Texts of like length share a batch: a tower that trims to the longest text wastes little.
        missing = sorted(unknown, key=lambda text: (len(text), text))
        size = self._batch_size
        batches = [missing[start : start + size] for start in range(0, len(missing), size)]
        if batches:
            shared = self._crew.map(self._order(batches), self.job(batches))
            for batch, rows in zip(batches, shared, strict=True):
                self._rows.update(zip(batch, rows, strict=True))
                if self._kept is not None:
                    self._kept.add(batch, rows)
        return np.stack([self._rows[text] for text in texts])

    def job(self, batches: Sequence[list[str]]) -> Job[list[str]]:
        """Batches of texts that are to be encoded."""
        return Job(len(batches), lambda numbers: (batches[number] for number in numbers), self._finite_rows)

    def _finite_rows(self, batch: list[str]) -> Floats:
        rows: Floats = self._encoders.encode_texts(batch).detach().float().cpu().numpy()
        if rows.ndim != 2 or len(rows) != len(batch):
            raise PcclipError(f"encode_texts made {rows.shape} of {len(batch)} texts, not one row each")
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            raise PcclipError(
                f"the text tower's embedding of {batch[int(np.argmin(finite))]!r} is not finite: "
                "the model has diverged. Evaluate an earlier checkpoint, or lower the learning rate."
            )
        return rows


def unit(vectors: Floats) -> Floats:
    """Rows (..., D) divided by their length; a row of zeros stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def _unit_rows(embeddings: Tensor) -> Tensor:
    from torch.nn.functional import normalize

    return normalize(embeddings.float(), dim=-1).cpu()


@contextmanager
def _evaluating(towers: Any) -> Iterator[None]:
    import torch
    from torch import nn

    modes = {module: module.training for module in towers.modules()} if isinstance(towers, nn.Module) else {}
    if modes:
        towers.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
