import itertools
import os
import random
import subprocess
import sys

import pytest
from answers import human_captions

from pcclip.errors import PcclipError
from pcclip.generation.duplicates import DuplicateLimits, Duplicates
from pcclip.generation.filters import Rejected


def kept(texts: list[str], limits: DuplicateLimits) -> list[str]:
    duplicates = Duplicates(limits)
    return [text for text in texts if duplicates.check(text) is None]


def word_runs(text: str) -> set[tuple[str, ...]]:
    words = "".join(c if c.isalpha() else " " for c in text.lower()).split()
    return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}


def jaccard(a: str, b: str) -> float:
    x, y = word_runs(a), word_runs(b)
    return len(x & y) / len(x | y)


def spelled(number: int) -> str:
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


@pytest.mark.parametrize(("copies", "count"), [(0, 5), (1, 1), (2, 2), (9, 5)])
def test_copies_are_counted_whatever_their_case_and_marks(copies: int, count: int) -> None:
    texts = ["It is larger.", "it is larger", "It is  LARGER!", "It is larger.", "it is larger"]
    assert len(kept([*texts, "It is smaller."], DuplicateLimits(copies))) == count + 1


def test_a_duplicate_is_a_rejection() -> None:
    duplicates = Duplicates(DuplicateLimits())
    assert duplicates.check("It is larger.") is None
    found = duplicates.check("it is larger")
    assert isinstance(found, Rejected)
    assert found.record(key="7")["reason"] == "duplicate"


def test_texts_without_words_are_compared_as_they_are() -> None:
    assert kept(["1", "2", "1", "。"], DuplicateLimits()) == ["1", "2", "。"]


def test_near_duplicates_are_those_of_a_brute_force_search(real_data) -> None:
    rng = random.Random(0)
    captions = [c.strip() for c in human_captions(real_data, 3000) if len(word_runs(c)) >= 10][:250]
    texts = []
    for caption in captions:
        words = caption.split()
        words[rng.choice([0, len(words) // 2, -1])] = "zebra"
        texts += [caption, " ".join(words)]
    duplicates, earlier = Duplicates(DuplicateLimits(copies=0, near=0.7)), list[str]()
    alike = missed = wrong = 0
    for text in texts:
        share = max((jaccard(text, other) for other in earlier), default=0.0)
        found = duplicates.check(text)
        alike += share >= 0.8
        missed += share >= 0.8 and found is None
        wrong += share < 0.5 and found is not None
        if found is None:
            earlier.append(text)
        else:
            assert found.reason == "near_duplicate"
    assert alike > 80
    assert missed <= 0.05 * alike
    assert wrong == 0


def test_near_duplicates_stay_unless_asked_for() -> None:
    pair = [
        "the first picture is much darker than the second",
        "the first picture is much darker than the other",
    ]
    assert kept(pair, DuplicateLimits()) == pair
    assert kept(pair, DuplicateLimits(near=0.6)) == pair[:1]


def test_going_on_with_the_accepted_texts_decides_the_same() -> None:
    rng = random.Random(3)
    words = ["a", "larger", "smaller", "darker", "man", "dog", "tree", "on", "near", "the", "grass", "snow"]
    texts = [" ".join(rng.choices(words, k=rng.randint(2, 9))) for _ in range(4000)]
    limits = DuplicateLimits(copies=2, near=0.6)
    whole = kept(texts, limits)
    first = kept(texts[:2500], limits)
    going_on = Duplicates(limits)
    assert all(going_on.check(text) is None for text in first)
    assert first + [text for text in texts[2500:] if going_on.check(text) is None] == whole
    assert len(whole) < 3900


def test_memory_does_not_grow_and_the_latest_texts_are_remembered() -> None:
    limits = DuplicateLimits(near=0.8, remembered=1000)
    duplicates = Duplicates(limits)

    def held() -> int:
        near, exact = duplicates._near, duplicates._exact
        assert near is not None
        assert exact is not None
        return len(exact._table) * 8 + near._signatures_TH.nbytes + near._latest_BS.nbytes

    before = held()
    for number in range(20_000):
        assert duplicates.check(f"text {spelled(number)} is number {spelled(number * 7)}") is None
    assert held() == before < 300 * limits.remembered
    again = [duplicates.check(f"text {spelled(n)} is number {spelled(n * 7)}") for n in range(19_500, 20_000)]
    assert sum(found is not None for found in again) >= 495
    assert duplicates.check("text b is number h") is None


def test_decisions_do_not_depend_on_the_process() -> None:
    code = (
        "import random; from pcclip.generation.duplicates import *; r = random.Random(1)\n"
        "d = Duplicates(DuplicateLimits(near=0.5))\n"
        "print([d.check(' '.join(r.choices('abcdefg', k=8))) is None for _ in range(2000)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert b"False" in next(iter(outputs))


@pytest.mark.parametrize("limits", [{"copies": -1}, {"near": 1.5}, {"remembered": 0}])
def test_wrong_limits_are_named(limits: dict) -> None:
    with pytest.raises(PcclipError, match=next(iter(limits))):
        DuplicateLimits(**limits)


def test_every_short_text_is_kept_once() -> None:
    texts = ["larger", "smaller", "darker", "larger and darker", "a star"]
    for order in itertools.permutations(texts):
        assert kept([*order, *order], DuplicateLimits(near=0.9)) == list(order)
