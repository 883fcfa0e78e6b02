# ruff: noqa: RUF001 - letters of other scripts are meant
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from answers import ANY_LENGTH, DATA, human_captions, human_differences, labelled, rule_written, wrong
from data.make_answers import by_hand

from pcclip.errors import PcclipError
from pcclip.generation.filters import Accepted, Context, Limits, Reason, Rejected, Tally, clean

CAPTIONS = ("A man surfs on a wave in the ocean.", "A red train is riding down the tracks.")
PROMPT = ("Say how the first picture differs from the second, in a sentence.", "A: The first is much darker.")
CONTEXT = Context(CAPTIONS, PROMPT)


def outcome(answer: str, limits: Limits = ANY_LENGTH, cut_off: bool = False) -> str:
    """The accepted text, or the reason of the rejection."""
    result = clean(answer, limits, CONTEXT, cut_off)
    return result.text if isinstance(result, Accepted) else f"<{result.reason}>"


def test_people_are_hardly_ever_rejected_and_never_changed(real_data) -> None:
    lines = [line for lines in human_differences(real_data).values() for line in lines]
    assert len(lines) == 4459
    faults = wrong(lines)
    assert len(faults) < 0.01 * len(lines)
    # What is left after lines without a word and lines that say that nothing differs.
    said = [f for f in faults if not (isinstance(f, Rejected) and f.reason in ("empty", "no_difference"))]
    assert len(said) <= 4, said


def test_captions_that_no_rule_was_made_for_pass(real_data) -> None:
    faults = wrong(human_captions(real_data, 3000))
    assert len(faults) < 0.01 * 3000, faults


def test_texts_of_the_rule_based_writer_pass() -> None:
    assert len(wrong(rule_written(600))) <= 1


@pytest.mark.parametrize("split", ["dev", "test"])
def test_few_bad_answers_are_let_through(split: str) -> None:
    answers = [answer for answer in labelled("bad_answers") if answer.split == split]
    assert len(answers) >= 160
    passed = Counter(answer.kind for answer in answers if answer.let_through(Limits()))
    assert passed.total() < 0.02 * len(answers), passed
    assert set(passed) <= {"babble", "copied_caption"}, passed


def test_the_good_part_of_a_bad_answer_is_kept() -> None:
    salvaged = [answer for answer in labelled("bad_answers") if answer.keeps]
    assert len(salvaged) >= 40
    lost = [answer.answer for answer in salvaged if not isinstance(answer.outcome(), Accepted)]
    assert not lost


def test_good_chat_answers_pass() -> None:
    good = labelled("good_answers")
    assert len(good) >= 60
    assert [answer.answer for answer in good if not answer.right()] == []


