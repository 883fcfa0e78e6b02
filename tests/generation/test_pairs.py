import itertools

import pytest

from pcclip.errors import PcclipError
from pcclip.generation.pairs import PairPlan, draw_pool, make_pairs

ALL = PairPlan(0, method="all")


@pytest.mark.parametrize("count", [2, 3, 5, 17, 64, 101])
def test_every_unordered_pair_comes_once_and_none_with_itself(count: int) -> None:
    pairs = list(make_pairs([f"k{i}" for i in range(count)], ALL, 3))
    assert len(pairs) == count * (count - 1) // 2
    assert len({frozenset(pair) for pair in pairs}) == len(pairs)
    assert all(a != b for a, b in pairs)


def test_pairs_depend_on_the_seed_and_come_in_both_directions() -> None:
    keys = [f"{i:05d}" for i in range(300)]
    first, again, other = (list(itertools.islice(make_pairs(keys, ALL, s), 4000)) for s in (1, 1, 2))
    assert first == again
    assert len(set(first) & set(other)) < 600
    assert 1850 < sum(a < b for a, b in first) < 2150
    # The first pairs are spread over all pictures, not only the first ones.
    assert len({key for pair in first[:1000] for key in pair}) > 290


def test_streaming_from_a_million_pictures_is_immediate() -> None:
    pairs = list(itertools.islice(make_pairs(range(1_000_000), ALL, 0), 1000))  # type: ignore[arg-type]
    assert len(set(map(frozenset, pairs))) == 1000


def test_a_pool_has_no_picture_twice_and_says_when_it_is_too_small() -> None:
    keys = [str(i) for i in range(50)]
    pool = draw_pool(keys, PairPlan(20, 10), seed=1)
    assert len(set(pool)) == 20
    assert pool == draw_pool(keys, PairPlan(20, 10), seed=1)
    assert sorted(draw_pool(keys, PairPlan(0, 10), seed=1)) == sorted(keys)
    with pytest.raises(PcclipError, match="asks for 51 pictures, but the split has 50"):
        draw_pool(keys, PairPlan(51, 10), seed=1)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"pictures": 1, "pairs": 3}, "2 or more"),
        ({"pictures": 9}, "needs 'pairs'"),
        ({"pictures": 9, "pairs": 4, "method": "all"}, "leave 'pairs' at 0"),
        ({"pictures": 9, "pairs": -4}, "'pairs' is 0 or more"),
        ({"pictures": 9, "method": "neighbours"}, "needs 'bank'"),
        ({"pictures": 9, "pairs": 4, "bank": "x"}, "'bank' is for method 'neighbours'"),
        ({"pictures": 9, "pairs": 4, "window": 0}, "'window' are 1 or more"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(plan: dict, message: str) -> None:
    with pytest.raises(PcclipError, match=message):
        PairPlan(**plan)
