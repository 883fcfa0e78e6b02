import itertools
import re

import pytest
from worlds import SOURCES, training_texts

from pcclip.generation.clauses import Named, fill_category, fill_degree
from pcclip.generation.compositions import CATEGORY_COMPOSED, DEGREE_COMPOSED
from pcclip.generation.held_out import CATEGORY_TEST, CATEGORY_VALIDATION, DEGREE_TEST, DEGREE_VALIDATION
from pcclip.generation.questions import questions
from pcclip.generation.vocabulary import Category, References
from pcclip.generation.wordings import CATEGORY_TRAINING, DEGREE_TRAINING

DEGREE_HELD_OUT, CATEGORY_HELD_OUT = DEGREE_VALIDATION + DEGREE_TEST, CATEGORY_VALIDATION + CATEGORY_TEST

_ANY = "PICTURE"


def without_names(name: str, text: str) -> str:
    """The text with every way to call a picture replaced by one word."""
    names = {"the other", "the other one", "the first", "the second"}
    for way in SOURCES[name].references():
        names |= {way.first, way.second, way.other or way.first}
    names |= {n.replace("the first", "the other") for n in names if n.startswith("the first ")}
    ordered = sorted(names, key=len, reverse=True)
    return re.sub(r"\b(?:" + "|".join(map(re.escape, ordered)) + r")\b", _ANY, text)


def held_out_clauses(name: str) -> set[str]:
    """Every held-out frame filled with every word of a source."""
    clauses = set()
    for attribute in SOURCES[name].attributes():
        for several, again in itertools.product(itertools.product((False, True), repeat=2), (False, True)):
            named = Named.of(References(_ANY, _ANY), 1, several=several, again=again)
            if isinstance(attribute, Category):
                for frame, shown, values in itertools.product(
                    CATEGORY_HELD_OUT, attribute.shown, itertools.permutations(attribute.values, 2)
                ):
                    clauses.add(fill_category(frame, values, named, shown))
                continue
            for frame, term, subject in itertools.product(
                DEGREE_HELD_OUT, attribute.terms, attribute.subjects
            ):
                for shown, words in itertools.product(
                    term.shown, ((term.more, term.less), (term.less, term.more))
                ):
                    clauses.add(fill_degree(frame, attribute, term, words, named, shown, subject))
    return clauses


def filled(question: dict) -> list[tuple[dict, str]]:
    if question["kind"] == "degree":
        more, less = question["more"], question["less"]
        fillings = [{"more": more, "less": less}, {"more": less, "less": more}]
    else:
        values = list(question["values"])
        fillings = [{"first": a, "second": b} for a, b in itertools.pairwise(values)]
    return [(w, w["text"].format(**f)) for w in question["wordings"] for f in fillings]


def test_there_are_many_frames_and_all_names_differ() -> None:
    assert len(DEGREE_TRAINING) >= 40
    assert len(CATEGORY_TRAINING) >= 20
    for split in ("validation", "test"):
        held = [w for q in questions(SOURCES["shapes"].attributes()) for w in q["wordings"]]
        assert len({w["id"] for w in held if w["split"] == split}) >= 24
    degrees, kinds = DEGREE_TRAINING + DEGREE_COMPOSED, CATEGORY_TRAINING + CATEGORY_COMPOSED
    for training, held_out in ((degrees, DEGREE_HELD_OUT), (kinds, CATEGORY_HELD_OUT)):
        names = [frame.name for frame in training + held_out]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", SOURCES)
def test_no_held_out_frame_occurs_in_training_however_it_is_filled(name: str) -> None:
    corpus = "\n".join(without_names(name, text) for text, _, _ in training_texts(name))
    clauses = held_out_clauses(name)
    assert len(clauses) > 900
    assert [clause for clause in clauses if clause in corpus] == []


@pytest.mark.parametrize("name", SOURCES)
def test_evaluation_wordings_are_where_they_say_they_are(name: str) -> None:
    corpus = "\n".join(without_names(name, text) for text, _, _ in training_texts(name))
    found = {"seen": 0, "asked": 0}
    for question in questions(SOURCES[name].attributes()):
        for wording, text in filled(question):
            inside = without_names(name, text) in corpus
            if wording["held_out"]:
                assert not inside, text
            elif question["kind"] == "degree":
                found["seen"] += inside
                found["asked"] += 1
    # A seen wording is one of thousands of fillings, so a corpus of this size has most, not all.
    assert found["seen"] > 0.6 * found["asked"]


@pytest.mark.parametrize("name", SOURCES)
def test_held_out_wordings_use_only_words_of_training(name: str) -> None:
    known = {word for text, _, _ in training_texts(name) for word in re.findall(r"[\w-]+", text)}
    asked = questions(SOURCES[name].attributes())
    words = {w for q in asked for _, text in filled(q) for w in re.findall(r"[\w-]+", text)}
    assert words <= known


@pytest.mark.parametrize("name", SOURCES)
def test_questions_ask_with_either_picture_as_the_subject(name: str) -> None:
    for question in questions(SOURCES[name].attributes()):
        for held_out in (False, True):
            ids = [w["id"] for w in question["wordings"] if w["held_out"] == held_out]
            assert len(set(ids)) == len(ids)
            assert {i[-2:] for i in ids} == {"-1", "-2"}
    texts = [w["text"] for q in questions(SOURCES[name].attributes()) for w in q["wordings"]]
    assert "picture two looks {less} than picture one" in texts


@pytest.mark.parametrize("name", SOURCES)
def test_the_reversed_pair_has_another_text(name: str) -> None:
    for question in questions(SOURCES[name].attributes()):
        slots = ("{more}", "{less}") if question["kind"] == "degree" else ("{first}", "{second}")
        for wording in question["wordings"]:
            assert any(slot in wording["text"] for slot in slots), wording
