"""What the page is told: pictures in the order of a text, or like one but changed, model by model.

Nothing here runs models or sorts scores on the event loop.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.statistics import Floats, Indices
from pcclip.inference.gallery import Gallery
from pcclip.inference.model import DifferenceModel
from pcclip.inference.ordering import best, rank_scores, search_scores
from pcclip.inference.serve.thumbnails import version

LONGEST = 1000
"""Characters of a text."""
MOST = 384
"""Pictures of one answer."""
HEAVIEST = 10.0
"""Weight of a change."""
_REMEMBERED = 4096
_PLAIN = (
    "Not finetuned on differences: a comparison alone orders little. Caption one end, and the other end as "
    "the opposite."
)

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Query:
    """What is asked.

    Attributes:
        text: The difference; empty for none.
        opposite: Its other end; empty for none.
        like: Name of the picture to start from; empty for none.
        weight: Of the difference, where there is a picture to start from.
        stages: Whose answers.
        count: How many pictures at either end.
    """

    text: str
    opposite: str
    like: str
    weight: float
    stages: Sequence[str]
    count: int

    @classmethod
    def of(cls, words: Mapping[str, Sequence[str]], stages: Sequence[str]) -> Query:
        """Reads a URL's query.

        Args:
            words: All values by name.
            stages: Those that there are; the answer has all unless some are named.

        Raises:
            PcclipError: A value cannot be used; the message is for the page.
        """

        def last(name: str, otherwise: str = "") -> str:
            return (words.get(name) or [otherwise])[-1].strip()

        asked = words.get("stage") or stages
        if unknown := [stage for stage in asked if stage not in stages]:
            raise PcclipError(f"There is no model '{unknown[0]}' here, only {', '.join(stages)}.")
        text, opposite = last("text"), last("opposite")
        if max(len(text), len(opposite)) > LONGEST:
            raise PcclipError(f"The text is longer than {LONGEST:,} characters.")
        if opposite and not text:
            raise PcclipError("An opposite alone says no difference: type the difference too.")
        weight = _number(last("weight", "1"), "weight", 0, HEAVIEST)
        count = int(_number(last("count", "20"), "count", 1, MOST))
        chosen = [stage for stage in stages if stage in asked]
        return cls(text, opposite, last("like"), weight, chosen, count)


class Answers:
    """Answers about one folder. `close` lets its threads go.

    Args:
        models: By stage.
        galleries: The folder's embeddings, by stage.
        folder: The folder.
    """

    def __init__(
        self, models: Mapping[str, DifferenceModel], galleries: Mapping[str, Gallery], folder: Path
    ) -> None:
        self.stages = list(models)
        self._models = models
        self._galleries = galleries
        self._folder = folder
        files = next(iter(galleries.values())).files
        # Names that are no UTF-8 cannot stand in a URL: they are known by a readable twin.
        self._names = [os.fsencode(file).decode("utf-8", "replace") for file in files]
        self._files = list(files)
        self._rows = {name: row for row, name in enumerate(self._names)}
        self._directions: OrderedDict[tuple[str, str, str], asyncio.Future[Floats]] = OrderedDict()
        self._encoding = ThreadPoolExecutor(1, "texts")  # one: the towers share their threads as it is
        self._scoring = ThreadPoolExecutor(2, "scores")

    def __len__(self) -> int:
        return len(self._files)

    def told(self) -> str:
        """What is here, in a line."""
        titles = dict.fromkeys(model.title for model in self._models.values())
        return f"{len(self):,} pictures · {', '.join(titles)}"

    def close(self) -> None:
        """Lets the threads go when they have done what they are at."""
        for pool in (self._encoding, self._scoring):
            pool.shutdown(wait=False, cancel_futures=True)

    def path(self, row: int) -> Path:
        """Where a picture is: by its number, so that no request can name a path.

        Raises:
            PcclipError: There is no such picture.
        """
        if not 0 <= row < len(self._files):
            raise PcclipError(f"There is no picture number {row}: the folder has {len(self):,}.")
        return self._folder / self._files[row]

    async def answer(self, query: Query) -> dict[str, Any]:
        """The answer to a query, ready for JSON.

        Without a text and a picture it is a sample of the folder; with a text the pictures that are most and
        least so; with a picture those near to it, changed by the text if there is one.

        Raises:
            PcclipError: The picture is not in the folder, or the texts say no difference.
        """
        start = self._rows.get(query.like)
        if query.like and start is None:
            raise PcclipError(f"'{query.like}' is not among the folder's {len(self):,} pictures.")
        if query.text:
            directions = await asyncio.gather(*(self._direction(stage, query) for stage in query.stages))
        elif start is not None:
            directions = [
                np.zeros(self._galleries[stage].features.shape[1], np.float32) for stage in query.stages
            ]
        else:
            sample = await self._off_loop(self._scoring, self._sample, query.count)
            return {"pictures": len(self), "picked": None, "columns": [sample]}
        columns = await asyncio.gather(
            *(
                self._off_loop(self._scoring, self._column, stage, direction, start, query)
                for stage, direction in zip(query.stages, directions, strict=True)
            )
        )
        picked = None if start is None else self._card(start)
        return {"pictures": len(self), "picked": picked, "columns": columns}

    async def _direction(self, stage: str, query: Query) -> Floats:
        """The direction of a text: computed once, also for those who ask meanwhile."""
        key = (stage, query.text, query.opposite)
        known = self._directions.get(key)
        if known is None:
            encode = self._models[stage].direction
            known = self._off_loop(self._encoding, encode, query.text, query.opposite or None)
            self._directions[key] = known
            if len(self._directions) > _REMEMBERED:
                self._directions.popitem(last=False)
        else:
            self._directions.move_to_end(key)
        try:
            return await asyncio.shield(known)
        except Exception:
            self._directions.pop(key, None)
            raise

    def _sample(self, count: int) -> dict[str, Any]:
        rows = np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int)
        return {"stage": None, "note": None, "most": [self._card(int(row)) for row in rows], "least": []}

    def _column(self, stage: str, direction: Floats, start: int | None, query: Query) -> dict[str, Any]:
        features, pictures = self._galleries[stage].features, len(self)
        least: list[dict[str, Any]] = []
        if start is None:
            scores = rank_scores(features, direction)
            count = min(query.count, pictures)
            least = self._cards(best(-scores, count), range(pictures, pictures - count, -1), scores)
        else:
            scores = search_scores(features, features[start], direction, query.weight)
            scores[start] = -np.inf  # it is the nearest to itself
            count = min(query.count, pictures - 1)
        most = self._cards(best(scores, count), range(1, count + 1), scores)
        plain = query.text and not query.opposite and not self._models[stage].finetuned
        return {"stage": stage, "note": _PLAIN if plain else None, "most": most, "least": least}

    def _cards(self, rows: Indices, places: Sequence[int], scores: Floats) -> list[dict[str, Any]]:
        return [
            self._card(row, place, float(scores[row]))
            for row, place in zip(rows.tolist(), places, strict=True)
        ]

    def _card(self, row: int, place: int | None = None, score: float | None = None) -> dict[str, Any]:
        try:
            state = version(self.path(row))
        except PcclipError:
            state = "gone"
        return {
            "name": self._names[row],
            "place": place,
            "score": None if score is None else round(score, 6),
            "thumbnail": f"/thumbnail/{row}?v={state}",
            "picture": f"/picture/{row}?v={state}",
        }

    @staticmethod
    def _off_loop(
        pool: Executor, function: Callable[..., _Result], *arguments: Any
    ) -> asyncio.Future[_Result]:
        return asyncio.get_running_loop().run_in_executor(pool, function, *arguments)


def _number(text: str, name: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise PcclipError(f"{name} is '{text[:40]}': it should be a number from {least:g} to {most:g}.")
    return value
