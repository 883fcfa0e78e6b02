"""One question about a set's pictures: its texts as vectors, and the pairs that these score right."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pcclip.evaluation.encoding.encoders import CachedEncoders, unit
from pcclip.evaluation.protocols.all_pairs import ordered_wins, pseudo_values
from pcclip.evaluation.questions import Question, Wording
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Doubles, Floats, Indices, Observations

_ROWS = 4096  # embeddings held in double precision at once


@dataclass(frozen=True)
class Contrast:
    """A question about the pictures that have its attribute.

    A kind is a pair of values (of the first picture, of the second): of all its pairs the same sentences are
    true. A sentence with embedding t is right about (a, b) if cos(t, g(a) - g(b)) > 0, and so if
    t . g(a) > t . g(b): one number per picture and text settles all its pairs.

    Attributes:
        question: What is asked.
        names: Names of the values.
        pictures: (n,) indices of the pictures that have the attribute, in the order of their keys.
        values: (n,) of them.
        kinds: (K, 2) indices into `names`; kind K-1-k is kind k turned round.
    """

    question: Question
    names: Sequence[str]
    pictures: Indices
    values: Doubles
    kinds: Indices

    @classmethod
    def of(cls, data: EvaluationSet, question: Question) -> Contrast:
        """The contrast of a question on a set.

        Raises:
            PcclipError: As `EvaluationSet.values`.
        """
        values, names = data.values(question)
        # By key, so that nothing depends on how pictures are spread over shards.
        order = np.array(sorted(range(len(values)), key=data.keys.__getitem__))
        order = order[np.isfinite(values[order])]
        if names:  # by name, so that it does not matter in which order a question lists its values
            values = np.searchsorted(sorted(names), names)[values[order].astype(np.int64)].astype(np.float64)
            names = tuple(sorted(names))
        else:
            values = values[order]
        present = np.unique(values).astype(np.int64) if names else np.arange(2)
        up = list(itertools.combinations(present.tolist(), 2))
        kinds = np.array(up + [(b, a) for a, b in reversed(up)], np.int64).reshape(-1, 2)
        return cls(question, names or ("positive", "negative"), order, values, kinds)

    def statements(self, wording: Wording, forward: bool) -> list[str]:
        """The sentence about each kind (K), or about the pair turned round."""
        sides = self.kinds if forward else self.kinds[:, ::-1]
        return [self.question.statement(wording, self.names[a], self.names[b]) for a, b in sides]

    def phrases(self, side: int) -> list[str]:
        """The plain phrase of each kind's first (0) or second (1) picture (K)."""
        return [self.question.phrases[self.names[value]] for value in self.kinds[:, side]]

    def texts(self) -> list[str]:
        """Everything that is to be encoded."""
        wordings = itertools.product(self.question.wordings, (True, False))
        sentences = [text for wording, forward in wordings for text in self.statements(wording, forward)]
        return sentences + self.phrases(0) + self.phrases(1)

    def asks(self, encoders: CachedEncoders) -> list[tuple[tuple[str, ...], Floats]]:
        """Scores by name, and for each the vector (K, D) along which the first picture is to lie higher.

        A name may come several times, once per wording: the score is then the mean.
        """
        phrase1, phrase2 = encoders.texts(self.phrases(0)), encoders.texts(self.phrases(1))
        absolute = phrase1
        if self.question.kind == "degree":  # the greater picture is to fit the one phrase better
            positive = encoders.texts([self.question.phrases["positive"]])
            absolute = np.where(self.kinds[:, :1] == 0, positive, -positive)
        asks: list[tuple[tuple[str, ...], Floats]] = [
            (("text_difference",), phrase1 - phrase2),
            (("absolute",), absolute),
        ]
        for wording in self.question.wordings:
            forward = encoders.texts(self.statements(wording, True))
            reverse = encoders.texts(self.statements(wording, False))
            suffix = "-unseen" if wording.held_out else ""
            # The difference first: sentences with one and the same embedding then tie exactly.
            asks.append(((f"wording-{wording.id}", f"two_alternative{suffix}"), forward - reverse))
            asks.append(((f"sign{suffix}",), forward))
        return asks

    def score_pairs(
        self,
        asks: Sequence[tuple[tuple[str, ...], Floats]],
        features: Floats,
        first: Indices,
        second: Indices,
    ) -> Observations:
        """Scores of some pairs, one by one.

        Args:
            asks: Of `asks`.
            features: (N, D) embeddings of all pictures of the set.
            first: (P,) places in `pictures`.
            second: (P,) places in `pictures`.
        """
        kind = self.kind_of(first, second)
        direction = unit(features[self.pictures[first]] - features[self.pictures[second]])

        def correct(vectors_KD: Floats) -> Floats:
            along = np.einsum("pd,pd->p", direction, vectors_KD[kind])
            return np.where(along == 0, 0.5, along > 0).astype(np.float32)

        scores = _means((names, correct(vectors)) for names, vectors in asks)
        return Observations(self.pictures[first], self.pictures[second], scores)

    def score_all(self, asks: Sequence[tuple[tuple[str, ...], Floats]], features: Floats) -> Observations:
        """Scores of all pairs, each in both orders, as a pseudo-value per picture (`pseudo_values`).

        Args:
            asks: Of `asks`.
            features: (N, D) embeddings of all pictures of the set.
        """
        vectors = np.stack([vectors for _, vectors in asks])
        right = np.zeros((len(asks), len(self.pictures)))
        pairs = np.zeros(len(self.pictures), np.int64)
        for kind in range(len(self.kinds) // 2):
            forward, back = vectors[:, kind], -vectors[:, len(self.kinds) - 1 - kind]
            # Where the pair turned round has the opposite vector, it is right in the same cases.
            other = np.flatnonzero((forward != back).any(axis=1))
            members, values = np.arange(len(self.pictures)), self.values
            if self.question.kind == "category":
                members = np.flatnonzero(np.isin(self.values, self.kinds[kind]))
                values = (self.values[members] == self.kinds[kind, 0]).astype(np.float64)
            along = _along(features[self.pictures[members]], np.concatenate([forward, back[other]]))
            wins, of = ordered_wins(along, values, self.question.margin)
            both = 2 * wins[: len(asks)]
            both[other] += wins[len(asks) :] - wins[other]
            right[:, members] += both
            pairs[members] += 2 * of
        per_picture = pseudo_values(right, pairs)
        scores = _means((names, row) for (names, _), row in zip(asks, per_picture, strict=True))
        return Observations(self.pictures, None, scores)

    def kind_of(self, first: Indices, second: Indices) -> Indices:
        """(P,) kinds of pairs, given by places in `pictures`."""
        if self.question.kind == "degree":
            return np.where(self.values[first] > self.values[second], 0, 1)
        table = np.zeros((len(self.names),) * 2, np.int64)
        table[self.kinds[:, 0], self.kinds[:, 1]] = np.arange(len(self.kinds))
        values = self.values.astype(np.int64)
        return table[values[first], values[second]]


def _along(rows_nD: Floats, vectors_VD: Floats) -> Doubles:
    """(V, n) inner products in double precision."""
    out = np.empty((len(vectors_VD), len(rows_nD)))
    wide = vectors_VD.astype(np.float64)
    for start in range(0, len(rows_nD), _ROWS):
        out[:, start : start + _ROWS] = wide @ rows_nD[start : start + _ROWS].astype(np.float64).T
    return out


def _means(named: Iterable[tuple[tuple[str, ...], Doubles | Floats]]) -> dict[str, Floats]:
    """The mean (n,) of the rows of each name."""
    sums: dict[str, Doubles] = {}
    counts: dict[str, int] = {}
    for names, row in named:
        for name in names:
            sums[name] = sums[name] + row if name in sums else row.astype(np.float64)
            counts[name] = counts.get(name, 0) + 1
    return {name: (total / counts[name]).astype(np.float32) for name, total in sums.items()}
