"""What holds for every plan: checked on many plans drawn at random, against a plain enumeration."""

import itertools
import random
import subprocess
import sys

import numpy as np
import pytest

from pcclip.errors import PcclipError
from pcclip.generation.pair_spaces import Permutation, triangled, untriangled
from pcclip.generation.pairs import PairPlan, Pairs, make_pairs


def possible(keys: list[str], classes: dict[str, str], restriction: str | None) -> set[frozenset[str]]:
    return {
        frozenset((a, b))
        for a, b in itertools.combinations(keys, 2)
        if restriction is None or (classes[a] == classes[b]) == (restriction == "within_class")
    }


def plans(count: int, seed: int) -> list[tuple[list[str], dict[str, str], PairPlan, int]]:
    rng = random.Random(seed)
    found = []
    while len(found) < count:
        keys = [f"k{n}" for n in rng.sample(range(1000), rng.choice([2, 3, 4, 7, 16, 17, 33, 64, 90]))]
        classes = {key: f"c{rng.randrange(rng.choice([1, 2, 5, 40]))}" for key in keys}
        restriction = rng.choice([None, "within_class", "across_class"])
        total = len(possible(keys, classes, restriction))
        if not total:
            continue
        method = rng.choice(["all", "random"])
        plan = PairPlan(
            0,
            rng.randint(1, total) if method == "random" else 0,
            method,
            restriction,
            rng.choice(["random", "fixed", "both"]),
            order=rng.choice(["shuffled", "grouped"]),
            window=rng.choice([1, 3, 50, 10**6]),
        )
        found.append((keys, classes, plan, rng.randrange(100)))
    return found


@pytest.mark.parametrize("batch", range(4))
def test_every_plan_gives_the_pairs_that_it_says(batch: int) -> None:
    for keys, classes, plan, seed in plans(100, batch):
        rows = list(make_pairs(keys, plan, seed, classes))
        said = f"{plan} of {keys} by {seed}"
        all_pairs = possible(keys, classes, plan.restriction)
        drawn = [frozenset(row) for row in rows]
        sides = 2 if plan.direction == "both" else 1
        assert len(rows) == sides * (plan.pairs or len(all_pairs)), said
        assert set(drawn) <= all_pairs, said
        assert all(a != b for a, b in rows), said
        assert len(set(rows)) == len(rows), said
        assert len(set(drawn)) * sides == len(drawn), said
        if not plan.pairs:
            assert set(drawn) == all_pairs, said
        if plan.direction == "fixed":
            place = {key: n for n, key in enumerate(keys)}
            assert all(place[a] < place[b] for a, b in rows), said


@pytest.mark.parametrize("batch", range(2))
def test_a_stream_read_from_any_row_on_goes_on_with_the_same_rows(batch: int) -> None:
    rng = random.Random(f"slices/{batch}")
    for keys, classes, plan, seed in plans(60, 10 + batch):
        pairs = make_pairs(keys, plan, seed, classes)
        rows = list(pairs)
        assert rows == list(make_pairs(keys, plan, seed, classes))
        for _ in range(5):
            start, stop = sorted(rng.randint(0, len(rows)) for _ in range(2))
            assert list(pairs.rows(start, stop)) == rows[start:stop], (plan, start, stop)
        assert list(pairs.rows(len(rows))) == []
        assert list(pairs.rows(0, len(rows) + 9)) == rows


def test_grouping_changes_the_order_within_windows_only() -> None:
    keys = [f"k{n}" for n in range(60)]
    plain = list(make_pairs(keys, PairPlan(0, 1500), 5))
    window = 400
    grouped = list(make_pairs(keys, PairPlan(0, 1500, order="grouped", window=window), 5))
    changes = sum(a[0] != b[0] for a, b in itertools.pairwise(grouped))
    least = 0
    for start in range(0, 1500, window):
        mine = grouped[start : start + window]
        assert sorted(mine) == sorted(plain[start : start + window])
        firsts = [key for key, _ in itertools.groupby(mine, lambda row: row[0])]
        assert len(firsts) == len(set(firsts))
        least += len(firsts)
    # The last group of a window goes on in the next, so a border costs nothing.
    assert changes == least - 1 - 3
    whole = list(make_pairs(keys, PairPlan(0, 1500, order="grouped"), 5))
    assert sum(a[0] != b[0] for a, b in itertools.pairwise(whole)) == len({a for a, _ in whole}) - 1


def test_rejected_pairs_are_replaced_by_further_ones() -> None:
    keys = [str(n) for n in range(40)]
    pairs = make_pairs(keys, PairPlan(0, 100, order="grouped", window=7), 2)
    everything = list(pairs.everything())
    assert len(everything) == pairs.possible == 780
    assert set(everything[:100]) == set(pairs)


