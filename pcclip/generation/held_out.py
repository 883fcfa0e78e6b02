"""The frames that no training text has: some asked on validation pictures, others on test pictures only.

They are made of words that training frames use elsewhere: they test how a sentence is put together, not
unknown words. Wordings of training and settings may be chosen by the validation frames; the test frames are
for reporting. Slots are explained in `wordings`.
"""

from __future__ import annotations

from pcclip.generation.wordings import Frame, frames

DEGREE_VALIDATION: tuple[Frame, ...] = (
    *frames(
        "predicate",
        {
            "looks-than": "{X} {looks} {P} than {Y}",
            "relative-to-is": "relative to {F}, {X} {is} {P}",
            "is-one-of-the-two": "{X} {be} {ONE} of the two",
            "while-is-is": "while {F} {is_y} {Q}, {X} {is} {P}",
            "it-is-that-is": "it is {X} that {is} {P}",
            "in-contrast-to-appears": "in contrast to {F}, {X} {appears} {P}",
            "one-that-looks-is": "{one} that {looks} {P} {be} {X}",
        },
    ),
    *frames(
        "shown",
        {
            "holds-than": "{x} holds {H} than {y}",
            "in-there-than": "in {x} {there} {H} than in {y}",
            "with-differs": "with {H}, {x} differs from {y}",
        },
    ),
)

DEGREE_TEST: tuple[Frame, ...] = (
    *frames(
        "predicate",
        {
            "seems-relative-to": "{X} {seems} {P} relative to {Y}",
            "against-is": "against {F}, {X} {is} {P}",
            "whereas-seems-seems": "whereas {F} {seems_y} {Q}, {X} {seems} {P}",
            "one-of-the-two-is": "{ONE} of the two {be} {X}",
            "compared-to-it-is-that-appears": "compared to {F}, it is {X} that {appears} {P}",
            "going-from-gets": "going from {y} to {x}, {topic} gets {P}",
            "between-the-two-is-one": "between the two, {X} {be} {ONE}",
        },
    ),
    *frames(
        "shown",
        {
            "holds-compared-to": "{x} holds {H} compared to {y}",
            "against-contains": "against {y}, {x} contains {H}",
            "in-contrast-to-can-be-seen": "in contrast to {y}, {H} can be seen in {x}",
            "having-differs": "having {H}, {x} differs from {y}",
            "unlike-is-the-one-with": "unlike {y}, {x} is the one with {H}",
        },
    ),
)

CATEGORY_VALIDATION: tuple[Frame, ...] = frames(
    "shown",
    {
        "has-while-has": "{x} has {H} while {y} has {G}",
        "rather-than-shows": "rather than {G}, {x} shows {H}",
        "in-there-and-in-there": "in {x} {there} {H} and in {y} {there_y} {G}",
        "unlike-has-and-not": "unlike {y}, {x} has {H} and not {G}",
        "where-shows-shows": "where {x} shows {H}, {y} shows {G}",
    },
)

CATEGORY_TEST: tuple[Frame, ...] = frames(
    "shown",
    {
        "whereas-contains-contains": "whereas {y} contains {G}, {x} contains {H}",
        "while-contains-shows": "while {x} contains {H}, {y} shows {G}",
        "is-the-one-with-and-not": "{x} is the one with {H} and not {G}",
        "instead-of-we-see-in": "instead of {G} we see {H} in {x}",
        "not-but-can-be-seen": "not {G} but {H} can be seen in {x}",
        "in-we-see-rather-than": "in {x} we see {H} rather than {G}",
        "in-contrast-to-holds": "in contrast to {y}, {x} holds {H}",
    },
)
