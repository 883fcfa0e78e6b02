"""Exhibits from two models on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pcclip.evaluation.encoding.encoders import unit
from pcclip.evaluation.exhibits.kinds import (
    STAGES,
    Answer,
    Answers,
    Confusion,
    Ends,
    PairAnswer,
    Placed,
    RankedByText,
)
from pcclip.evaluation.protocol import Subject
from pcclip.evaluation.protocols.classification import confusion_matrix
from pcclip.evaluation.protocols.contrasts import Contrast
from pcclip.evaluation.protocols.pair_draws import chance, sample_pairs
from pcclip.evaluation.protocols.rank_correlation import Ranked, spearman
from pcclip.evaluation.protocols.zero_shot import class_embeddings
from pcclip.evaluation.questions import Question, Wording
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Doubles, Floats, Indices

STRETCH = 6
"""Pictures of each stretch of a ranking."""

EXAMPLES = 6
"""Of each kind of changed answer."""

PAIRS = 2000
"""Drawn per attribute, the same ones as `DifferenceClassification` draws with its defaults."""


@dataclass(frozen=True)
class Both:
    """The base and the tuned model on one split.

    Attributes:
        base: Before the finetuning.
        tuned: After it.
    """

    base: Subject
    tuned: Subject

    @property
    def data(self) -> EvaluationSet:
        """The split."""
        return self.tuned.data

    def subjects(self) -> tuple[Subject, Subject]:
        """In the order of `STAGES`."""
        return self.base, self.tuned


def classes_exhibits(both: Both) -> tuple[Confusion, Answers]:
    """Confusion matrices and changed answers of zero-shot classification by all seen prompts."""
    data = both.data
    rows = np.arange(len(data))
    matrices: list[list[list[float]]] = []
    closest: list[Indices] = []
    margins: list[Floats] = []
    for one in both.subjects():
        weights = class_embeddings(one.encoders, data.classes, data.prompts)
        matrices.append(confusion_matrix(one.features, weights, data.labels).tolist())
        similarity = one.features @ weights.T
        closest.append(similarity.argmax(axis=1))
        own = similarity[rows, data.labels].copy()
        similarity[rows, data.labels] = -np.inf
        margins.append(own - similarity.max(axis=1))
    right = [margin > 0 for margin in margins]

    def examples(changed: Indices) -> list[Answer]:
        clearest = changed[np.argsort(-np.abs(margins[1][changed]), kind="stable")][:EXAMPLES]
        return [
            Answer(
                data.keys[i],
                data.classes[data.labels[i]],
                data.classes[closest[0][i]],
                data.classes[closest[1][i]],
                float(margins[1][i]),
            )
            for i in clearest
        ]

    lost, won = np.flatnonzero(right[0] & ~right[1]), np.flatnonzero(~right[0] & right[1])
    answers = Answers(len(data), len(lost), len(won), examples(lost), examples(won))
    return Confusion(f"zero_shot/{data.name}", list(data.classes), *matrices), answers


def question_exhibits(both: Both, question: Question) -> tuple[RankedByText, Answers] | None:
    """Pictures ranked by a sentence of the question, and pairs about which the models disagree.

    Args:
        both: The models.
        question: Of their set.

    Returns:
        None where the question has no wording of training, or no two pictures differ in its attribute.
    """
    wording = next((one for one in question.wordings if not one.held_out), None)
    contrast = Contrast.of(both.data, question)
    if wording is None or not len(contrast.kinds):
        return None
    first, second = sample_pairs(contrast.values, question.margin, PAIRS, chance(0, question.attribute))
    if not len(first):
        return None
    return ranked_by_text(both, contrast, wording), _pairs(both, contrast, wording, first, second)


def ranked_by_text(both: Both, contrast: Contrast, wording: Wording) -> RankedByText:
    """Pictures ranked by a sentence: that the first picture has more of the attribute, or another value.

    Args:
        both: The models.
        contrast: A question about their set.
        wording: One of the question's.
    """
    text = contrast.statements(wording, True)[0]
    ends = [
        _ends(contrast, both.data, one.features[contrast.pictures] @ one.encoders.texts([text])[0])
        for one in both.subjects()
    ]
    return RankedByText(contrast.question.attribute, text, *ends)


def _ends(contrast: Contrast, data: EvaluationSet, scores: Floats) -> Ends:
    order = np.argsort(-scores, kind="stable")
    n = len(order)
    length = min(STRETCH, n // 3)

    def stretch(start: int) -> list[Placed]:
        return [
            Placed(
                data.keys[contrast.pictures[order[place]]],
                place + 1,
                float(scores[order[place]]),
                _value(contrast, order[place]),
            )
            for place in range(start, start + length)
        ]

    degree = contrast.question.kind == "degree"
    rho = spearman(Ranked.of(contrast.values), Ranked.of(scores)).value if degree else None
    return Ends(stretch(0), stretch((n - length) // 2), stretch(n - length), rho)


def _value(contrast: Contrast, place: int) -> float | str:
    value = float(contrast.values[place])
    return value if contrast.question.kind == "degree" else contrast.names[int(value)]


def _pairs(both: Both, contrast: Contrast, wording: Wording, first: Indices, second: Indices) -> Answers:
    kind = contrast.kind_of(first, second)
    texts = contrast.statements(wording, True)
    swapped = contrast.statements(wording, False)
    pictures = contrast.pictures
    margins: list[Doubles] = []
    for one in both.subjects():
        vectors = one.encoders.texts(texts) - one.encoders.texts(swapped)
        directions = unit(one.features[pictures[first]] - one.features[pictures[second]])
        margins.append(np.einsum("pd,pd->p", directions, vectors[kind]).astype(np.float64))
    right = [margin > 0 for margin in margins]

    def examples(changed: Indices) -> list[PairAnswer]:
        clearest = changed[np.argsort(-np.abs(margins[1][changed]), kind="stable")][:EXAMPLES]
        return [
            PairAnswer(
                contrast.question.attribute,
                both.data.keys[pictures[first[i]]],
                both.data.keys[pictures[second[i]]],
                texts[kind[i]],
                float(margins[0][i]),
                float(margins[1][i]),
            )
            for i in clearest
        ]

    lost, won = np.flatnonzero(right[0] & ~right[1]), np.flatnonzero(~right[0] & right[1])
    return Answers(len(first), len(lost), len(won), examples(lost), examples(won))


def shown_keys(
    rankings: Sequence[RankedByText], classes: Answers | None, pairs: Sequence[Answers]
) -> list[str]:
    """Keys of the pictures that these exhibits show, each once."""
    keys: dict[str, None] = {}
    for ranking in rankings:
        for ends in (getattr(ranking, stage) for stage in STAGES):
            keys |= dict.fromkeys(one.key for one in ends.top + ends.middle + ends.bottom)
    for answers in (*([classes] if classes else []), *pairs):
        for one in (*answers.lost_examples, *answers.won_examples):
            keys |= dict.fromkeys([one.key] if isinstance(one, Answer) else [one.first, one.second])
    return list(keys)
