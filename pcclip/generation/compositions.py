"""Training frames put together from parts: what compares, who is spoken of, and what is said of it.

A text tower learns which picture a sentence speaks of only from many orders of the same parts. Every
combination is a training frame, except those that hold a held-out frame; slots are explained in `wordings`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from pcclip.generation.held_out import CATEGORY_TEST, CATEGORY_VALIDATION, DEGREE_TEST, DEGREE_VALIDATION
from pcclip.generation.wordings import Form, Frame

_AGAINST = ("compared with", "compared to", "in contrast to", "in comparison with", "relative to", "against")
_AMONG = ("of the two", "between the two", "of this pair", "of these two", "among the two")
_LOOKS = ("is", "looks", "appears", "seems")
_SHOWS = ("shows", "has", "contains", "holds")
_JOINED = (" while", " whereas", " but", " and", ",")
_BEFORE = ("while", "whereas", "where")
_NOT_THE_OTHER = (" and not {G}", " instead of {G}", " rather than {G}", ", not {G}")

# What is said of x: as something that it has, and as something that is in it.
_HAS = (
    *("{x} " + verb + " {H}" for verb in _SHOWS),
    *("it is {x} that " + verb + " {H}" for verb in _SHOWS),
    "{x} is the one with {H}",
)
_HAS_LAST = ("the one with {H} is {x}", *("the one that " + verb + " {H} is {x}" for verb in _SHOWS))
_IN = ("{there} {H} in {x}", "we see {H} in {x}", "{H} can be seen in {x}")
_IN_FIRST = ("in {x} {there} {H}", "in {x} we see {H}", "in {x} {H} can be seen")


def _predicates() -> Iterator[str]:
    says = [f"{{X}} {{{verb}}} {{P}}" for verb in _LOOKS]
    says += [f"it is {{X}} that {{{verb}}} {{P}}" for verb in _LOOKS]
    says += ["{X} {be} {ONE}", "{ONE} {be} {X}"]
    yield from (f"{{one}} that {{{verb}}} {{P}} {{be}} {{X}}" for verb in _LOOKS)
    yield from (f"{{X}} {{be}} {{one}} that {{{verb}}} {{P}}" for verb in _LOOKS)
    yield from (f"{{one}} that {{{verb}}} {{P}} {{be}} {{X}} and not {{Y}}" for verb in _LOOKS)
    yield from (f"{against} {{F}}, {said}" for against, said in product(_AGAINST, says[:-1]))
    yield from (f"{among}, {said}" for among, said in product(_AMONG, says))
    yield from (f"{{X}} {among} {{{verb}}} {{P}}" for among, verb in product(_AMONG[::2], _LOOKS))
    yield from (
        f"{{one}} {among} that {{{verb}}} {{P}} {{be}} {{X}}" for among, verb in product(_AMONG, _LOOKS)
    )
    yield from (f"{said} {among}" for said, among in product(says[:8], _AMONG))
    yield from (f"{said} {against} {{Y}}" for said, against in product(says[:4], ("than", *_AGAINST)))
    for verb, other in product(_LOOKS, _LOOKS):
        yield from (f"{{X}} {{{verb}}} {{P}}{joined} {{Y}} {{{other}_y}} {{Q}}" for joined in _JOINED)
        yield from (f"{before} {{F}} {{{other}_y}} {{Q}}, {{X}} {{{verb}}} {{P}}" for before in _BEFORE[:2])


def _degrees_shown() -> Iterator[str]:
    against = [f"{words} {{y}}" for words in (*_AGAINST, "unlike")]
    says = (*_HAS, *_HAS_LAST, *_IN, *_IN_FIRST)
    yield from (f"{first}, {said}" for first, said in product((*against, *_AMONG), says))
    yield from (f"{said} {last}" for said, last in product((*_HAS[:8], *_IN), against))
    yield from (f"{said} than {{y}}" for said in _HAS[:8])
    yield from (f"{said} than in {{y}}" for said in (*_IN, *_IN_FIRST))
    yield from _both_sides()
    yield from _with()


def _kinds_shown() -> Iterator[str]:
    against = [f"{words} {{y}}" for words in (*_AGAINST, "unlike")]
    says = (*_HAS, *_HAS_LAST, *_IN, *_IN_FIRST)
    yield from (f"{first}, {said}" for first, said in product((*against, *_AMONG), says))
    yield from (f"{first} {{G}}, {said}" for first, said in product(("instead of", "rather than"), says))
    said_not = [f"{said}{rest}" for said, rest in product((*_HAS, *_IN, *_IN_FIRST), _NOT_THE_OTHER)]
    yield from said_not
    yield from (
        f"{first}, {said}" for first, said in product((against[0], against[1], against[-1]), said_not)
    )
    yield from (f"not {{G}} but {{H}} {rest}" for rest in ("in {x}", "is what {x} shows"))
    yield from (f"{{x}} {verb} not {{G}} but {{H}}" for verb in _SHOWS)
    yield from (f"in {{x}} {{H}}{joined} in {{y}} {{G}}" for joined in _JOINED)
    yield from _both_sides()
    yield from _with()


def _both_sides() -> Iterator[str]:
    for verb, other in product(_SHOWS, _SHOWS):
        yield from (f"{{x}} {verb} {{H}}{joined} {{y}} {other} {{G}}" for joined in _JOINED)
        yield from (f"{before} {{y}} {other} {{G}}, {{x}} {verb} {{H}}" for before in _BEFORE)
        yield from (f"{before} {{x}} {verb} {{H}}, {{y}} {other} {{G}}" for before in _BEFORE)


def _with() -> Iterator[str]:
    having = ("with", "having", "showing", "containing")
    rests = (
        "{x} is unlike {y}",
        "{x} is the one that differs",
        "{x} stands against {y}",
        "{x} is not like {y}",
        "{x} stands apart from {y}",
        "{x} can be told from {y}",
    )
    yield from (f"{word} {{H}}, {rest}" for word, rest in product(having, rests))
    yield from (f"{{x}} differs from {{y}} in {word} {{H}}" for word in having[1:])
    yield from (f"{{x}} is unlike {{y}} in {word} {{H}}" for word in having[1:])


def _compose(form: Form, texts: Iterator[str], held_out: Sequence[Frame]) -> tuple[Frame, ...]:
    """The frames of some texts, each once, without those that could say what a held-out frame says."""
    forbidden = [said for frame in held_out for said in _sayings(frame.text)]
    made: dict[str, Frame] = {}
    for text in texts:
        if not any(held in said for said in _sayings(text) for held in forbidden):
            made.setdefault(text, Frame(f"composed-{form}-{len(made)}", text, form))
    return tuple(made.values())


def _sayings(text: str) -> list[str]:
    """What a frame can come to, whichever picture it names first.

    "X is P" also gives "x has H", as in "the picture has more objects".
    """
    same = dict.fromkeys(("{X}", "{Y}", "{F}", "{y}"), "{x}") | dict.fromkeys(("{P}", "{Q}", "{G}"), "{H}")
    same |= {"{be}": "is", "_y}": "}"}
    for slot, name in same.items():
        text = text.replace(slot, name)
    plain = text.replace("{is}", "is").replace("{ONE}", "the {H} one")
    having = text.replace("{is}", "has").replace("{ONE}", "the one with {H}")
    for verb in _LOOKS[1:]:
        plain = plain.replace(f"{{{verb}}}", verb)
        having = having.replace(f"{{{verb}}}", f"{verb} to have")
    return [plain, having]


_HELD_OUT = (*DEGREE_VALIDATION, *DEGREE_TEST, *CATEGORY_VALIDATION, *CATEGORY_TEST)

DEGREE_COMPOSED = (
    *_compose("predicate", _predicates(), _HELD_OUT),
    *_compose("shown", _degrees_shown(), _HELD_OUT),
)
CATEGORY_COMPOSED = _compose("shown", _kinds_shown(), _HELD_OUT)
