"""Texts that say how one class differs from another: from a file, templates or a set's question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from pcclip.data.class_texts import read_pair_texts
from pcclip.errors import PcclipError
from pcclip.evaluation.questions import Question
from pcclip.evaluation.questions import Wording as QuestionWording
from pcclip.evaluation.sets import EvaluationSet

Pair = tuple[str, str]
Wording = Callable[[Pair], Sequence[str]]
"""The texts that say, in one wording, how the first class of an ordered pair differs from the second."""


def from_file(path: str, data: EvaluationSet) -> Wording:
    """The pair texts of a `texts.json`, joined by the names of the classes; none for a pair that it lacks.

    Raises:
        PcclipError: The file is broken, empty, or about other classes.
    """
    texts = read_pair_texts(path)
    strange = sorted({name for pair in texts for name in pair} - set(data.classes))
    if strange:
        raise PcclipError(
            f"{path}: compares {strange[0]!r} ({len(strange)} such names), which is no class of {data.path}. "
            "Write texts about the classes of this set, by the names that it gives them."
        )
    if not any(texts.values()):
        raise PcclipError(f"{path}: holds no text. Write texts about the classes of {data.path}.")
    return lambda pair: texts.get(pair, ())


def from_template(template: str) -> Wording:
    """A template with `{a}` and `{b}`, filled in.

    Raises:
        PcclipError: It lacks one of the two.
    """
    if "{a}" not in template or "{b}" not in template:
        raise PcclipError(
            f"geometry: the template {template!r} should have {{a}} and {{b}}, the classes that it compares"
        )
    # In one pass, since a class may be called anything.
    parts = [part.split("{b}") for part in template.split("{a}")]
    return lambda pair: (pair[0].join(pair[1].join(part) for part in parts),)


def from_question(data: EvaluationSet) -> dict[bool, list[Wording]]:
    """The wordings of the category question whose values are the classes, by whether they are held out.

    Raises:
        PcclipError: There is no such question.
    """
    for question in data.questions:
        if question.kind == "category" and question.phrases.keys() == set(data.classes):
            found: dict[bool, list[Wording]] = {False: [], True: []}
            for wording in question.wordings:
                found[wording.held_out].append(partial(_stated, question, wording))
            return found
    raise PcclipError(
        f"{data.path}: no category question has the classes as its values, so no texts compare them. "
        "Give 'texts' (a texts.json of pair texts) or 'templates' ('{a} rather than {b}')."
    )


def _stated(question: Question, wording: QuestionWording, pair: Pair) -> Sequence[str]:
    return (question.statement(wording, *pair),)
