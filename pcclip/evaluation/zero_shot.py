"""Zero-shot classification: which class's prompts lie closest to a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pcclip.data.class_texts import read_class_texts
from pcclip.errors import PcclipError
from pcclip.evaluation.classification import confusion_matrix, confusion_notes, top_scores
from pcclip.evaluation.encoders import CachedEncoders, unit
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject
from pcclip.evaluation.sets import COMBINATION, HELD_OUT, EvaluationSet
from pcclip.evaluation.statistics import Floats, Observations, Parts

_TEXTS = 4096  # embeddings of texts averaged at once


@dataclass(frozen=True)
class ZeroShot(EvaluationProtocol):
    """Zero-shot classification by prompts, alone or in ensembles, plain or extended by descriptions.

    Metrics, S being the set's name and, after a hyphen, the label: `zero_shot/S/top1`, `/mean_per_class`, and
    `/top5` where there are more than five classes; `zero_shot/S-unseen/...` with the held-out prompts; and
    `zero_shot/S-unseen-combinations/top1` on the pictures whose attributes training never saw together. Notes
    (`zero_shot/S`): the worst classes and the pairs that are confused most.

    A picture that is equally close to several classes scores the chance of a fair draw among them, so that
    no order of the classes is favoured.

    Attributes:
        ensemble: Average all prompts of the set; false takes the first one only.
        descriptions: A `texts.json` of class texts (`pcclip write` makes them): every prompt is then
            followed by a description of its class, and several descriptions of a class are averaged. A class
            without one is an error: some classes described and others not would not be compared fairly.
        label: Tells variants on one set apart. Null names them by what they do: nothing for the default,
            else `one-prompt`, `described` or `one-prompt-described`.
    """

    name: ClassVar[str] = "zero_shot"

    ensemble: bool = True
    descriptions: str | None = None
    label: str | None = None

    def run(self, subject: Subject) -> Results:
        """Classifies every picture of the set.

        Raises:
            PcclipError: The set has no classes or prompts, or a class lacks a description.
        """
        evaluation_set = subject.data
        check_classes(evaluation_set)
        described = self._described(evaluation_set)
        scores: dict[str, Floats] = {}
        notes: dict[str, Any] = {}
        kinds = {"": evaluation_set.prompts, "-unseen": evaluation_set.held_out_prompts}
        for kind, prompts in kinds.items():
            if not prompts:
                continue
            prompts = prompts if self.ensemble else prompts[:1]
            weights_CD = class_embeddings(subject.encoders, evaluation_set.classes, prompts, described)
            top1, top5 = top_scores(subject.features, weights_CD, evaluation_set.labels, (1, 5))
            scores[f"top1{kind}"] = top1
            if len(evaluation_set.classes) > 5:
                scores[f"top5{kind}"] = top5
            if not kind:
                counts = confusion_matrix(subject.features, weights_CD, evaluation_set.labels)
                notes = confusion_notes(counts, evaluation_set.classes)
        return _results(evaluation_set, self._variant(), scores, notes)

    def _variant(self) -> str:
        if self.label is not None:
            return f"-{self.label}" if self.label else ""
        return "-one-prompt" * (not self.ensemble) + "-described" * (self.descriptions is not None)

    def _described(self, evaluation_set: EvaluationSet) -> Mapping[str, Sequence[str]] | None:
        if self.descriptions is None:
            return None
        descriptions = read_class_texts(self.descriptions)
        without = [name for name in evaluation_set.classes if not descriptions.get(name)]
        if without:
            raise PcclipError(
                f"{self.descriptions}: has no text about {len(without)} of the {len(evaluation_set.classes)} "
                f"classes of {evaluation_set.path}: {', '.join(map(repr, without[:5]))}"
                f"{' ...' if len(without) > 5 else ''}. Write them, by these names."
            )
        return descriptions


def check_classes(evaluation_set: EvaluationSet) -> None:
    """Refuses a set whose pictures cannot be classified.

    Raises:
        PcclipError: It has no classes, or no prompts.
    """
    for what, found in (("classes", evaluation_set.classes), ("prompts", evaluation_set.prompts)):
        if not found:
            raise PcclipError(
                f"{evaluation_set.path}: has no '{what}', so zero-shot classification does not apply to it. "
                "List them, or leave this evaluation out."
            )


def class_embeddings(
    encoders: CachedEncoders,
    classes: Sequence[str],
    prompts: Sequence[str],
    descriptions: Mapping[str, Sequence[str]] | None = None,
) -> Floats:
    """One unit row per class: the mean, made a unit again, of the unit embeddings of its texts.

    Args:
        encoders: The model.
        classes: C names.
        prompts: Templates with one `{}`.
        descriptions: At least one sentence per class; each follows each prompt. Prompts alone if None.

    Returns:
        (C, D) float32.
    """
    texts = [_class_texts(name, prompts, descriptions) for name in classes]
    step = max(1, _TEXTS // max(map(len, texts)))  # a thousand classes in 80 prompts: not all rows at once
    means: list[Floats] = []
    for start in range(0, len(texts), step):
        of_classes = texts[start : start + step]
        rows = encoders.texts([text for of_class in of_classes for text in of_class])
        ends = np.cumsum([len(of_class) for of_class in of_classes])[:-1]
        means += [of_class.mean(axis=0) for of_class in np.split(rows, ends)]
    return unit(np.stack(means))


def _class_texts(
    name: str, prompts: Sequence[str], descriptions: Mapping[str, Sequence[str]] | None
) -> list[str]:
    filled = [prompt.format(name) for prompt in prompts]
    if descriptions is None:
        return filled
    return [f"{prompt}. {description}" for prompt in filled for description in descriptions[name]]


def _results(
    evaluation_set: EvaluationSet, variant: str, scores: dict[str, Floats], notes: dict[str, Any]
) -> Results:
    labels = evaluation_set.labels
    everything = np.arange(len(labels), dtype=np.int64)
    whole, of_class = f"pictures{variant}", f"class{variant} "
    groups = {whole: Observations(everything, None, scores)}
    for index in np.unique(labels):
        own = everything[labels == index]
        groups[f"{of_class}{evaluation_set.classes[index]}"] = Observations(
            own, None, {name: column[own] for name, column in scores.items() if "top1" in name}
        )
    metrics: dict[str, Parts] = {}
    prefix = f"zero_shot/{evaluation_set.name}{variant}"
    for kind in ("", "-unseen"):
        if f"top1{kind}" not in scores:
            continue
        metrics[f"{prefix}{kind}/top1"] = ((whole, f"top1{kind}"),)
        if f"top5{kind}" in scores:
            metrics[f"{prefix}{kind}/top5"] = ((whole, f"top5{kind}"),)
        metrics[f"{prefix}{kind}/mean_per_class"] = tuple(
            (group, f"top1{kind}") for group in groups if group.startswith(of_class)
        )
    marked = [attributes.get(COMBINATION) == HELD_OUT for attributes in evaluation_set.attributes]
    held_out = everything[np.flatnonzero(marked)]  # sets without attributes have none marked
    if len(held_out):
        combinations = f"held-out combinations{variant}"
        groups[combinations] = Observations(held_out, None, {"top1": scores["top1"][held_out]})
        metrics[f"{prefix}-unseen-combinations/top1"] = ((combinations, "top1"),)
    return Results(evaluation_set.evaluated, len(labels), groups, metrics, notes={prefix: notes})