def test_the_draw_of_a_seed_is_what_it_always_was() -> None:
    # Sets made before must come out the same when they are made again.
    all_pairs = PairPlan(0, method="all")
    assert list(itertools.islice(make_pairs(range(17), all_pairs, 3), 6)) == [  # type: ignore[arg-type]
        *[(15, 8), (1, 10), (10, 14)],
        *[(5, 4), (4, 8), (16, 4)],
    ]
    assert list(itertools.islice(make_pairs(range(1000), all_pairs, 0), 3)) == [
        (574, 935),
        (356, 797),
        (497, 253),
    ]  # type: ignore[arg-type]


def test_pairs_within_and_across_classes_are_drawn_evenly() -> None:
    keys = [str(n) for n in range(3000)]
    classes = {key: "large" if int(key) < 2000 else f"small {int(key) % 10}" for key in keys}
    within = list(make_pairs(keys, PairPlan(0, 20000, restriction="within_class"), 1, classes))
    large = sum(classes[a] == "large" for a, _ in within) / len(within)
    assert large == pytest.approx(1999000 / (1999000 + 10 * 4950), abs=0.01)
    across = list(make_pairs(keys, PairPlan(0, 20000, restriction="across_class"), 1, classes))
    large = sum("large" in (classes[a], classes[b]) for a, b in across) / len(across)
    assert large == pytest.approx(2000000 / (2000000 + 45 * 10000), abs=0.01)
    assert sum(a < b for a, b in across) == pytest.approx(10000, abs=400)


@pytest.mark.parametrize("top", [10, 10**6, 2**31, 2**52, 2**60])
def test_numbers_and_pairs_are_the_same_thing_up_to_the_largest(top: int) -> None:
    rng = np.random.default_rng(0)
    numbers = np.concatenate([np.arange(5), rng.integers(0, top, 2000), [top - 1, top]]).astype(np.int64)
    side = rng.integers(1, int((2 * top) ** 0.5), 500)
    numbers = np.concatenate([numbers, side * (side - 1) // 2, side * (side + 1) // 2 - 1])
    i, j = untriangled(numbers)
    assert (i >= 0).all()
    assert (i < j).all()
    assert (triangled(i, j) == numbers).all()


@pytest.mark.parametrize("total", [1, 2, 3, 4, 5, 255, 256, 257, 5000])
def test_a_permutation_has_every_number_once(total: int) -> None:
    permuted = Permutation(total, "seed")(np.arange(total))
    assert sorted(permuted.tolist()) == list(range(total))
    assert total < 255 or (permuted != Permutation(total, "other")(np.arange(total))).mean() > 0.9


def test_too_many_pairs_and_pictures_without_a_class_are_refused() -> None:
    keys, classes = ["a", "b", "c", "d"], {"a": "x", "b": "x", "c": "y", "d": "y"}
    with pytest.raises(PcclipError, match=r"7 pairs asked for, but 4 pictures make 6 .*Lower 'pairs'"):
        make_pairs(keys, PairPlan(0, 7), 0)
    with pytest.raises(PcclipError, match="3 pairs asked for, but 4 pictures make 2"):
        make_pairs(keys, PairPlan(0, 3, restriction="within_class"), 0, classes)
    with pytest.raises(PcclipError, match="all pairs asked for, but 2 pictures make 0"):
        make_pairs(keys[:2], PairPlan(0, method="all", restriction="across_class"), 0, classes)
    with pytest.raises(PcclipError, match=r"needs the class of every picture, but 'd' has none \(1 of 4"):
        make_pairs(keys, PairPlan(0, 1, restriction="within_class"), 0, {**classes, "d": None})


def test_memory_does_not_grow_with_the_number_of_pairs() -> None:
    code = """
import resource
from pcclip.generation.pairs import PairPlan, make_pairs
def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
keys = [str(n) for n in range(20000)]
pairs = make_pairs(keys, PairPlan(0, method="all"), 0)
assert len(pairs) == 199_990_000
for _ in pairs.rows(0, 200_000): pass
before = most()
for _ in pairs.rows(150_000_000, 151_000_000): pass
print(most() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    assert float(done.stdout) < 8


def test_pairs_and_sources_need_no_torch() -> None:
    code = """
import importlib, pkgutil, sys
import pcclip.generation.pairs, pcclip.data.sources
for module in pkgutil.iter_modules(pcclip.data.sources.__path__):
    importlib.import_module(f"pcclip.data.sources.{module.name}")
print(sorted({"torch", "torchvision", "webdataset", "lightning", "open_clip", "pandas"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout.strip() == "[]"


def test_a_stream_is_as_long_as_its_blocks() -> None:
    pairs = make_pairs([str(n) for n in range(600)], PairPlan(0, method="all", direction="both"), 0)
    blocks = list(pairs.blocks())
    assert isinstance(pairs, Pairs)
    assert len(blocks) > 1
    assert sum(map(len, blocks)) == len(pairs) == 600 * 599
    assert {tuple(row) for block in blocks for row in block.tolist()} == set(
        itertools.permutations(range(600), 2)
    )
