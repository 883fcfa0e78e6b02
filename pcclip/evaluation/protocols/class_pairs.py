"""Pairs of classes that are easily taken for one another, and texts on how they differ."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pcclip.data.class_texts import read_pair_texts
from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import CachedEncoders, unit
from pcclip.evaluation.protocol import Subject
from pcclip.evaluation.protocols.classification import confusion_matrix, confusion_shares
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Doubles, Floats, Indices


@dataclass(frozen=True)
class ClassPairs:
    """Unordered pairs of classes, each in both directions.

    Attributes:
        reference: (K,) the class that a text is about; K is twice the number of pairs.
        updated: (K,) the class that it is compared with.
        strength: (K,) what the pair was chosen by; NaN for a pair drawn at random.
    """

    reference: Indices
    updated: Indices
    strength: Doubles

    @classmethod
    def of(cls, pairs: Sequence[tuple[int, int]], strength: Sequence[float]) -> ClassPairs:
        """Both directions of P pairs.

        Args:
            pairs: P pairs of classes.
            strength: P values.
        """
        both = np.array([side for a, b in pairs for side in ((a, b), (b, a))], np.int64)
        return cls(both[:, 0], both[:, 1], np.repeat(np.asarray(strength, np.float64), 2))

    @property
    def classes(self) -> Indices:
        """The classes that are in a pair, in ascending order."""
        return np.unique(self.updated)

    def notes(self, classes: Sequence[str]) -> list[list[str | float]]:
        """The pairs by name with their strength, as JSON takes them."""
        found: list[list[str | float]] = []
        for a, b, strength in list(zip(self.reference, self.updated, self.strength, strict=True))[::2]:
            names: list[str | float] = [*sorted((classes[a], classes[b]))]
            found.append(names if np.isnan(strength) else [*names, round(float(strength), 4)])
        return found


def similar_pairs(
    weights_CD: Floats, classes: Sequence[str], count: int, among: Sequence[str] | None = None
) -> ClassPairs:
    """The pairs whose class embeddings have the greatest cosine.

    Args:
        weights_CD: (C, D) unit rows.
        classes: C names; equal pairs come in their order.
        count: Pairs wanted; all, where there are fewer.
        among: Classes to choose of; all if None.

    Raises:
        PcclipError: `among` names an unknown class, or fewer than two.
    """
    return _strongest((weights_CD @ weights_CD.T).astype(np.float64), classes, count, among)


def confused_pairs(
    subject: Subject, weights_CD: Floats, count: int, among: Sequence[str] | None = None
) -> ClassPairs:
    """The pairs that a model takes for one another most often on a split.

    Args:
        subject: The model and the split.
        weights_CD: (C, D) its class embeddings.
        count: Pairs wanted; all, where there are fewer.
        among: Classes to choose of; all if None.

    Returns:
        The pairs; their strength is the mean of the two shares of a class's pictures taken for the other.

    Raises:
        PcclipError: As `similar_pairs`.
    """
    shares = confusion_shares(confusion_matrix(subject.features, weights_CD, subject.data.labels))
    return _strongest((shares + shares.T) / 2, subject.data.classes, count, among)


def _strongest(
    strength_CC: Doubles, classes: Sequence[str], count: int, among: Sequence[str] | None
) -> ClassPairs:
    if among is not None and (odd := set(among) - set(classes) or len(set(among)) < 2):
        raise PcclipError(
            f"pairs cannot be chosen among {', '.join(map(repr, among))}: "
            f"{'fewer than two classes' if odd is True else 'not all are classes of the set'}. "
            f"Its classes: {', '.join(map(repr, classes[:10]))}{' ...' if len(classes) > 10 else ''}"
        )
    allowed = np.array([among is None or name in among for name in classes])
    a, b = np.nonzero(np.triu(allowed[:, None] & allowed, 1))
    strength = strength_CC[a, b]
    if len(strength) > count:  # whatever ties with the last one stays, for names to decide
        last = np.partition(strength, -count)[-count]
        kept = strength >= last - 1e-6
        a, b, strength = a[kept], b[kept], strength[kept]
    # Rounded, so that the order of the classes cannot turn the last bits of a tie.
    ranked = sorted(
        zip(a.tolist(), b.tolist(), strength.tolist(), strict=True),
        key=lambda pair: (-round(pair[2], 6), sorted((classes[pair[0]], classes[pair[1]]))),
    )[:count]
    return ClassPairs.of([(a, b) for a, b, _ in ranked], [strength for *_, strength in ranked])


class PairTexts:
    """Texts on how a class differs from another: from a file, or by templates.

    Args:
        evaluation_set: Whose classes.
        file: A `texts.json` of pair texts; None makes texts by templates.
        templates: With `{a}` and `{b}`; None takes the wordings that training has seen of the question whose
            values are the classes.

    Raises:
        PcclipError: The file cannot be read, a template cannot be filled in, or nothing says how to word
            texts.
    """

    def __init__(
        self, evaluation_set: EvaluationSet, file: str | None, templates: Sequence[str] | None
    ) -> None:
        self._classes = evaluation_set.classes
        self._read: Mapping[tuple[str, str], tuple[str, ...]] | None = None
        self._templates: Sequence[str] = ()
        if file is not None:
            self.source, self._read = file, read_pair_texts(file)
        elif templates is not None:
            self.source, self._templates = "templates", templates
            _check_templates(templates)
        else:
            self._templates, self.source = _question_templates(evaluation_set)

    def of(self, a: int, b: int) -> tuple[str, ...]:
        """The texts on how class a differs from class b.

        Raises:
            PcclipError: The file has none.
        """
        names = self._classes[a], self._classes[b]
        if self._read is None:
            return tuple(template.format(a=names[0], b=names[1]) for template in self._templates)
        if not (texts := self._read.get(names)):
            raise PcclipError(
                f"{self.source}: has no text on how {names[0]!r} differs from {names[1]!r}. Write one, or "
                "ask for fewer pairs."
            )
        return texts

    def known(self, a: int, b: int) -> bool:
        """Whether there are texts on two classes in both directions."""
        names = self._classes[a], self._classes[b]
        return self._read is None or bool(self._read.get(names) and self._read.get(names[::-1]))

    def embeddings(self, encoders: CachedEncoders, pairs: ClassPairs) -> Floats:
        """(K, D) unit rows: the mean, made a unit again, of the embeddings of each row's texts.

        Raises:
            PcclipError: As `of`.
        """
        texts = [self.of(a, b) for a, b in zip(pairs.reference, pairs.updated, strict=True)]
        rows = encoders.texts([text for of_pair in texts for text in of_pair])
        ends = np.cumsum([len(of_pair) for of_pair in texts])[:-1]
        return unit(np.stack([of_pair.mean(axis=0) for of_pair in np.split(rows, ends)]))

    def random_pairs(self, count: int, seed: int) -> ClassPairs:
        """Pairs drawn at random from those that there are texts on.

        Args:
            count: Pairs wanted; all, where there are fewer.
            seed: Of the draw, which depends on the names of the classes and not on their order.
        """
        by_name = sorted(range(len(self._classes)), key=self._classes.__getitem__)
        a, b = np.triu_indices(len(by_name), 1)
        drawn: list[tuple[int, int]] = []
        for number in np.random.default_rng(seed).permutation(len(a)):
            pair = by_name[a[number]], by_name[b[number]]
            if self.known(*pair):
                drawn.append(pair)
            if len(drawn) == count:
                break
        return ClassPairs.of(drawn, [float("nan")] * len(drawn))


def _check_templates(templates: Sequence[str]) -> None:
    if not templates:
        raise PcclipError("templates: there is none; name one or more like '{a} rather than {b}'")
    for template in templates:
        try:
            used = {
                f"{name}{how or ''}{change or ''}"  # no widths and conversions
                for _, name, how, change in string.Formatter().parse(template)
                if name is not None
            }
        except ValueError:
            used = set()
        if used != {"a", "b"}:
            raise PcclipError(f"templates: {template!r} should have {{a}} and {{b}}, for two classes")


def _question_templates(evaluation_set: EvaluationSet) -> tuple[list[str], str]:
    for question in evaluation_set.questions:
        if question.kind == "category" and set(evaluation_set.classes) <= question.phrases.keys():
            seen = [wording.text for wording in question.wordings if not wording.held_out]
            if seen:
                templates = [text.format(first="{a}", second="{b}") for text in seen]
                return templates, f"wordings of the question about {question.attribute!r}"
    raise PcclipError(
        f"{evaluation_set.path}: no question's values are the classes, so there are no wordings to compare "
        "classes by. Give 'texts', a file of pair texts, or 'templates' like '{a} rather than {b}'."
    )