def test_labelled_answers_are_those_written_by_hand_and_varied() -> None:
    for name in ("bad", "good"):
        text = (DATA / f"{name}_answers.jsonl").read_text()
        lines = [json.loads(line) for line in text.strip().split("\n")]
        assert [line for line in lines if line["kind"] != "babble"] == by_hand(name)
    bad = labelled("bad_answers")
    assert len(bad) >= 320
    assert len({answer.answer for answer in bad}) == len(bad)
    assert min(Counter(answer.kind for answer in bad).values()) >= 24


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "empty"),
        (" 1. \n2.", "empty"),
        ("It is darker.", "too_short"),
        ("The first is darker, " * 80 + "The second is not.", "repetition"),
        (
            "The first picture shows a man in the sea, a board below him, and many people who look at him "
            "from the beach, while nobody can be seen near the train, which is red and moves.",
            "too_long",
        ),
        ("import os\nprint(os.listdir('.'))", "code"),
        ("| first | second |\n|---|---|\n| surfer | train |", "markup"),
        ("It is large, large, large, large, large.", "repetition"),
        ("Das erste Bild zeigt einen Mann und das zweite einen Zug.", "not_language"),
        ("第一张图片是海洋，第二张图片是火车。", "not_language"),
        ("floop gnarp trizzle wendigo blat morx quib snarf doodle whim zorp flink grue", "not_language"),
        ("I'm sorry, but I can't see any pictures, so I can't compare them for you.", "refusal"),
        ("The two pictures are identical and there is no difference between them.", "no_difference"),
        ("Say how the first picture differs from the second, in a sentence.", "echo_of_prompt"),
        ("The first picture shows a man surfing on a wave in the ocean.", "copied_caption"),
        ("A man surfs on a wave in the ocean. A red train is riding down the tracks.", "copied_caption"),
        ("The first picture shows a man in the water, whereas the second picture shows a", "truncated"),
    ],
)
def test_reasons(answer: str, reason: str) -> None:
    assert outcome(answer, Limits(min_chars=20, max_chars=160)) == f"<{reason}>"


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("Sure! It is darker.", "It is darker."),
        ("Here is the difference:\n\nIt is darker.", "It is darker."),
        ("Answer: it is darker", "It is darker"),
        ("- darker\n- more people", "darker; more people"),
        ("1. It is darker. 2. It has more people.", "It is darker. It has more people."),
        ('"It is **much** darker."', "It is much darker."),
        ("It is darker.\nUser: And what about the color?", "It is darker."),
        ("It is darker. Note that captions may be wrong.", "It is darker."),
        ("It is darker. Let me know if you need more.", "It is darker."),
        ("It is darker. How does the third one differ?", "It is darker."),
        ("It is darker.</s></s>It is", "It is darker."),
        ("<think>Which one is darker?</think>\nIt is darker.", "It is darker."),
        ("It is darker. It also has a lot", "It is darker."),
        ('{"difference": "It is darker."}', "It is darker."),
        ("```\nIt is darker.\n```", "It is darker."),
        ("  It   is\tdarker. ", "It is darker."),
        ('change the text "trump" to "jump"', 'change the text "trump" to "jump"'),
        ("picture B is darker than picture A", "picture B is darker than picture A"),
        ("Image 1 is bright. Image 2 is dark.", "Image 1 is bright. Image 2 is dark."),
        ("a man surfs, not a train", "a man surfs, not a train"),
    ],
)
def test_cuts(answer: str, kept: str) -> None:
    assert outcome(answer) == kept


def test_an_answer_that_the_engine_stopped_ends_with_its_last_whole_sentence() -> None:
    whole, half = "The sky is darker. ", "There are more people in the"
    assert outcome(whole + half, cut_off=True) == whole.strip()
    assert outcome("more people in the park", cut_off=True) == "<truncated>"
    assert outcome("more people in the park") == "more people in the park"


@pytest.mark.parametrize(
    ("language", "answer"),
    [
        ("de", "Das erste Bild zeigt einen Mann auf einer Welle und das zweite einen roten Zug."),
        ("es", "La primera imagen muestra el mar y la segunda muestra un tren rojo en las vías."),
        ("ru", "На первой картинке человек на волне, а на второй красный поезд."),
        ("zh", "第一张图片是海洋，第二张图片是火车。"),
        ("en", "The first picture shows a man on a wave, the second shows a red train."),
    ],
)
def test_the_language_is_an_option(language: str, answer: str) -> None:
    for other in ("de", "es", "ru", "zh", "en"):
        limits = Limits(min_chars=0, language=other)
        assert outcome(answer, limits) == (answer if other == language else "<not_language>")


def test_end_marks_are_an_option() -> None:
    answer = "The first picture shows a man on a wave, the second shows a long red train"
    assert outcome(answer) == "<truncated>"
    assert outcome(answer, Limits(min_chars=0, end_mark="never")) == answer
    assert outcome("make it darker", Limits(min_chars=0, end_mark="always")) == "<truncated>"


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"min_chars": -1}, "min_chars"),
        ({"max_chars": 10}, "max_chars"),
        ({"language": "tlh"}, "tlh.*en"),
        ({"max_echo": 0.0}, "max_echo"),
        ({"end_mark": "often"}, "end_mark"),
        ({"max_compression": 1.0}, "max_compression"),
    ],
)
def test_wrong_limits_are_named(limits: dict, named: str) -> None:
    with pytest.raises(PcclipError, match=named):
        Limits(**limits)


PIECES = [
    *("\n", "\n\n", "- ", "* ", "1. ", '"', "'", "**", "```", "```python\n", "</s>", "<|im_end|>", "[INST]"),
    *("Q:", "A: ", "Answer: ", "Note: ", "Sure! ", "Here is the difference: ", "?", "!", ".", "...", "\t"),
    *(
        "&amp;",
        "&lt;b&gt;",
        '{"a": "',
        '"}',
        "\u200b",
        "\ufffd",
        "\ud800",
        "e\u0301",
        "字",
        "(",
        ")",
        "_",
        "#",
    ),
    *(
        "</think>",
        "<think>",
        "I ",
        "Image 1: ",
        "Image 2: ",
        "\r\n",
        "\x00",
        "\u2028",
        "\x85",
        "A. ",
        "\u0130",
    ),
]


