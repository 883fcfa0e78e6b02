"""Embeddings for a projector: classes, difference sentences, and differences of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcclip.evaluation.encoding.encoders import unit
from pcclip.evaluation.exhibits.kinds import STAGES
from pcclip.evaluation.exhibits.making import PAIRS, Both
from pcclip.evaluation.protocols.contrasts import Contrast
from pcclip.evaluation.protocols.pair_draws import chance, sample_pairs
from pcclip.evaluation.protocols.zero_shot import class_embeddings
from pcclip.evaluation.statistics import Floats, Indices
from pcclip.untrusted import load_arrays

_SHOWN = 30
"""Differences of single pairs per attribute."""

FIELDS = ("model", "kind", "attribute", "text")
"""Of each label: which model embedded it (`base`, `tuned`, `pictures`), `class`, `sentence`, `pair` or
`mean of pairs`, the attribute that it is about (`classes` for none), and what it says."""


@dataclass(frozen=True)
class Vectors:
    """Unit vectors and what they are.

    Attributes:
        rows: (R, D) float32.
        labels: R tuples of `FIELDS`.
    """

    rows: Floats
    labels: list[tuple[str, str, str, str]]

    def save(self, path: Path) -> None:
        """One `.npz` without pickles."""
        np.savez_compressed(path, rows=self.rows, labels=np.array(self.labels, str).reshape(-1, len(FIELDS)))

    @classmethod
    def load(cls, path: Path) -> Vectors:
        """Reads what `save` wrote.

        Raises:
            OSError: There is no such file.
            ValueError: It is damaged, or holds pickles.
        """
        stored = load_arrays(path)
        columns = stored["labels"].astype(str).T.tolist() if len(stored["labels"]) else [[]] * len(FIELDS)
        return cls(stored["rows"], list(zip(*columns, strict=True)))


def vectors_of(both: Both) -> Vectors:
    """The embeddings of a set's classes and sentences by both models, and differences of its pictures.

    Differences of pictures are those of the tuned model, whose image tower is the base model's wherever that
    was frozen. Of a degree they run from less to more, of a category from the second of two values to the
    first.

    Args:
        both: The models on a split.
    """
    data, rows, labels = both.data, [], []
    contrasts = [Contrast.of(data, question) for question in data.questions]
    contrasts = [one for one in contrasts if len(one.kinds)]
    for stage, subject in zip(STAGES, both.subjects(), strict=True):
        if data.classes and data.prompts:
            rows.append(class_embeddings(subject.encoders, data.classes, data.prompts))
            labels += [(stage, "class", "classes", name) for name in data.classes]
        for one in contrasts:
            texts = dict.fromkeys(
                text
                for wording in one.question.wordings
                for forward in (True, False)
                for text in one.statements(wording, forward)[:1]
            )
            rows.append(subject.encoders.texts(list(texts)))
            labels += [(stage, "sentence", one.question.attribute, text) for text in texts]
    for one in contrasts:
        directions = _directions(one, both.tuned.features)
        if not len(directions):
            continue
        rows.append(np.concatenate([unit(directions.mean(axis=0, keepdims=True)), directions[:_SHOWN]]))
        about = one.question.attribute
        sign = "more" if one.question.kind == "degree" else f"{one.names[one.kinds[0, 0]]}"
        labels.append(("pictures", "mean of pairs", about, f"{about}: {sign}"))
        labels += [("pictures", "pair", about, f"{about}: {sign}")] * (len(rows[-1]) - 1)
    if not rows:
        return Vectors(np.empty((0, 1), np.float32), [])
    return Vectors(np.concatenate(rows).astype(np.float32), labels)


def _directions(contrast: Contrast, features: Floats) -> Floats:
    """(n, D) unit differences of drawn pairs of the first kind, the greater value first."""
    question = contrast.question
    first, second = sample_pairs(contrast.values, question.margin, PAIRS, chance(0, question.attribute))
    kind = contrast.kind_of(first, second)
    last = len(contrast.kinds) - 1
    chosen = np.flatnonzero((kind == 0) | (kind == last))
    swap = kind[chosen] == last
    ahead: Indices = np.where(swap, second[chosen], first[chosen])
    behind: Indices = np.where(swap, first[chosen], second[chosen])
    return unit(features[contrast.pictures[ahead]] - features[contrast.pictures[behind]])
