"""Geometry of the embeddings themselves: how narrow their cone is, and how far finetuning moved them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar

import numpy as np
from scipy.stats import entropy

from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject
from pcclip.evaluation.protocols.clustered import clustered_means, stretched, without_interval
from pcclip.evaluation.protocols.zero_shot import class_embeddings
from pcclip.evaluation.questions import Question
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Doubles, Floats, Indices, Statistic, replicate_weights


@dataclass(frozen=True)
class EmbeddingGeometry(EvaluationProtocol):
    """Anisotropy, modality gap, effective rank, and drift from the model before its finetuning.

    Of three kinds of embeddings: `pictures`; `prompts` of the classes, where there are any (a class's being
    the mean of its prompts); and `differences`, the sentences of the questions in the seen wordings, where
    there are any. Metrics, S being the set's name and K the kind:

    - `geometry/S/anisotropy/K`: mean cosine of two different ones (Ethayarajh 2019); 0 where they point
      everywhere alike;
    - `geometry/S/effective_rank/K`: exp of the entropy of the centred spectrum (Roy and Vetterli 2007),
      between 1 and their number, or their width; without an interval, since drawing one twice lowers it;
    - `geometry/S/modality_gap/prompts`: distance of the centroids of pictures and class prompts (Liang et al.
      2022), 0 to 2;
    - `geometry/S/drift/K`: mean cosine of each embedding with the same one before the finetuning; exactly 1
      where nothing moved, as for pictures with a frozen image tower, and for a model that was not finetuned.

    Intervals resample pictures, classes and questions; there is none for fewer than three.

    Attributes:
        sentences: Difference sentences taken of each question, by a fair draw.
        seed: Of the draw, which depends on the sentences and not on their order.
    """

    name: ClassVar[str] = "geometry"

    sentences: int = 20
    seed: int = 0

    def run(self, subject: Subject) -> Results:
        """Measures all kinds of embeddings that the set has.

        Raises:
            PcclipError: An embedding is not finite.
        """
        data, base = subject.data, subject.base()
        found: dict[str, Statistic] = {}
        prompts = None
        if data.classes and data.prompts:
            prompts, before = (
                class_embeddings(s.encoders, sorted(data.classes), data.prompts) for s in (subject, base)
            )
            found |= _of_texts("prompts", prompts, before, np.arange(len(prompts)))
        texts, question = self._sentences(data)
        if texts:
            rows, before = (s.encoders.texts(texts) for s in (subject, base))
            found |= _of_texts("differences", rows, before, question)
        found |= _of_pictures(subject.features, base.features, prompts)
        statistics = {f"{self.name}/{data.name}/{score}": one for score, one in sorted(found.items())}
        return Results(data.evaluated, len(data), {}, {}, statistics=statistics)

    def _sentences(self, data: EvaluationSet) -> tuple[list[str], Indices]:
        """Distinct sentences, and the question of each."""
        texts: list[str] = []
        question: list[int] = []
        for number, asked in enumerate(sorted(data.questions, key=lambda one: one.attribute)):
            every = sorted(_statements(asked) - set(texts), key=self._rank)
            texts += every[: self.sentences]
            question += [number] * len(every[: self.sentences])
        return texts, np.array(question, np.int64)

    def _rank(self, text: str) -> bytes:
        return hashlib.sha256(f"{self.seed} {text}".encode()).digest()


def _statements(question: Question) -> set[str]:
    """All sentences of a question in its seen wordings, both ways round."""
    values = ("positive", "negative") if question.kind == "degree" else tuple(question.phrases)
    return {
        question.statement(wording, first, second)
        for wording in question.wordings
        if not wording.held_out
        for first, second in permutations(values, 2)
    }


def _of_texts(kind: str, rows: Floats, before: Floats, thing: Indices) -> dict[str, Statistic]:
    """Scores of texts that belong to things (classes, questions), which are resampled."""
    statistics = clustered_means({f"drift/{kind}": _cosines(rows, before)}, thing)
    if len(rows) > 1:
        statistics[f"anisotropy/{kind}"] = _anisotropy(rows, thing)
        statistics[f"effective_rank/{kind}"] = without_interval(_effective_rank(rows), len(rows))
    return statistics


def _anisotropy(rows: Floats, thing: Indices) -> Statistic:
    counts = np.bincount(thing)
    sums_TD = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums_TD, thing, rows)
    # Sums of the cosines of different texts, and their numbers, by pair of things.
    cosines = sums_TD @ sums_TD.T - np.diag(counts)
    numbers = (np.outer(counts, counts) - np.diag(counts)).astype(np.float64)
    value = float(cosines.sum() / numbers.sum())
    drawn = []
    for weights_TR in replicate_weights(len(counts)):
        above, below = _over_pairs(cosines, weights_TR), _over_pairs(numbers, weights_TR)
        drawn.append(np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0))
    replicates = stretched(value, np.concatenate(drawn), len(counts))
    return Statistic(value, np.clip(replicates, -1, 1), len(rows))


def _over_pairs(by_pair_TT: Doubles, weights_TR: Floats) -> Doubles:
    """(R,) sums; a pair weighs the product of its things' weights, a pair within a thing that thing's."""
    within = np.diag(by_pair_TT)
    between = by_pair_TT - np.diag(within)
    return (weights_TR * (between @ weights_TR)).sum(axis=0) + within @ weights_TR


def _of_pictures(rows: Floats, before: Floats, prompts: Floats | None) -> dict[str, Statistic]:
    cosines = _cosines(rows, before).astype(np.float32)

    def scores(weights_NR: Floats) -> Doubles:
        """(2 or 3, R)."""
        total = weights_NR.sum(axis=0, dtype=np.float64)
        sums_RD = weights_NR.T @ rows
        # What is lost by the move, so that no move is exactly 1 whatever the weights.
        found = [_mean_cosine(weights_NR, sums_RD), 1 - ((1 - cosines) @ weights_NR) / total]
        if prompts is not None:
            apart = sums_RD / total[:, None] - prompts.mean(axis=0, dtype=np.float64)
            found.append(np.linalg.norm(apart, axis=1))
        return np.stack(found)

    names = ("anisotropy/pictures", "drift/pictures", "modality_gap/prompts")
    values = scores(np.ones((len(rows), 1), np.float32))[:, 0]
    replicates = np.concatenate([scores(weights) for weights in replicate_weights(len(rows))], axis=1)
    found = {
        name: Statistic(float(value), drawn, len(rows))
        for name, value, drawn in zip(names, values, replicates, strict=False)  # no gap without prompts
    }
    return found | {"effective_rank/pictures": without_interval(_effective_rank(rows), len(rows))}


def _cosines(rows: Floats, before: Floats) -> Doubles:
    """(N,) cosines of unit rows, exactly 1 of equal ones, which their product is not."""
    return 1 - np.square(rows - before).sum(axis=1, dtype=np.float64) / 2


def _mean_cosine(weights_NR: Floats, sums_RD: Floats) -> Doubles:
    """(R,) mean cosine of two different ones of N unit rows, of which `sums_RD` are the weighted sums."""
    total = weights_NR.sum(axis=0, dtype=np.float64)
    alone = np.square(weights_NR).sum(axis=0, dtype=np.float64)
    pairs = total**2 - alone
    products = np.square(sums_RD.astype(np.float64)).sum(axis=1) - alone
    return np.divide(products, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def _effective_rank(rows: Floats) -> float:
    """Exp of the entropy of the shares of the centred rows' singular values; 1 of rows that are all equal."""
    centred = rows - rows.mean(axis=0, dtype=np.float64)
    spectrum = np.sqrt(np.clip(np.linalg.eigvalsh(centred.T @ centred), 0, None))
    spectrum = spectrum[spectrum > 1e-6 * np.sqrt(len(rows))]  # less is the rounding of float32
    return float(np.exp(entropy(spectrum))) if len(spectrum) else 1.0
