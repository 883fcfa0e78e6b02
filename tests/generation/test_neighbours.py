"""Hard pairs from real bank files, against the definition."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from pcclip.data.bank_files import BankError, BankWriter
from pcclip.generation import neighbours
from pcclip.generation.neighbours import list_neighbours, read_vectors
from pcclip.generation.pairs import PairPlan, make_pairs


def write_bank(folder: Path, vectors: np.ndarray, dtype: str = "float32") -> Path:
    with BankWriter(folder, [f"k{n}" for n in range(len(vectors))], vectors.shape[1], "test", dtype) as bank:  # type: ignore[arg-type]
        bank.append(vectors)
    return folder


def expected(
    whole: np.ndarray, wanted: int, below: float, classes: list[int] | None = None, within: bool = False
) -> set[tuple[int, int]]:
    """The definition, in Python's whole numbers: ties go to the picture with the smaller number."""
    rows = [[int(x) for x in row] for row in whole]
    scale = 4095 - whole.shape[1] ** 0.5 / 2
    found = set()
    for i, mine in enumerate(rows):
        near = []
        for j, other in enumerate(rows):
            product = sum(x * y for x, y in zip(mine, other, strict=True))
            if i == j or product >= below * scale * scale:
                continue
            if classes is None or (classes[i] == classes[j]) == within:
                near.append((-product, j))
        found |= {(min(i, j), max(i, j)) for _, j in sorted(near)[:wanted]}
    return found


def listed(pairs: np.ndarray) -> set[tuple[int, int]]:
    found = [(int(a), int(b)) for a, b in pairs]
    assert len(set(found)) == len(found)
    assert all(a < b for a, b in found)
    return set(found)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((12, 24))
    return (centres[rng.integers(0, 12, 90)] + 0.7 * rng.standard_normal((90, 24))).astype(np.float32)


@pytest.mark.parametrize("wanted", [1, 4, 30, 500])
@pytest.mark.parametrize("cells", [1, 700, 1 << 21])
def test_neighbours_are_those_of_the_definition_whatever_is_in_memory_at_a_time(
    tmp_path: Path, vectors: np.ndarray, wanted: int, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "_CELLS", cells)
    whole = read_vectors(write_bank(tmp_path / "bank", vectors), [f"k{n}" for n in range(90)])
    assert listed(list_neighbours(whole, wanted, 0.9)) == expected(whole, wanted, 0.9)


@pytest.mark.parametrize("wanted", [1, 2, 5])
def test_ties_go_to_the_picture_with_the_smaller_number(tmp_path: Path, wanted: int) -> None:
    corners = np.array(list(itertools.product((-1.0, 1.0), repeat=5)), np.float32)
    np.random.default_rng(wanted).shuffle(corners)
    whole = read_vectors(write_bank(tmp_path / "bank", corners), [f"k{n}" for n in range(32)])
    assert listed(list_neighbours(whole, wanted, 0.999)) == expected(whole, wanted, 0.999)


@pytest.mark.parametrize("restriction", ["within_class", "across_class"])
def test_neighbours_within_and_across_classes(tmp_path: Path, vectors: np.ndarray, restriction: str) -> None:
    bank = write_bank(tmp_path / "bank", vectors, "float16")
    keys = [f"k{n}" for n in range(0, 90, 2)][::-1]
    classes = [n % 4 for n in range(45)]
    whole = read_vectors(bank, keys)
    found = list_neighbours(whole, 5, 0.99, np.array(classes), restriction)  # type: ignore[arg-type]
    assert listed(found) == expected(whole, 5, 0.99, classes, restriction == "within_class")
    plan = PairPlan(0, 60, "neighbours", restriction, bank=str(bank), neighbours=5)  # type: ignore[arg-type]
    names = {key: f"class {kind}" for key, kind in zip(keys, classes, strict=True)}
    drawn = [frozenset(pair) for pair in make_pairs(keys, plan, 3, names)]
    assert len(set(drawn)) == len(drawn) == 60
    assert set(drawn) <= {frozenset((keys[a], keys[b])) for a, b in listed(found)}


def test_hard_pairs_are_nearer_than_random_ones(tmp_path: Path, vectors: np.ndarray) -> None:
    bank, keys = write_bank(tmp_path / "bank", vectors), [f"k{n}" for n in range(90)]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def mean_cosine(plan: PairPlan) -> float:
        return float(np.mean([unit[int(a[1:])] @ unit[int(b[1:])] for a, b in make_pairs(keys, plan, 0)]))

    hard = mean_cosine(PairPlan(0, method="neighbours", bank=str(bank), neighbours=3))
    assert hard > 0.6
    assert mean_cosine(PairPlan(0, 500)) < 0.2


def test_the_same_picture_twice_makes_no_pair(tmp_path: Path, vectors: np.ndarray) -> None:
    twice = np.concatenate([vectors, vectors[:20] * 3])
    bank = write_bank(tmp_path / "bank", twice)
    plan = PairPlan(0, method="neighbours", bank=str(bank), neighbours=2)
    pairs = {frozenset(pair) for pair in make_pairs([f"k{n}" for n in range(110)], plan, 0)}
    assert not pairs & {frozenset((f"k{n}", f"k{90 + n}")) for n in range(20)}
    assert len(set(itertools.chain(*pairs))) == 110


def test_nothing_depends_on_the_order_in_which_products_are_added(tmp_path: Path) -> None:
    # The values of two CLIP towers' widths; equal rows make ties.
    rng = np.random.default_rng(1)
    for width in (512, 1024):
        vectors = rng.standard_normal((400, width)).astype(np.float32)
        vectors[200:] = vectors[:200] + 0.5 * rng.standard_normal((200, width)).astype(np.float32)
        vectors[300:] = vectors[200:300]
        whole = read_vectors(write_bank(tmp_path / str(width), vectors), [f"k{n}" for n in range(400)])
        assert whole.min() < -200
        assert (whole == np.rint(whole)).all()
        assert np.linalg.norm(whole, axis=1).max() < 4096
        first = list_neighbours(whole, 7, 0.999)
        shuffled = np.ascontiguousarray(whole[:, rng.permutation(width)])
        assert (list_neighbours(shuffled, 7, 0.999) == first).all()
        exact = whole.astype(np.int64) @ whole.astype(np.int64).T
        assert ((whole @ whole.T).astype(np.int64) == exact).all()


def test_a_bank_that_lacks_pictures_or_is_none_is_named(tmp_path: Path, vectors: np.ndarray) -> None:
    bank = write_bank(tmp_path / "bank", vectors)
    with pytest.raises(BankError, match=r"bank: has no picture 'k90' \(2 of 3 that pairs.*Build the bank"):
        read_vectors(bank, ["k90", "k1", "k91"])
    with pytest.raises(BankError, match=r"nowhere: cannot be read as an embedding bank .*'pcclip bank'"):
        read_vectors(tmp_path / "nowhere", ["k1"])
    (bank / "bank.json").write_text("{}")
    with pytest.raises(BankError, match=r"cannot be read as an embedding bank \('schema'\)"):
        read_vectors(bank, ["k1"])
