"""Fills the frames of `wordings` with words: one clause about one attribute of a pair."""

from __future__ import annotations

from dataclasses import dataclass

from pcclip.generation.vocabulary import Category, Degree, NounPhrase, References, Subject, Term
from pcclip.generation.wordings import Frame

_COPULAR = {
    "is": ("is", "are"),
    "looks": ("looks", "look"),
    "appears": ("appears", "appear"),
    "seems": ("seems", "seem"),
}
_POSSESSIVE = {
    "is": ("has", "have"),
    "looks": ("looks to have", "look to have"),
    "appears": ("appears to have", "appear to have"),
    "seems": ("seems to have", "seem to have"),
}


@dataclass(frozen=True)
class Named:
    """How a clause names the two pictures.

    Args:
        x: The subject's name, y: the other picture's. A frame may put either first.
        x_short: The subject's name where it stands last.
        y_short: The other picture's name where it stands last.
        x_several: The subject shows several objects.
        y_several: The other picture shows several objects.
        x_again: Say "the one in x" rather than "the object in x" where x stands last.
    """

    x: str
    y: str
    x_short: str
    y_short: str
    x_several: bool = False
    y_several: bool = False
    x_again: bool = False

    @classmethod
    def of(
        cls,
        names: References,
        subject: int,
        *,
        several: tuple[bool, bool] = (False, False),
        short: bool = False,
        other: bool = False,
        again: bool = False,
    ) -> Named:
        """Names for a clause whose subject is picture `subject` (1 or 2).

        Args:
            names: How the text calls image1 and image2.
            subject: 1 or 2.
            several: Whether image1 and image2 show several objects.
            short: Use the short name for the picture that is named last.
            other: Call the picture that is named last "the other".
            again: See the class.
        """
        full = (names.first, names.second)
        last = names.short if short and names.short is not None else full
        if other and names.other is not None:
            last = (names.other, names.other)
        at, rest = subject - 1, 2 - subject
        return cls(full[at], full[rest], last[at], last[rest], several[at], several[rest], again)


def fill_degree(
    frame: Frame,
    attribute: Degree,
    term: Term,
    words: tuple[str, str],
    named: Named,
    shown: NounPhrase,
    subject: Subject,
) -> str:
    """The clause of a frame about an attribute of degree.

    Args:
        frame: The sentence.
        attribute: Names the topic.
        term: The phrases that the words stand in.
        words: The comparative for the subject x, and the opposite one for y.
        named: The pictures' names.
        shown: Which of the term's noun phrases.
        subject: What the clause speaks of, one of the attribute's.
    """
    x, y, x_last = _order(frame.text, named)
    f_phrase, _ = subject.phrase(y, named.y_several, again=False)
    y_phrase, y_plural = subject.phrase(y, named.y_several, again=True)
    x_phrase, x_plural = subject.phrase(x, named.x_several, again=named.x_again and x_last)
    if frame.form == "bare":
        x_plural = False
    h_template, h_plural = shown.choose(named.x_several)
    g_template, g_plural = shown.choose(named.y_several)
    verbs = _POSSESSIVE if term.possessive else _COPULAR
    slots = {name: forms[x_plural] for name, forms in verbs.items()}
    slots |= {f"{name}_y": forms[y_plural] for name, forms in verbs.items()}
    return frame.text.format(
        x=x,
        y=y,
        X=x_phrase,
        Y=y_phrase,
        F=f_phrase,
        P=term.predicate.format(w=words[0]),
        Q=term.predicate.format(w=words[1]),
        ONE=term.one[x_plural].format(w=words[0]),
        OTHER=term.one[y_plural].format(w=words[1]),
        one="the ones" if x_plural else "the one",
        be="are" if x_plural else "is",
        be_y="are" if y_plural else "is",
        H=h_template.format(w=words[0]),
        G=g_template.format(w=words[1]),
        there="there are" if h_plural else "there is",
        there_y="there are" if g_plural else "there is",
        topic=attribute.topic,
        than_y=f"than in {y}" if subject.inside or term.possessive else f"than {y}",
        **slots,
    )


def fill_category(frame: Frame, values: tuple[str, str], named: Named, shown: NounPhrase) -> str:
    """The clause of a frame about an attribute of kind.

    Args:
        frame: The sentence.
        values: The value of the subject x, and that of y.
        named: The pictures' names.
        shown: Which of the attribute's noun phrases.
    """
    x, y, _ = _order(frame.text, named)
    h_template, h_plural = shown.choose(named.x_several)
    g_template, g_plural = shown.choose(named.y_several)
    return frame.text.format(
        x=x,
        y=y,
        H=h_template.format(w=values[0]),
        G=g_template.format(w=values[1]),
        there="there are" if h_plural else "there is",
        there_y="there are" if g_plural else "there is",
        becomes_y="become" if g_plural else "becomes",
    )


def shown_phrase(
    attribute: Degree | Category, term: Term | None, word: str, choice: int, several: bool
) -> str:
    """What a picture shows, alone: "a larger object", "a star"."""
    phrases = term.shown if term is not None else attribute.shown if isinstance(attribute, Category) else ()
    return phrases[choice % len(phrases)].choose(several)[0].format(w=word)


def _order(text: str, named: Named) -> tuple[str, str, bool]:
    """The names of x and y in a frame, shortened where they stand last, and whether x stands last."""
    x_at = _first(text, ("{x}", "{X}"))
    y_at = _first(text, ("{y}", "{Y}", "{F}", "{than_y}"))
    if x_at < 0 or y_at < 0:
        return named.x, named.y, False
    return (named.x_short, named.y, True) if x_at > y_at else (named.x, named.y_short, False)


def _first(text: str, slots: tuple[str, ...]) -> int:
    found = [at for slot in slots if (at := text.find(slot)) >= 0]
    return min(found, default=-1)
