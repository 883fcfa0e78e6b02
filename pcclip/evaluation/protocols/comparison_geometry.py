"""Geometry of texts that compare classes: do they point along the differences of the classes?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import CachedEncoders, unit
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject
from pcclip.evaluation.protocols.clustered import clustered_means
from pcclip.evaluation.protocols.comparison_texts import (
    Pair,
    Wording,
    from_file,
    from_question,
    from_template,
)
from pcclip.evaluation.protocols.zero_shot import class_embeddings
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Doubles, Floats, Indices, Statistic

_ROWS = 4096  # texts compared with all differences at once


@dataclass(frozen=True)
class ComparisonGeometry(EvaluationProtocol):
    """Compares f("how a differs from b") with class differences, over ordered pairs (a, b) of classes.

    The texts come from `texts`, from `templates`, or, with neither, from the wordings of the set's category
    question whose values are the classes (held-out wordings then as `S-unseen`). Metrics, S being the set's
    name, t_a the class's prompt embedding and m_a the mean of its pictures:

    - `geometry/S/comparison/text_cosine`: cos(f(a, b), t_a - t_b), the paper's figure (arXiv 2409.09721
      gives the distance 1 - cosine: 1.04 before, 0.92 after on CIFAR100). The distance of the reverse
      difference is always 2 minus that one, so it is no result and is not reported;
    - `.../text_accuracy`: how often t_a - t_b is, of the differences of all pairs, the one that f(a, b) is
      nearest to; chance is 1 / pairs, and a tie scores that of a fair draw. This is the control of wrong
      pairs. Their mean cosine would be none: since each pair comes both ways round, it is 0 for texts of
      any pair and about half of `text_cosine` for those that share a class, whatever the model;
    - `.../image_cosine`, `.../image_accuracy`: the same two against m_a - m_b;
    - `.../prompt_image_cosine`, `.../prompt_image_accuracy`: of t_a - t_b against m_a - m_b, what needs no
      text that compares;
    - `.../reverse_cosine`: cos(f(a, b), f(b, a)), -1 for a direction, and beside it `.../other_cosine`, the
      same of any two pairs in one wording.

    Intervals resample the classes.

    Attributes:
        texts: `texts.json` of pair texts, or its folder; its classes are joined by name.
        templates: Wordings with `{a}` and `{b}`, as `{a} rather than {b}`.
        pairs: Unordered pairs taken, by a fair draw; null for all.
        seed: Of the draw, which depends on the names of the classes and not on their order.
    """

    name: ClassVar[str] = "geometry"

    texts: str | None = None
    templates: tuple[str, ...] = ()
    pairs: int | None = 1000
    seed: int = 0

    def run(self, subject: Subject) -> Results:
        """Compares all pairs.

        Raises:
            PcclipError: The set has no classes or prompts, or there are no texts that compare its classes.
        """
        data = subject.data
        if len(data.classes) < 2 or not data.prompts:
            raise PcclipError(
                f"{data.path}: has no two classes with a prompt, so the geometry of comparisons does not "
                "apply to it. Leave this evaluation out."
            )
        wordings = self._wordings(data)
        classes = sorted(data.classes)
        pairs = self._taken(next(iter(wordings.values()))[0], classes)
        numbers = {name: number for number, name in enumerate(classes)}
        first, second = np.array([[numbers[a], numbers[b]] for a, b in pairs], np.int64).T
        prompts_CD = class_embeddings(subject.encoders, classes, data.prompts)
        means_CD = _class_means(subject, classes)
        text_PD, image_PD = unit(prompts_CD[first] - prompts_CD[second]), means_CD[first] - means_CD[second]
        image_PD = np.where(np.isfinite(image_PD), unit(image_PD), np.nan)
        directions = {"text": text_PD, "image": image_PD}
        statistics: dict[str, Statistic] = {}
        for suffix, kinds in wordings.items():
            chosen = [[wording(pair) for pair in pairs] for wording in kinds]
            # All at once: full batches.
            subject.encoders.texts([text for texts in chosen for of_pair in texts for text in of_pair])
            columns = _compare(subject.encoders, chosen, pairs, directions)
            found = clustered_means(columns, first, second)
            prefix = f"{self.name}/{data.name}{suffix}/comparison"
            statistics |= {f"{prefix}/{score}": one for score, one in found.items()}
        cosine, right = _along(text_PD, image_PD, np.arange(len(pairs)))
        prompts = {"prompt_image_cosine": cosine, "prompt_image_accuracy": right}
        for score, one in clustered_means(prompts, first, second).items():
            statistics[f"{self.name}/{data.name}/comparison/{score}"] = one
        notes = {
            f"{self.name}/{data.name}/comparison": {
                "ordered pairs of classes": len(classes) * (len(classes) - 1),
                "of them compared": len(pairs),
            }
        }
        return Results(data.evaluated, len(data), {}, {}, statistics=statistics, notes=notes)

    def _taken(self, texts: Wording, classes: Sequence[str]) -> list[Pair]:
        """Ordered pairs that have a text, of the unordered pairs drawn."""
        pairs = [(a, b) for a, b in combinations(classes, 2) if texts((a, b)) or texts((b, a))]
        if self.pairs is not None and self.pairs < len(pairs):
            rng = np.random.default_rng(self.seed)
            pairs = [pairs[index] for index in np.sort(rng.choice(len(pairs), self.pairs, replace=False))]
        return [pair for a, b in pairs for pair in ((a, b), (b, a)) if texts(pair)]

    def _wordings(self, data: EvaluationSet) -> dict[str, list[Wording]]:
        """Wordings by the suffix of the set's name."""
        if self.texts is not None and self.templates:
            raise PcclipError("geometry: both 'texts' and 'templates' are given. Keep one.")
        if self.texts is not None:
            return {"": [from_file(self.texts, data)]}
        if self.templates:
            return {"": [from_template(text) for text in self.templates]}
        found = from_question(data)
        return {"-unseen" if held_out else "": of_kind for held_out, of_kind in found.items() if of_kind}


