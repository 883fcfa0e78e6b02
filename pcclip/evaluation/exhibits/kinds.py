"""The exhibits of a set, as `RUN/exhibits/exhibits.json` keeps them.

Everywhere `base` is the model before its finetuning and `tuned` the one after it, on the same pictures.
Pictures are named by their keys; `SetExhibits.pictures` tells the thumbnail of each.
"""

from __future__ import annotations

from dataclasses import dataclass, field

STAGES = ("base", "tuned")


@dataclass(frozen=True)
class Confusion:
    """Which class is taken for which.

    Attributes:
        metric: Beginning of the metrics' names that it belongs to: `zero_shot/S`.
        classes: C names.
        base: (C, C) numbers of pictures: row the true class, column the closest one; ties count in parts.
        tuned: The same.
    """

    metric: str
    classes: list[str]
    base: list[list[float]]
    tuned: list[list[float]]


@dataclass(frozen=True)
class Placed:
    """A picture's place in a ranking.

    Attributes:
        key: Of the picture.
        rank: 1 is the first.
        score: g(I) . t.
        value: Of the attribute, measured; None where the picture lacks it.
    """

    key: str
    rank: int
    score: float
    value: float | str | None


@dataclass(frozen=True)
class Ends:
    """Three stretches of a ranking, and how well all of it agrees with the measured attribute.

    Attributes:
        top: The first pictures.
        middle: Those in the middle.
        bottom: The last ones; the very last is the last.
        spearman: Rank correlation with the attribute; None for a category.
    """

    top: list[Placed]
    middle: list[Placed]
    bottom: list[Placed]
    spearman: float | None


@dataclass(frozen=True)
class RankedByText:
    """Pictures ranked by a difference text.

    Attributes:
        attribute: That the text speaks of.
        text: How the first picture differs from the last.
        base: By the base model.
        tuned: By the tuned model.
    """

    attribute: str
    text: str
    base: Ends
    tuned: Ends


@dataclass(frozen=True)
class Answer:
    """A picture whose class one model gets right and the other wrong.

    Attributes:
        key: Of the picture.
        truth: Its class.
        base: Class closest to it by the base model.
        tuned: The same by the tuned model.
        margin: Cosine to the true class less that to the closest other one, by the tuned model.
    """

    key: str
    truth: str
    base: str
    tuned: str
    margin: float


@dataclass(frozen=True)
class PairAnswer:
    """An ordered pair of pictures about which one model is right and the other wrong.

    Attributes:
        attribute: In which they differ.
        first: Key of the first picture.
        second: Key of the second picture.
        text: Sentence that is true of the pair.
        base: cos(text, d) less cos(swapped text, d) by the base model: right if positive.
        tuned: The same by the tuned model.
    """

    attribute: str
    first: str
    second: str
    text: str
    base: float
    tuned: float


@dataclass(frozen=True)
class Answers:
    """Answers that changed, the clearest of each kind first.

    Attributes:
        asked: Number of all answers.
        lost: How many were right before and are wrong now.
        won: How many were wrong before and are right now.
        lost_examples: Of them.
        won_examples: Of them.
    """

    asked: int
    lost: int
    won: int
    lost_examples: list[Answer] | list[PairAnswer] = field(default_factory=list)
    won_examples: list[Answer] | list[PairAnswer] = field(default_factory=list)


@dataclass(frozen=True)
class SetExhibits:
    """Everything of one set.

    Attributes:
        name: Of the set.
        split: Whose pictures they are.
        pictures: Thumbnail, relative to the folder of the exhibits, by key.
        confusions: One per zero-shot classification with plain prompts.
        rankings: One per question: in a wording of training.
        classes: Answers of zero-shot classification; None without one.
        pairs: Answers about pairs of pictures, by attribute.
    """

    name: str
    split: str
    pictures: dict[str, str]
    confusions: list[Confusion]
    rankings: list[RankedByText]
    classes: Answers | None
    pairs: dict[str, Answers]
