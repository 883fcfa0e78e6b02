"""The texts of an evaluation: for every attribute, wordings that training uses and wordings it never sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pcclip.generation.clauses import Named, fill_category, fill_degree
from pcclip.generation.held_out import CATEGORY_TEST, CATEGORY_VALIDATION, DEGREE_TEST, DEGREE_VALIDATION
from pcclip.generation.vocabulary import Attribute, Category, Degree, References
from pcclip.generation.wordings import CATEGORY_TRAINING, DEGREE_TRAINING, Frame

# Frames of training that stand for all of them, each with its subject: picture 1 or 2 of the pair.
_SEEN_DEGREE = (
    ("is-than", 1),
    ("is-than", 2),
    ("compared-to-looks", 2),
    ("of-the-two-is-one", 1),
    ("is-while-is", 2),
    ("shows-than", 1),
    ("has-than", 2),
    ("there-in-than", 1),
    ("is-the-one-with", 2),
    ("bare-predicate", 1),
)
_SEEN_CATEGORY = (
    ("shows-while-shows", 1),
    ("shows-while-shows", 2),
    ("has-and-not", 1),
    ("instead-of-shows", 2),
    ("in-comma-in", 2),
    ("contains-rather-than", 1),
    ("where-has-has", 2),
    ("bare-instead-of", 1),
)
_NAMES = (
    References("picture one", "picture two"),
    References("the first picture", "the second picture", ("the first", "the second")),
    References("image 1", "image 2"),
    References("the first image", "the second image"),
    References("picture 1", "picture 2"),
)


def questions(attributes: Sequence[Attribute]) -> list[dict[str, Any]]:
    """One question per attribute, as `evaluation.json` holds them.

    Texts have slots, `{more}` and `{less}` for an attribute of degree, `{first}` and `{second}` for one of
    kind. Filled with the comparative that holds for image1 as `more` (or image1's value as `first`) they say
    how image1 differs from image2. Held-out wordings come with either picture as the subject; `split` says on
    which pictures they are asked, so that what is chosen on validation data never saw a wording of the test.
    """
    return [_category(a) if isinstance(a, Category) else _degree(a) for a in attributes]


def _degree(attribute: Degree) -> dict[str, Any]:
    term = attribute.terms[0]

    def text(frame: Frame, subject: int, names: References) -> str:
        words = ("{more}", "{less}") if subject == 1 else ("{less}", "{more}")
        named = Named.of(names, subject, short=True)
        return fill_degree(frame, attribute, term, words, named, term.shown[0], attribute.subjects[0])

    wordings = _wordings(DEGREE_TRAINING, _SEEN_DEGREE, None, text)
    wordings += _wordings(DEGREE_VALIDATION, _both(DEGREE_VALIDATION), "validation", text)
    wordings += _wordings(DEGREE_TEST, _both(DEGREE_TEST), "test", text)
    return {
        "attribute": attribute.name,
        "kind": "degree",
        "more": term.more,
        "less": term.less,
        "positive": attribute.positive,
        "negative": attribute.negative,
        "margin": attribute.margin,
        "wordings": wordings,
    }


def _category(attribute: Category) -> dict[str, Any]:
    def text(frame: Frame, subject: int, names: References) -> str:
        values = ("{first}", "{second}") if subject == 1 else ("{second}", "{first}")
        return fill_category(frame, values, Named.of(names, subject, short=True), attribute.shown[0])

    wordings = _wordings(CATEGORY_TRAINING, _SEEN_CATEGORY, None, text)
    wordings += _wordings(CATEGORY_VALIDATION, _both(CATEGORY_VALIDATION), "validation", text)
    wordings += _wordings(CATEGORY_TEST, _both(CATEGORY_TEST), "test", text)
    return {
        "attribute": attribute.name,
        "kind": "category",
        "values": {value: attribute.caption.format(w=value) for value in attribute.values},
        "wordings": wordings,
    }


def _both(frames: Sequence[Frame]) -> list[tuple[str, int]]:
    return [(frame.name, subject) for frame in frames for subject in (1, 2)]


def _wordings(
    frames: Sequence[Frame], chosen: Sequence[tuple[str, int]], split: str | None, text: Any
) -> list[dict[str, Any]]:
    by_name = {frame.name: frame for frame in frames}
    held_out = split is not None
    return [
        {
            "id": f"{name}-{subject}",
            "held_out": held_out,
            "split": split,
            # Both subjects of a held-out frame share their names for the pictures, and frames take turns.
            "text": text(by_name[name], subject, _NAMES[(at // 2 if held_out else at) % len(_NAMES)]),
        }
        for at, (name, subject) in enumerate(chosen)
    ]