def _class_means(subject: Subject, classes: Sequence[str]) -> Floats:
    """(C, D) mean of each class's pictures; NaN where it has none."""
    labels = subject.data.labels
    means = np.full((len(classes), subject.features.shape[1]), np.nan, np.float32)
    for row, name in enumerate(classes):
        of_class = labels == subject.data.classes.index(name)
        if of_class.any():
            means[row] = subject.features[of_class].mean(axis=0, dtype=np.float64)
    return means


def _compare(
    encoders: CachedEncoders,
    kinds: Sequence[Sequence[Sequence[str]]],
    pairs: Sequence[Pair],
    directions: Mapping[str, Floats],
) -> dict[str, Doubles]:
    """Scores of each pair (P,), means over the wordings.

    Args:
        encoders: The model.
        kinds: By wording the texts of each pair.
        pairs: P ordered pairs.
        directions: (P, D) unit differences by name; NaN where there is none.
    """
    sums: dict[str, Doubles] = {}
    for texts in kinds:
        rows = encoders.texts([text for of_pair in texts for text in of_pair])
        counts = np.array([len(of_pair) for of_pair in texts])
        pair = np.repeat(np.arange(len(pairs)), counts)
        columns: dict[str, Doubles] = {}
        for name, directions_PD in directions.items():
            cosine, right = _along(rows, directions_PD, pair)
            columns[f"{name}_cosine"] = np.bincount(pair, cosine) / counts
            columns[f"{name}_accuracy"] = np.bincount(pair, right) / counts
        # Of the mean of a pair's texts, whose products are mean cosines.
        means_PD = np.add.reduceat(rows.astype(np.float64), np.cumsum(counts) - counts) / counts[:, None]
        columns |= {"reverse_cosine": _reverse(means_PD, pairs), "other_cosine": _other(means_PD)}
        for score, column in columns.items():
            sums[score] = sums.get(score, np.zeros(len(pairs))) + column / len(kinds)
    return sums


def _along(rows: Floats, directions_PD: Floats, pair: Indices) -> tuple[Doubles, Doubles]:
    """Cosine of each row with its pair's direction, and its score for that being the nearest."""
    cosines, right = np.empty(len(rows)), np.empty(len(rows))
    for start in range(0, len(rows), _ROWS):
        block = slice(start, start + _ROWS)
        similarity = rows[block] @ directions_PD.T
        own = np.take_along_axis(similarity, pair[block, None], axis=1)
        nearer, tied = (similarity > own).any(axis=1), (similarity == own).sum(axis=1)
        cosines[block] = own[:, 0]
        right[block] = np.where(nearer, 0.0, 1 / np.maximum(tied, 1))  # NaN has no tie, not with itself
    right[np.isnan(cosines)] = np.nan
    return cosines, right


def _reverse(texts_PD: Doubles, pairs: Sequence[Pair]) -> Doubles:
    numbers = {pair: number for number, pair in enumerate(pairs)}
    reverse = np.array([numbers.get((b, a), -1) for a, b in pairs])
    return np.where(reverse >= 0, _dot(texts_PD, texts_PD[reverse]), np.nan)


def _other(texts_PD: Doubles) -> Doubles:
    if len(texts_PD) < 2:
        return np.full(len(texts_PD), np.nan)
    return _dot(texts_PD, (texts_PD.sum(axis=0) - texts_PD) / (len(texts_PD) - 1))


def _dot(left_PD: Doubles, right_PD: Doubles) -> Doubles:
    return np.einsum("pd,pd->p", left_PD, right_PD)
