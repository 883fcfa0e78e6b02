"""Zero-shot classification: which class's prompts lie closest to a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.encoders import CachedEncoders, unit
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject
from pcclip.evaluation.sets import COMBINATION, HELD_OUT, EvaluationSet
from pcclip.evaluation.statistics import Floats, Indices, Observations, Parts

_ROWS = 8192  # pictures compared with all classes at once


@dataclass(frozen=True)
class ZeroShot(EvaluationProtocol):
    """Zero-shot classification with prompt ensembles.

    Metrics, S being the set's name: `zero_shot/S/top1`, `/mean_per_class`, and `/top5` where there are more
    than five classes; `zero_shot/S-unseen/...` with the held-out prompts; and
    `zero_shot/S-unseen-combinations/top1` on the pictures whose attributes training never saw together.

    A picture that is equally close to several classes scores the chance of a fair draw among them, so that
    no order of the classes is favoured.
    """

    name: ClassVar[str] = "zero_shot"

    def run(self, subject: Subject) -> Results:
        """Classifies every picture of the set.

        Raises:
            PcclipError: The set has no classes.
        """
        evaluation_set = subject.data
        if not evaluation_set.classes:
            raise PcclipError(
                f"{evaluation_set.path}: has no 'classes', so zero-shot classification does not apply to it. "
                "List them, or leave this evaluation out."
            )
        scores: dict[str, Floats] = {}
        kinds = {"": evaluation_set.prompts, "-unseen": evaluation_set.held_out_prompts}
        for kind, prompts in kinds.items():
            if prompts:
                weights_CD = class_embeddings(subject.encoders, evaluation_set.classes, prompts)
                top1, top5 = _top(subject.features, weights_CD, evaluation_set.labels)
                scores[f"top1{kind}"] = top1
                if len(evaluation_set.classes) > 5:
                    scores[f"top5{kind}"] = top5
        return _results(evaluation_set, scores)


def class_embeddings(encoders: CachedEncoders, classes: Sequence[str], prompts: Sequence[str]) -> Floats:
    """One unit row per class: the mean, made a unit again, of the unit embeddings of its prompts.

    Args:
        encoders: The model.
        classes: C names.
        prompts: Templates with one `{}`.

    Returns:
        (C, D) float32.
    """
    texts = [prompt.format(name) for name in classes for prompt in prompts]
    rows = encoders.texts(texts)
    return unit(rows.reshape(len(classes), len(prompts), -1).mean(axis=1))


def _top(features: Floats, weights_CD: Floats, labels: Indices) -> tuple[Floats, Floats]:
    """Score of each picture for its class being the closest, and among the five closest."""
    top1, top5 = np.empty(len(labels), np.float32), np.empty(len(labels), np.float32)
    for start in range(0, len(labels), _ROWS):
        rows = slice(start, start + _ROWS)
        similarity = features[rows] @ weights_CD.T
        own = np.take_along_axis(similarity, labels[rows, None], axis=1)
        closer = (similarity > own).sum(axis=1)
        tied = (similarity == own).sum(axis=1)  # itself included
        top1[rows] = np.clip((1 - closer) / tied, 0, 1)
        top5[rows] = np.clip((5 - closer) / tied, 0, 1)
    return top1, top5


def _results(evaluation_set: EvaluationSet, scores: dict[str, Floats]) -> Results:
    labels = evaluation_set.labels
    everything = np.arange(len(labels), dtype=np.int64)
    groups = {"pictures": Observations(everything, None, scores)}
    for index in np.unique(labels):
        of_class = everything[labels == index]
        groups[f"class {evaluation_set.classes[index]}"] = Observations(
            of_class, None, {name: column[of_class] for name, column in scores.items() if "top1" in name}
        )
    metrics: dict[str, Parts] = {}
    for kind in ("", "-unseen"):
        if f"top1{kind}" not in scores:
            continue
        prefix = f"zero_shot/{evaluation_set.name}{kind}"
        metrics[f"{prefix}/top1"] = (("pictures", f"top1{kind}"),)
        if f"top5{kind}" in scores:
            metrics[f"{prefix}/top5"] = (("pictures", f"top5{kind}"),)
        metrics[f"{prefix}/mean_per_class"] = tuple(
            (group, f"top1{kind}") for group in groups if group.startswith("class ")
        )
    marked = [attributes.get(COMBINATION) == HELD_OUT for attributes in evaluation_set.attributes]
    held_out = everything[np.flatnonzero(marked)]  # sets without attributes have none marked
    if len(held_out):
        groups["held-out combinations"] = Observations(held_out, None, {"top1": scores["top1"][held_out]})
        metrics[f"zero_shot/{evaluation_set.name}-unseen-combinations/top1"] = (
            ("held-out combinations", "top1"),
        )
    return Results(evaluation_set.evaluated, len(labels), groups, metrics)
