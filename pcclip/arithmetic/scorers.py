"""What pictures are measured by: the contract of scorers."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pcclip.arithmetic.cases import Case

if TYPE_CHECKING:
    from pcclip.model.towers import Towers

Scores = npt.NDArray[np.floating[Any]]


class PictureScorer(ABC):
    """Measures drawn pictures. A dataclass of settings, named by class path in a configuration."""

    @abstractmethod
    def score(
        self,
        pictures: Sequence[Image.Image],
        cases: Sequence[Case],
        base_pictures: Sequence[Image.Image] | None,
    ) -> dict[str, Scores]:
        """Scores of pictures, by name; higher is better.

        It is called with all pictures of one tower and one weight. Sequences of pictures may read a file
        at each access: go through them in batches.

        Args:
            pictures: N RGB pictures.
            cases: N: what each was meant to show.
            base_pictures: N: the same subject, seed and tower without the change (weight 0); None where
                `pictures` are those themselves.

        Returns:
            The same names at every call, each (N,); NaN where a score does not apply to a case, or needs
            base pictures where there are none. A picture of which nothing can be measured scores the worst,
            not NaN. Names are of letters, digits and "_".

        Raises:
            PcclipError: It cannot score.
        """

    def check(self, towers: Mapping[str, Towers]) -> None:
        """Refuses to judge pictures by a model that has part in them.

        Args:
            towers: That the pictures are drawn with, by name.

        Raises:
            PcclipError: One of them is the model that this scores with.
        """
        return  # a scorer without a model of its own has no part in anything

    def describe(self) -> dict[str, Any]:
        """What decides the scores, for the record, as JSON takes it."""
        named = f"{type(self).__module__}.{type(self).__qualname__}"
        fields: dict[str, Any] = dataclasses.asdict(self) if dataclasses.is_dataclass(self) else {}
        return {"class": named, **fields}
