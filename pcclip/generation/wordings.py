"""The frames of difference texts that are written by hand; `compositions` makes more out of their parts.

A frame speaks of a picture x (its subject) and compares it with the other picture y. Either picture of a
pair can be x, so that a text is only understood by reading which picture it speaks of. Slots:

- `{x}` `{y}`: the pictures' names. `{X}` `{Y}`: what the clause speaks of in them ("the object in picture
  one", "the one in picture two"). `{F}`: as `{Y}` where it is named before x.
- `{P}` `{Q}`: the comparative that holds for x, and its opposite, which holds for y.
- `{ONE}` `{OTHER}`: "the larger one", "the smaller one". `{one}`: "the one".
- `{H}` `{G}`: what x and y show, as noun phrases ("a larger object", "a smaller object"; for an attribute of
  kind "a star", "a ring").
- `{is}` `{looks}` `{appears}` `{seems}`: verbs that agree with X (and become "has", "seems to have" for
  predicates like "more objects"); with `_y` they agree with Y. `{be}`: "is" or "are", never "has".
- `{there}` `{are}`: "there is"/"there are" and "is"/"are", agreeing with H.
- `{becomes_y}`: "becomes" or "become", agreeing with G. `{topic}`: what changes between the pictures.
- `{than_y}`: "than picture two", or "than in picture two" where the subject is something in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Form = Literal["predicate", "shown", "bare"]


@dataclass(frozen=True)
class Frame:
    """A sentence with slots.

    Args:
        name: Readable and unique.
        text: The sentence; see the module's docstring for the slots.
        form: `predicate` ("X is larger"), `shown` ("x shows a larger object"), or `bare`, which names no
            subject: image1 is meant.
    """

    name: str
    text: str
    form: Form


def frames(form: Form, texts: dict[str, str]) -> tuple[Frame, ...]:
    """Frames of one form, from texts by name."""
    return tuple(Frame(name, text, form) for name, text in texts.items())


DEGREE_TRAINING: tuple[Frame, ...] = (
    *frames(
        "predicate",
        {
            "is-than": "{X} {is} {P} than {Y}",
            "appears-than": "{X} {appears} {P} than {Y}",
            "seems-than": "{X} {seems} {P} than {Y}",
            "compared-with-is": "compared with {F}, {X} {is} {P}",
            "compared-to-looks": "compared to {F}, {X} {looks} {P}",
            "is-compared-with": "{X} {is} {P} compared with {Y}",
            "looks-compared-to": "{X} {looks} {P} compared to {Y}",
            "in-contrast-to-looks": "in contrast to {F}, {X} {looks} {P}",
            "in-contrast-to-is": "in contrast to {F}, {X} {is} {P}",
            "looks-in-contrast-to": "{X} {looks} {P} in contrast to {Y}",
            "is-relative-to": "{X} {is} {P} relative to {Y}",
            "looks-relative-to": "{X} {looks} {P} relative to {Y}",
            "in-comparison-with": "in comparison with {F}, {X} {seems} {P}",
            "looks-in-comparison": "{X} {looks} {P} in comparison with {Y}",
            "against-seems": "against {F}, {X} {seems} {P}",
            "of-the-two-is-one": "of the two, {X} {be} {ONE}",
            "of-the-two-looks": "of the two, {X} {looks} {P}",
            "between-the-two": "between the two, {X} {appears} {P}",
            "is-while-is": "{X} {is} {P} while {Y} {is_y} {Q}",
            "looks-whereas-looks": "{X} {looks} {P} whereas {Y} {looks_y} {Q}",
            "seems-comma-seems": "{X} {seems} {P}, {Y} {seems_y} {Q}",
            "appears-but-appears": "{X} {appears} {P} but {Y} {appears_y} {Q}",
            "it-is-that-looks": "it is {X} that {looks} {P}",
            "it-is-that-seems": "it is {X} that {seems} {P}",
            "is-one": "{X} {be} {ONE}",
            "one-is": "{ONE} {be} {X}",
            "is-one-and-one": "{X} {be} {ONE} and {Y} {be_y} {OTHER}",
            "is-one-that-is": "{X} {be} {one} that {is} {P}",
            "from-to-gets": "from {y} to {x}, {topic} gets {P}",
            "going-from-becomes": "going from {y} to {x}, {topic} becomes {P}",
        },
    ),
    *frames(
        "shown",
        {
            "shows-than": "{x} shows {H} than {y}",
            "has-than": "{x} has {H} than {y}",
            "contains-than": "{x} contains {H} than {y}",
            "compared-with-shows": "compared with {y}, {x} shows {H}",
            "compared-to-has": "compared to {y}, {x} has {H}",
            "compared-to-holds": "compared to {y}, {x} holds {H}",
            "holds": "{x} holds {H}",
            "there-in-than": "{there} {H} in {x} than in {y}",
            "we-see-in-than": "we see {H} in {x} than in {y}",
            "in-we-see": "in {x} we see {H} than in {y}",
            "in-than": "{H} in {x} than in {y}",
            "of-the-two-shows": "of the two, {x} shows {H}",
            "is-the-one-with": "{x} is the one with {H}",
            "the-one-with-is": "the one with {H} is {x}",
            "differs-in-having": "{x} differs from {y} in having {H}",
            "unlike-shows": "unlike {y}, {x} shows {H}",
            "it-is-that-shows": "it is {x} that shows {H}",
            "shows-comma-shows": "{x} shows {H}, {y} shows {G}",
            "has-while-has": "{x} has {H} while {y} has {G}",
            "there-in-and-in": "{there} {H} in {x} and {G} in {y}",
            "can-be-seen-in": "{H} can be seen in {x}",
        },
    ),
    *frames(
        "bare",
        {
            "bare-predicate": "{P}",
            "bare-shown": "{H}",
            "bare-predicate-than": "{P} {than_y}",
            "bare-shown-than": "{H} than in {y}",
            "bare-compared-with": "{P} compared with {y}",
            "bare-it-is": "it {is} {P}",
            "bare-it-shows": "it shows {H}",
        },
    ),
)

CATEGORY_TRAINING: tuple[Frame, ...] = (
    *frames(
        "shown",
        {
            "shows-while-shows": "{x} shows {H} while {y} shows {G}",
            "shows-comma-shows": "{x} shows {H}, {y} shows {G}",
            "has-whereas-has": "{x} has {H} whereas {y} has {G}",
            "contains-but-contains": "{x} contains {H} but {y} contains {G}",
            "there-in-but-in": "{there} {H} in {x} but {G} in {y}",
            "there-in-and-not": "{there} {H} in {x} and not {G}",
            "instead-of-there-in": "instead of {G} {there} {H} in {x}",
            "instead-of-shows": "instead of {G}, {x} shows {H}",
            "shows-instead-of": "{x} shows {H} instead of {G}",
            "contains-rather-than": "{x} contains {H} rather than {G}",
            "has-and-not": "{x} has {H} and not {G}",
            "in-comma-in": "{H} in {x}, {G} in {y}",
            "in-against-in": "{H} in {x} against {G} in {y}",
            "where-has-has": "where {y} has {G}, {x} has {H}",
            "while-contains": "while {y} contains {G}, {x} contains {H}",
            "unlike-shows": "unlike {y}, {x} shows {H}",
            "unlike-has-instead": "unlike {y}, {x} has {H} instead of {G}",
            "can-be-seen-and": "{H} can be seen in {x} and {G} in {y}",
            "in-we-see-in": "in {x} we see {H}, in {y} {G}",
            "is-the-one-with": "{x} is the one with {H}",
            "one-with-is-and": "the one with {H} is {x} and the one with {G} is {y}",
            "from-to-becomes": "going from {y} to {x}, {G} {becomes_y} {H}",
            "it-is-that-has": "it is {x} that has {H}",
            "compared-with-has": "compared with {y}, {x} has {H} and not {G}",
            "holds-and-holds": "{x} holds {H} and {y} holds {G}",
        },
    ),
    *frames(
        "bare",
        {
            "bare-shown": "{H}",
            "bare-instead-of": "{H} instead of {G}",
            "bare-rather-than": "{H} rather than {G}",
            "bare-and-not": "{H} and not {G}",
            "bare-it-shows": "it shows {H}, not {G}",
        },
    ),
)

# Several differences in one sentence; {LIST} is a list of what x shows.
LIST_TRAINING: tuple[str, ...] = (
    "compared with {y}, {x} shows {LIST}",
    "compared to {y}, {x} has {LIST}",
    "{x} differs from {y} in having {LIST}",
    "{x} is the one with {LIST}",
    "unlike {y}, {x} has {LIST}",
    "of the two, {x} shows {LIST}",
    "we see {LIST} in {x}",
    "{x} holds {LIST}",
)