def spoil(text: str, rng: random.Random) -> str:
    """A text with pieces put in, taken out, or joined from another one."""
    for _ in range(rng.randint(1, 8)):
        at, to = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        draw = rng.random()
        if draw < 0.5:
            text = text[:at] + rng.choice(PIECES) + text[at:]
        elif draw < 0.7:
            text = text[:at] + text[to:]
        elif draw < 0.9:
            other = rng.choice(labelled("bad_answers")).answer
            text = text[:at] + other[: rng.randint(0, 120)] + text[at:]
        else:
            text = "".join(chr(rng.randint(0, 0x2FFF)) for _ in range(rng.randint(0, 40))) + text
    return text


def test_nothing_is_raised_and_what_is_accepted_is_accepted_again_unchanged() -> None:
    rng, accepted = random.Random(1), 0
    answers = labelled("bad_answers") + labelled("good_answers")
    ways = (ANY_LENGTH, Limits(), Limits(min_chars=0, end_mark="never"), Limits(min_chars=0, language="de"))
    for _ in range(3000):
        answer, limits = rng.choice(answers), rng.choice(ways)
        result = clean(spoil(answer.answer, rng), limits, answer.context, rng.random() < 0.2)
        if isinstance(result, Accepted):
            assert clean(result.text, limits, answer.context) == Accepted(result.text)
            result.text.encode()
            accepted += 1
        else:
            json.dumps(result.record(), ensure_ascii=False).encode()
    assert accepted > 150


@pytest.mark.parametrize(
    "unit",
    ["?\n", "A? ", "!", "(", "a(", "a_", "\n", " ", "Q: ", "a: ", "i can ", "*", "x", "differs ", "[[", "- "],
)
def test_long_hostile_answers_end(unit: str) -> None:
    assert isinstance(clean(unit * (200_000 // len(unit)), Limits(max_chars=10**6), CONTEXT), Rejected)


def test_the_measurement_prints_what_is_let_through_by_kind() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.filters"],
        cwd=Path(__file__).parents[2],
        env={name: value for name, value in os.environ.items() if name != "PCCLIP_TEST_DATA"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    rows = {line.split("│")[1].strip(): line for line in printed.splitlines() if line.startswith("│")}
    assert set(rows) == {answer.kind for answer in labelled("bad_answers")} | {"all"}
    through = sum(answer.let_through(Limits()) for answer in labelled("bad_answers"))
    assert f"{through} ({through / len(labelled('bad_answers')):.1%})" in rows["all"]
    assert "PCCLIP_TEST_DATA is unset" in printed


def test_rejections_are_plain_records() -> None:
    rejected = clean("Sorry, I can't. \ud800", Limits(), CONTEXT)
    assert isinstance(rejected, Rejected)
    record = rejected.record(key="1_2", image1="1")
    assert json.loads(json.dumps(record)) == record
    assert record["key"] == "1_2"
    assert record["reason"] == rejected.reason.value
    assert record["answer"] == "Sorry, I can't. ?"


def test_tallies_count_by_reason_and_add_up() -> None:
    tally = Tally()
    for answer in ("Sure! It is darker.", "", "", "Is it darker?"):
        tally.add(clean(answer, ANY_LENGTH))
    tally.reject("duplicate")
    assert tally.to_dict() == {
        "accepted": 1,
        "rejected": {"duplicate": 1, "empty": 2, "refusal": 1},
        "cuts": {"opening": 1},
    }
    twice = tally + Tally.from_dict(json.loads(json.dumps(tally.to_dict())))
    assert twice.answers == 10
    assert twice.rows() == [
        ("accepted", 2, 0.2),
        ("empty", 4, 0.4),
        ("duplicate", 2, 0.2),
        ("refusal", 2, 0.2),
    ]
    assert [list(column.cells)[1] for column in twice.table().columns] == ["empty", "4", "40.00%"]


def test_reasons_have_the_names_that_files_hold() -> None:
    assert {reason.value for reason in Reason} == {
        *("empty", "markup", "code", "repetition", "refusal", "no_difference", "copied_caption"),
        *("echo_of_prompt", "not_language", "truncated", "too_short", "too_long"),
        *("duplicate", "near_duplicate"),
    }
