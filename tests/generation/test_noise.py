import random

import pytest

from pcclip.data.records import Triple
from pcclip.errors import PcclipError
from pcclip.generation.noise import NoisePlan, add_noise, let_through


def chunk(count: int, start: int = 0) -> list[Triple]:
    return [
        Triple(f"k{n}", f"a{n}", f"b{n}", f"text of pair {n}", {"writer": "test", "captions": ["x", "y"]})
        for n in range(start, start + count)
    ]


def kinds(triples: list[Triple]) -> list[str]:
    return [triple.source.get("noise", {}).get("kind", "") for triple in triples]


def test_shares_are_as_asked_and_every_spoilt_record_says_so() -> None:
    before = chunk(4000)
    after = add_noise(before, NoisePlan(shuffled=20, reversed=10))
    assert [t.key for t in after] == [t.key for t in before]
    count = len(before)
    assert 0.17 * count < kinds(after).count("shuffled") < 0.23 * count
    assert 0.08 * count < kinds(after).count("reversed") < 0.12 * count
    texts = {t.key: t.difference for t in before}
    for old, new in zip(before, after, strict=True):
        new.check("chunk")
        kind = new.source.get("noise", {}).get("kind")
        if kind == "shuffled":
            assert new.difference == texts[new.source["noise"]["text_of"]] != old.difference
            assert (new.image1, new.image2) == (old.image1, old.image2)
        elif kind == "reversed":
            assert (new.image1, new.image2) == (old.image2, old.image1)
            assert new.difference == old.difference
        else:
            assert new == old
        assert new.source["captions"] == ["x", "y"]
        assert "noise" not in old.source
        assert Triple.parse(new.key, new.to_json(), "shard") == new


def test_the_seed_and_the_key_decide_alone() -> None:
    plan = NoisePlan(shuffled=30, reversed=30, seed=1)
    whole = add_noise(chunk(400), plan)
    assert whole == add_noise(chunk(400), plan)
    mixed = chunk(400)
    random.Random(0).shuffle(mixed)
    by_key = dict(zip((t.key for t in mixed), kinds(add_noise(mixed, plan)), strict=True))
    assert [by_key[t.key] for t in whole] == kinds(whole)
    parts = [*add_noise(chunk(200), plan), *add_noise(chunk(200, start=200), plan)]
    assert kinds(parts) == kinds(whole)
    assert kinds(add_noise(chunk(400), NoisePlan(30, 30, seed=2))) != kinds(whole)


def test_more_noise_spoils_the_same_texts_and_others() -> None:
    few, many = (add_noise(chunk(1000), NoisePlan(shuffled=share)) for share in (10, 40))
    spoilt_few = {t.key for t in few if t.source.get("noise")}
    assert spoilt_few < {t.key for t in many if t.source.get("noise")}


def test_shuffled_texts_are_of_another_pair_and_say_something_else() -> None:
    same = [Triple(f"k{n}", "a", "b", f"text {n}") for n in range(3)]
    assert add_noise(same, NoisePlan(shuffled=100)) == same  # one pair of pictures only
    other = [*same, Triple("k9", "c", "d", "text 0")]
    after = add_noise(other, NoisePlan(shuffled=100))
    assert [t.difference for t in after[:3]] == ["text 0", "text 0", "text 0"]
    assert kinds(after) == ["", "shuffled", "shuffled", "shuffled"]
    assert after[3].difference in ("text 1", "text 2")


def test_rejected_answers_are_let_through_as_they_are() -> None:
    refused = ("  Sorry, I can't see any pictures.\n", "refusal")
    passed = [let_through(triple, *refused, NoisePlan(unfiltered=25)) for triple in chunk(2000)]
    records = [record for record in passed if record is not None]
    assert 0.21 * 2000 < len(records) < 0.29 * 2000
    for record in records:
        assert record.difference == "Sorry, I can't see any pictures."
        assert record.source["noise"] == {"kind": "unfiltered", "reason": "refusal"}
        assert record.source["writer"] == "test"
    assert all(let_through(t, *refused, NoisePlan(unfiltered=100)) for t in chunk(50))
    assert not any(let_through(t, *refused, NoisePlan()) for t in chunk(50))


@pytest.mark.parametrize("answer", ["", " \n", "\ud800"])
def test_answers_that_no_file_can_hold_stay_rejected(answer: str) -> None:
    assert let_through(chunk(1)[0], answer, "empty", NoisePlan(unfiltered=100)) is None


def test_no_noise_is_falsy_and_changes_nothing() -> None:
    assert not NoisePlan()
    assert NoisePlan(unfiltered=1)
    assert add_noise(chunk(50), NoisePlan()) == chunk(50)


@pytest.mark.parametrize(
    ("plan", "named"),
    [
        ({"shuffled": 101}, "shuffled"),
        ({"reversed": -1}, "reversed"),
        ({"shuffled": 60, "reversed": 50}, "100"),
    ],
)
def test_wrong_percentages_are_named(plan: dict, named: str) -> None:
    with pytest.raises(PcclipError, match=named):
        NoisePlan(**plan)
