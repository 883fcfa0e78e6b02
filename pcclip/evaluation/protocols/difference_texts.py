"""Difference-based classification by texts about single pairs: CUB's protocol, for any set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import CachedEncoders, unit
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject
from pcclip.evaluation.protocols.pair_texts import PairText, load_pair_texts
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.sources.attribute_tables import Names
from pcclip.evaluation.statistics import Floats, Indices, Observations, Parts, mean_over_seeds


@dataclass(frozen=True)
class DifferenceTexts(EvaluationProtocol):
    """Scores texts about pairs of pictures (a, b) against d = unit(g(a) - g(b)): is each on the right side?

    Published for CUB: a language model's texts of how two test captions differ, 5 seeds of 5,000 pairs. The
    scores are those of `DifferenceClassification`, 1 for right, 0 for wrong, 1/2 for a tie:

    - `sign`: cos(f(text), d) > 0 (the published protocol);
    - `two_alternative`: cos(f(text), d) > cos(f(reversed), d), over the pairs whose reversed text is known,
      from the table or from a row about the same pair turned round. Where it is not, nothing is made up;
    - `text_difference` (training-free): (f(captions of a) - f(captions of b)) . d > 0;
    - `absolute`: the captions of a fit a better than they fit b.

    The latter two are over the pairs whose pictures both have captions (the mean of several is taken).
    Metrics are `difference_texts/SET/SCORE`; a score without a single pair is not there, and the notes count
    the pairs of each. Intervals resample pictures; with several seeds see `DifferenceClassification`.

    Attributes:
        texts: .csv, .tsv or .parquet with image1, image2, text (and maybe reversed, split), or triple shards.
        pairs: Rows drawn per seed; all of them if null, or where there are fewer.
        seeds: Draws: seeds `seed`, `seed` + 1, ...
        seed: Of the first draw. Draws depend on it and on the rows, not on their order.
    """

    name: ClassVar[str] = "difference_texts"

    texts: str
    pairs: int | None = None
    seeds: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses settings that mean nothing."""
        if self.seeds < 1 or (self.pairs is not None and self.pairs < 1):
            raise PcclipError(f"{self.name}: at least one pair and one seed, not {self.pairs}, {self.seeds}")
        if self.pairs is None and self.seeds > 1:
            raise PcclipError(
                f"{self.name}: all pairs are the same for each of {self.seeds} seeds. Leave 'seeds' at 1, or "
                "say how many 'pairs' each seed draws."
            )

    def run(self, subject: Subject) -> Results:
        """Scores the texts.

        Raises:
            PcclipError: The texts cannot be read, or are about pictures that the set lacks.
        """
        data = subject.data
        rows = load_pair_texts(self.texts, data.split, Names(data.keys, data.path, "key"))
        rows = tuple(sorted(rows, key=lambda one: (one.first, one.second, one.text)))
        scored = _score(rows, subject)
        metrics: dict[str, Parts] = {}
        groups: dict[str, Observations] = {}
        by_seed: dict[str, list[float]] = {}
        for number in range(self.seeds):
            chosen = self._draw(len(rows), self.seed + number)
            for score, (places, right) in scored.items():
                taken = np.isin(places, chosen)
                if not taken.any():
                    continue
                group = f"{self.name} {score}{f' seed {self.seed + number}' if self.seeds > 1 else ''}"
                first, second = _pictures(data, [rows[place] for place in places[taken]])
                groups[group] = Observations(first, second, {score: right[taken]})
                metric = f"{self.name}/{data.name}/{score}"
                metrics[metric] = (*metrics.get(metric, ()), (group, score))
                by_seed.setdefault(metric, []).append(float(right[taken].mean(dtype=np.float64)))
        notes: dict[str, Any] = {"pairs": {score: len(places) for score, (places, _) in scored.items()}}
        if self.seeds > 1:
            notes["by_seed"] = {
                name: {"values": of, **(mean_over_seeds(of).as_dict() if len(of) > 1 else {})}
                for name, of in by_seed.items()
            }
        return Results(data.evaluated, len(data), groups, metrics, notes={f"{self.name}/{data.name}": notes})

    def _draw(self, count: int, seed: int) -> Indices:
        if self.pairs is None or self.pairs >= count:
            return np.arange(count)
        return np.random.default_rng(seed).choice(count, self.pairs, replace=False)


def _score(rows: Sequence[PairText], subject: Subject) -> dict[str, tuple[Indices, Floats]]:
    """By score the rows that it applies to, and whether each is right."""
    data, encoders = subject.data, subject.encoders
    first, second = _pictures(data, rows)
    direction = unit(subject.features[first] - subject.features[second])
    turned = [place for place, one in enumerate(rows) if one.reversed is not None]
    captions = data.captions or ((),) * len(data)
    told = [place for place in range(len(rows)) if captions[first[place]] and captions[second[place]]]
    wanted = [text for one in rows for text in (one.text, one.reversed) if text is not None]
    used = dict.fromkeys(index for place in told for index in (first[place], second[place]))
    encoders.texts(wanted + [text for index in used for text in captions[index]])  # at once: full batches

    def correct(places: Sequence[int], vectors_PD: Floats) -> tuple[Indices, Floats]:
        along = np.einsum("pd,pd->p", direction[places], vectors_PD)
        return np.array(places, np.int64), np.where(along == 0, 0.5, along > 0).astype(np.float32)

    forward = encoders.texts([one.text for one in rows])
    scores = {"sign": correct(range(len(rows)), forward)}
    if turned:
        back = encoders.texts([rows[place].reversed or "" for place in turned])
        scores["two_alternative"] = correct(turned, forward[turned] - back)
    if told:
        of = {index: _caption(encoders, captions[index]) for index in used}
        ours = np.stack([of[first[place]] for place in told])
        others = np.stack([of[second[place]] for place in told])
        scores["text_difference"] = correct(told, ours - others)
        scores["absolute"] = correct(told, ours)
    return scores


def _caption(encoders: CachedEncoders, captions: Sequence[str]) -> Floats:
    return unit(encoders.texts(captions).mean(axis=0))


def _pictures(data: EvaluationSet, rows: Sequence[PairText]) -> tuple[Indices, Indices]:
    index = {key: number for number, key in enumerate(data.keys)}
    pairs = np.array([(index[one.first], index[one.second]) for one in rows], np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
