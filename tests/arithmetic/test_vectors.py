"""The arithmetic on conditionings: what every setting keeps, moves and refuses."""

from itertools import product

import pytest
import torch
from torch import Tensor

from pcclip.arithmetic.generators import Conditioning
from pcclip.arithmetic.vectors import Arithmetic
from pcclip.errors import PcclipError

KINDS = ("add", "average", "direction")
SETTINGS = [
    Arithmetic(kind, relative_to, on, encoders, keep)
    for kind, relative_to, on, encoders, keep in product(
        KINDS, ("nothing", "opposite"), ("states", "pooled", "both"), ("first", "all"), (False, True)
    )
    if not (kind == "average" and relative_to == "opposite")
]


def conditioning(seed: int, rows: int = 3, dtype: torch.dtype = torch.float32) -> Conditioning:
    """All parts, random; the first token's state is long and the same in all, as CLIP's is."""
    random = torch.Generator().manual_seed(seed)
    shapes = [(rows, 5, 8), (rows, 6), (rows, 5, 10), (rows, 7)]
    states, pooled, other_states, other_pooled = (torch.randn(s, generator=random) for s in shapes)
    states[:, 0] = 100 * torch.arange(1.0, 9)
    return Conditioning(*(t.to(dtype) for t in (states, pooled, other_states, other_pooled)))


def apply(arithmetic: Arithmetic, weight: float, dtype: torch.dtype = torch.float32) -> Conditioning:
    base, attribute, opposite = (conditioning(s, dtype=dtype) for s in range(3))
    return arithmetic.apply(
        base, attribute, weight, opposite if arithmetic.relative_to == "opposite" else None
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("arithmetic", SETTINGS, ids=str)
def test_weight_zero_is_the_base_and_only_what_is_asked_for_moves(
    arithmetic: Arithmetic, dtype: torch.dtype
) -> None:
    base = conditioning(0, dtype=dtype).parts()
    for name, part in apply(arithmetic, 0, dtype).parts().items():
        assert torch.equal(part, base[name])
    asked = {"states": {"states"}, "pooled": {"pooled"}, "both": {"states", "pooled"}}[arithmetic.moves]
    asked |= {f"other_{name}" for name in asked} if arithmetic.encoders == "all" else set()
    moved = apply(arithmetic, 0.5, dtype).parts()
    assert {name for name in base if not torch.equal(moved[name], base[name])} == asked
    for name in asked:
        assert moved[name].dtype == dtype
        assert moved[name].isfinite().all()
        if arithmetic.keep_length:
            torch.testing.assert_close(length(moved[name]), length(base[name]), rtol=1e-2, atol=0)


def length(part: Tensor) -> Tensor:
    return part.float().norm(dim=-1)


def test_kinds_are_what_they_are_called() -> None:
    base, attribute, opposite = (conditioning(s).states for s in range(3))
    torch.testing.assert_close(apply(Arithmetic("add"), 0.7).states, base + 0.7 * attribute)
    torch.testing.assert_close(apply(Arithmetic("average"), 0.7).states, 0.3 * base + 0.7 * attribute)
    assert torch.equal(apply(Arithmetic("average"), 1.0).states, attribute)
    torch.testing.assert_close(
        apply(Arithmetic("add", "opposite"), -2.0).states, base - 2 * (attribute - opposite)
    )
    # A step of a direction is as long as the base, however long the attribute's own embedding is.
    step = apply(Arithmetic("direction"), 0.7).states - base
    torch.testing.assert_close(length(step), 0.7 * length(base), rtol=1e-4, atol=0)
    torch.testing.assert_close(torch.cosine_similarity(step, attribute, dim=-1), torch.ones(3, 5))
    louder = Conditioning(10 * attribute)
    torch.testing.assert_close(
        Arithmetic("direction").apply(Conditioning(base), louder, 0.7).states,
        apply(Arithmetic("direction"), 0.7).states,
    )


def test_a_direction_between_texts_leaves_what_they_share_though_it_was_rounded() -> None:
    base, attribute, opposite = (conditioning(s) for s in range(3))
    opposite.states[:, 0] *= 1 + 1e-6
    moved = Arithmetic("direction", "opposite").apply(base, attribute, 1.0, opposite)
    assert torch.equal(moved.states[:, 0], base.states[:, 0])
    torch.testing.assert_close(length(moved.states - base.states)[:, 1:], length(base.states)[:, 1:])


def test_a_weight_and_its_negative_cancel_where_lengths_are_free() -> None:
    arithmetic = Arithmetic("add", "opposite", moves="both", encoders="all")
    base, attribute, opposite = (conditioning(s) for s in range(3))
    there = arithmetic.apply(base, attribute, 1.5, opposite)
    back = arithmetic.apply(there, attribute, -1.5, opposite)
    for name, part in back.parts().items():
        torch.testing.assert_close(part, getattr(base, name), rtol=1e-4, atol=1e-4)


def test_one_attribute_moves_all_rows_and_rows_do_not_see_each_other() -> None:
    base, attribute = conditioning(0), conditioning(1)
    for arithmetic in (Arithmetic(kind, moves="both", encoders="all", keep_length=True) for kind in KINDS):
        one_for_all = arithmetic.apply(base, attribute.select([1]), 0.5)
        for row in range(3):
            alone = arithmetic.apply(base.select([row]), attribute.select([1]), 0.5)
            for name, part in one_for_all.select([row]).parts().items():
                torch.testing.assert_close(part, getattr(alone, name))


def test_absent_parts_stay_absent_and_asking_for_one_says_what_there_is() -> None:
    base = Conditioning(torch.ones(2, 3, 4), other_states=torch.ones(2, 3, 5), other_pooled=torch.ones(2, 6))
    attribute = Conditioning(*(None if p is None else 2 * p for p in (base.states, None)))
    assert Arithmetic("add").apply(base, attribute, 1.0).pooled is None
    with pytest.raises(PcclipError, match=r"pooled.*it has states, other_states, other_pooled"):
        Arithmetic("add", moves="pooled").apply(base, attribute, 0)
    with pytest.raises(PcclipError, match="moves: both with encoders: first"):
        Arithmetic("add", moves="both").apply(base, attribute, 1.0)
    assert Arithmetic(moves="both", encoders="all").parts_of(base) == [
        "states",
        "other_states",
        "other_pooled",
    ]
    with pytest.raises(PcclipError, match=r"other_states.*absent"):
        Arithmetic("add", encoders="all").apply(base, attribute, 1.0)


def test_contradictions_are_refused() -> None:
    base = conditioning(0)
    with pytest.raises(PcclipError, match="average"):
        Arithmetic("average", "empty")
    with pytest.raises(PcclipError, match="'empty', but none was given"):
        Arithmetic("add", "empty").apply(base, base, 1.0)
    with pytest.raises(PcclipError, match="'nothing', but something"):
        Arithmetic("add").apply(base, base, 1.0, base)
    with pytest.raises(PcclipError, match=r"\(3, 5, 8\).*\(2, 5, 8\)"):
        Arithmetic("add").apply(base, base.select([0, 1]), 1.0)
