"""Attribute ranking: does a difference text sort pictures by what it speaks of?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from pcclip.errors import PcclipError
from pcclip.evaluation.encoders import CachedEncoders
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject
from pcclip.evaluation.questions import Question
from pcclip.evaluation.rank_correlation import Correlation, Ranked, kendall, spearman
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import RESAMPLES, Doubles, Floats, Indices, Statistic, replicate_weights

End = Literal["top", "bottom"]


@dataclass(frozen=True)
class AttributeRanking(EvaluationProtocol):
    """Ranks all pictures I by g(I) . t and compares the ranking with a measured attribute.

    The rankings, each of both directions ("... is brighter than ..." from the brightest on, "... is darker
    than ..." from the darkest on), and over all wordings of the question:

    - `sentence`: t is the sentence's embedding;
    - `direction`: t is the sentence's embedding less that of the sentence about the swapped pair, which is
      what it says without how it says it;
    - `text_difference` (training-free): t = f(positive phrase) - f(negative phrase);
    - `absolute`: t is the embedding of the one phrase.

    Scores: `spearman` (rho), `kendall` (tau-b), and `precision_at_K`: the share, among the K pictures that
    are ranked first, of those in the attribute's upper quartile (in its lower one, for the other direction);
    a random ranking scores the share that lies there, 1/4 but for ties (`notes`). A ranking whose scores are
    all equal correlates 0; equal scores are taken in a fair order.

    Metrics, S being the set's name: `ranking/S-ATTRIBUTE/RANKING_SCORE` with the wordings seen in training,
    `ranking/S-ATTRIBUTE-unseen/RANKING_SCORE` with the held-out ones (for the rankings that read a wording),
    and `ranking/S-mean[-unseen]/RANKING_SCORE` over attributes. Only numbers can be ranked by: questions
    about categories are left out.

    Intervals are from a bootstrap over pictures; that of correlations is linear in the pictures' influences,
    on the scale of Fisher's z. A precision of 0 or 1 gets an interval of K trials.

    Attributes:
        precision_at: K; those above the number of pictures are left out.
        resamples: Bootstrap replicates.
        seed: Of the bootstrap.
    """

    name: ClassVar[str] = "ranking"

    precision_at: tuple[int, ...] = (10, 100)
    resamples: int = RESAMPLES
    seed: int = 0

    def run(self, subject: Subject) -> Results:
        """Ranks by every degree question.

        Raises:
            PcclipError: The set has no such question, or too few pictures with different values.
        """
        data = subject.data
        questions = [question for question in data.questions if question.kind == "degree"]
        if not questions:
            raise PcclipError(
                f"{data.path}: has no question about a degree, so attribute ranking does not apply to it. "
                "Write one, or leave this evaluation out."
            )
        subject.encoders.texts([text for question in questions for text in _texts(question)])
        weights = np.concatenate(list(replicate_weights(len(data), self.resamples, self.seed)), axis=1)
        means: dict[str, list[Statistic]] = {}
        statistics: dict[str, Statistic] = {}
        shares: dict[str, dict[str, float]] = {}
        for question in questions:
            attribute = _Attribute.of(data, question)
            shares[question.attribute] = {end: float(attribute.relevant[end].mean()) for end in _ENDS}
            rankings = list(_rankings(question, subject.encoders, subject.features[attribute.pictures]))
            for (ranked_by, score), parts in self._scores(rankings, attribute, weights).items():
                ranked_by, _, unseen = ranked_by.partition("-")
                suffix = f"{'-unseen' if unseen else ''}/{ranked_by}_{score}"
                statistic = _mean(parts)
                statistics[f"ranking/{data.name}-{question.attribute}{suffix}"] = statistic
                means.setdefault(f"ranking/{data.name}-mean{suffix}", []).append(statistic)
        statistics |= {name: _mean(of) for name, of in means.items()}
        for name, one in statistics.items():
            if "_precision_at_" in name:
                statistics[name] = _widened(one, int(name.rpartition("_")[2]), self.seed)
        notes = {"ranking": {"share of relevant pictures": shares}}
        return Results(data.evaluated, len(data), {}, {}, statistics=statistics, notes=notes)

    def _scores(
        self, rankings: Sequence[_Ranking], attribute: _Attribute, weights: Floats
    ) -> dict[tuple[str, str], list[Statistic]]:
        """The parts of every score: one per wording and direction."""
        drawn, n = weights[attribute.pictures], len(attribute.pictures)
        ks = [k for k in self.precision_at if k <= n]
        names: list[tuple[str, str]] = []
        correlations: list[Correlation] = []
        parts: dict[tuple[str, str], list[Statistic]] = {}
        for ranking in rankings:
            ranked = Ranked.of(ranking.scores)
            names += [(ranking.by, "spearman"), (ranking.by, "kendall")]
            correlations += [spearman(attribute.ranked, ranked), kendall(attribute.ranked, ranked)]
            for end in ranking.ends:
                found = _precision(ranked, attribute.relevant[end], end, ks, drawn)
                for k, precision in zip(ks, found, strict=True):
                    parts.setdefault((ranking.by, f"precision_at_{k}"), []).append(precision)
        influences = np.stack([one.influence for one in correlations]).astype(np.float32)
        shifts = (influences @ drawn).astype(np.float64) / drawn.sum(axis=0)
        for name, one, shift in zip(names, correlations, shifts, strict=True):
            parts.setdefault(name, []).append(Statistic(one.value, one.replicates(shift), n))
        return parts


_ENDS: tuple[End, ...] = ("top", "bottom")


@dataclass(frozen=True)
class _Attribute:
    """What the pictures are to be ranked by.

    Attributes:
        pictures: (n,) those that have it.
        ranked: Their values by rank.
        relevant: (n,) per end, 1 for a picture in the quartile there.
    """

    pictures: Indices
    ranked: Ranked
    relevant: dict[End, Doubles]

    @classmethod
    def of(cls, data: EvaluationSet, question: Question) -> _Attribute:
        values, _ = data.values(question)
        pictures = np.flatnonzero(np.isfinite(values))
        values = values[pictures]
        if len(np.unique(values)) < 2:
            raise PcclipError(
                f"{data.path}: the pictures of split {data.split!r} cannot be ranked by "
                f"{question.attribute!r}: {len(values)} of {len(data)} have it, none a value of its own. "
                "Drop the question."
            )
        top, bottom = values >= np.quantile(values, 0.75), values <= np.quantile(values, 0.25)
        relevant: dict[End, Doubles] = {"top": top.astype(float), "bottom": bottom.astype(float)}
        return cls(pictures, Ranked.of(values), relevant)


@dataclass(frozen=True)
class _Ranking:
    """A ranking of n pictures.

    Attributes:
        by: What ranks them; `-unseen` where that is a held-out wording.
        scores: (n,) that should rise with the attribute.
        ends: From where the ranking is read.
    """

    by: str
    scores: npt.NDArray[np.floating]
    ends: tuple[End, ...]


def _texts(question: Question) -> list[str]:
    sides = (("positive", "negative"), ("negative", "positive"))
    sentences = [question.statement(wording, *side) for wording in question.wordings for side in sides]
    return [*sentences, question.phrases["positive"], question.phrases["negative"]]


def _rankings(question: Question, encoders: CachedEncoders, features: Floats) -> Iterator[_Ranking]:
    rows = encoders.texts(_texts(question))
    # The difference first: texts with one and the same embedding then rank nothing.
    vectors = (rows[::2], rows[1::2], rows[::2] - rows[1::2])
    forward, reverse, along = (features @ one.T for one in vectors)
    for column in range(len(rows) // 2):
        alone, both = "absolute", "text_difference"
        if column < len(question.wordings):
            suffix = "-unseen" if question.wordings[column].held_out else ""
            alone, both = f"sentence{suffix}", f"direction{suffix}"
        yield _Ranking(alone, forward[:, column], ("top",))
        yield _Ranking(alone, -reverse[:, column], ("bottom",))
        yield _Ranking(both, along[:, column], _ENDS)


def _precision(
    ranked: Ranked, relevant: Doubles, end: End, ks: Sequence[int], drawn: Floats
) -> Iterator[Statistic]:
    """Share of relevant pictures among the first k of a ranking, for each k.

    Args:
        ranked: The scores.
        relevant: (n,) 0 or 1.
        end: From which end of the ranking the pictures are read.
        ks: Each at most n.
        drawn: (n, R) how often each replicate draws each picture.
    """
    order = ranked.order[::-1] if end == "top" else ranked.order
    shares = ranked.mean_among_equals(relevant)[order]
    for k in ks:
        head = min(len(order), 2 * k + 30)  # draws of so many pictures are hardly ever fewer than k
        first = np.minimum(np.cumsum(drawn[order[:head]], axis=0), k)
        steps = (shares[:head] - np.append(shares[1:head], 0)).astype(np.float32)
        replicates = (steps @ first / first[-1]).astype(np.float64)
        yield Statistic(float(shares[:k].mean()), replicates, len(order))


def _mean(parts: Sequence[Statistic]) -> Statistic:
    value = float(np.mean([one.value for one in parts]))
    return Statistic(value, np.mean([one.replicates for one in parts], axis=0), min(one.n for one in parts))


def _widened(precision: Statistic, k: int, seed: int) -> Statistic:
    """Gives a precision of 0 or 1 an interval of at least k trials' width: k of k may be luck.

    Half a relevant and half an irrelevant picture (Jeffreys' prior) are drawn beside the k.
    """
    if precision.value not in (0.0, 1.0):
        return precision
    relevant, irrelevant = np.random.default_rng([seed, 1]).poisson(0.5, (2, len(precision.replicates)))
    replicates = (k * precision.replicates + relevant) / (k + relevant + irrelevant)
    return Statistic(precision.value, replicates, precision.n)
