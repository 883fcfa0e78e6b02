"""The ways of saying a change as a direction in the embedding space, trained ones and training-free ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import CachedEncoders, unit
from pcclip.evaluation.protocol import Subject
from pcclip.evaluation.protocols.change_cases import ChangeCases, Others
from pcclip.evaluation.protocols.difference_tasks import phrase_differences
from pcclip.evaluation.protocols.found_tables import UNSEEN
from pcclip.evaluation.protocols.pair_draws import chance, sample_pairs
from pcclip.evaluation.questions import Question
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Floats

_PAIRS = 5000  # of train pictures, for the direction of a degree


def text_directions(
    cases: ChangeCases, encoders: CachedEncoders
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """What is added to a picture by each method (Q, D), and what is searched for without the picture (Q, D).

    The text says how the first of two pictures differs from the second, and the changed picture is the first.
    """
    found = {"text_difference": phrase_differences(cases.claims, encoders)[cases.claim]}
    alone = {}
    for held_out, texts in cases.texts.items():
        if texts:
            changed, back = (encoders.texts(side) for side in zip(*texts, strict=True))
            suffix = UNSEEN * held_out
            found[f"sentence{suffix}"] = changed
            found[f"direction{suffix}"] = unit(changed - back)
            alone[f"sentence_alone{suffix}"] = changed
    return found, alone


def caption_rows(
    data: EvaluationSet, cases: ChangeCases, others: Others, template: str, encoders: CachedEncoders
) -> tuple[Floats, Floats]:
    """(Q, D) embeddings of captions of the changed pictures, and of the pictures themselves.

    Both say what the picture shows of every category; of a degree that changes, a phrase is put behind.

    Args:
        data: The set.
        cases: Of one question.
        others: The attributes of the set.
        template: With the categories' attributes in braces; "" for their plain phrases in a row.
        encoders: The model's.

    Raises:
        PcclipError: The template names something else.
    """
    asked = [question for question in data.questions if question.kind == "category"]
    texts: list[tuple[str, str]] = []
    for picture, claim in zip(cases.first, cases.claim, strict=True):
        names = {
            q.attribute: others.names[q.attribute][int(others.values[q.attribute][picture])] for q in asked
        }
        both = []
        for side, phrase in zip(cases.claims[claim].names, cases.claims[claim].phrases(), strict=True):
            if cases.question.kind == "category":
                both.append(_caption(data, asked, names | {cases.question.attribute: side}, template))
            else:
                both.append(", ".join(filter(None, (_caption(data, asked, names, template), phrase))))
        texts.append((both[0], both[1]))
    changed, own = zip(*texts, strict=True)
    return encoders.texts(changed), encoders.texts(own)


def _caption(data: EvaluationSet, asked: list[Question], names: Mapping[str, str], template: str) -> str:
    if not template:
        return ", ".join(question.phrases[names[question.attribute]] for question in asked)
    try:
        return template.format(**names)
    except (KeyError, IndexError, ValueError) as error:
        raise PcclipError(
            f"change_retrieval: 'caption' is {template!r}, which cannot be filled in ({error!r}). In braces "
            f"it may have the categories of {data.path}: {', '.join(names) or 'none'}."
        ) from error


def image_directions(cases: ChangeCases, there: Subject, seed: int) -> Floats:
    """(Q, D) the mean difference of train pictures between which the attribute differs as it is to change.

    Of a category, the mean of the pictures with the one value less that of those with the other; of a degree,
    the mean over pairs that differ by more than the margin. A value that no picture has gives no direction.

    Args:
        cases: Of one question.
        there: The model on the train split.
        seed: Of the draw of pairs.
    """
    question, data, features = cases.question, there.data, there.features
    values, names = data.values(question)
    rows: dict[tuple[str, str], Floats] = {}
    if names:
        means = {name: features[values == number].sum(axis=0) for number, name in enumerate(names)}
        counts = {name: max(1, np.count_nonzero(values == number)) for number, name in enumerate(names)}
        rows = {
            claim.names: means[claim.names[0]] / counts[claim.names[0]]
            - means[claim.names[1]] / counts[claim.names[1]]
            for claim in cases.claims
        }
    else:
        known = np.array(sorted(np.flatnonzero(np.isfinite(values)), key=data.keys.__getitem__), np.int64)
        pairs = sample_pairs(values[known], question.margin, _PAIRS, chance(seed, question.attribute))
        one, other = known[pairs[0]], known[pairs[1]]
        sign = np.where(values[one] > values[other], 1, -1).astype(np.float32)
        up = sign @ (features[one] - features[other])
        rows = {("positive", "negative"): up, ("negative", "positive"): -up}
    return unit(np.stack([rows[claim.names] for claim in cases.claims]).astype(np.float32))[cases.claim]
