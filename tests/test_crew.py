"""Processes that share batches give what one process gives, and end together."""

import json
from pathlib import Path

import pytest

from tests.launching import torchrun

ORDERS = [
    {"count": 7},
    {"count": 1},
    {"count": 0},
    {"count": 6, "unreadable": [1, 4]},
    {"count": 6, "broken": [2, 2]},
    {"count": 6, "broken": [0, 3]},
    {"count": 6, "enough": 2},
    {"count": 6, "enough": 6},
    {"count": 4},
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict]]:
    """Outcomes of the orders by process."""
    folder = tmp_path_factory.mktemp("crew")
    script = Path(__file__).with_name("crew_script.py")
    done = torchrun(3, script, json.dumps(ORDERS), folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(3)]


@pytest.mark.parametrize("number", [0, 1, 2, 8])
def test_rows_come_in_order_and_every_process_encodes_as_often(found, number):
    count = ORDERS[number]["count"]
    first, *others = [of_rank[number] for of_rank in found]
    assert first["rows"] == list(range(count))
    assert [other["rows"] for other in others] == [None, None]
    calls = [of_rank[number]["calls"] for of_rank in found]
    assert {len(of_rank) for of_rank in calls} == {-(-count // 3)}
    assert calls == [[min(r, count - 1) for r in range(rank, -(-count // 3) * 3, 3)] for rank in range(3)]


@pytest.mark.parametrize(
    ("number", "kind", "says", "rank"),
    [
        (3, "PcclipError", "batch 4: cannot be decoded", 1),
        (4, "RuntimeError", "no such number", 2),
        (5, "ValueError", "no such number", 0),
        (6, "PcclipError", "the disk is full", 0),
        (7, "PcclipError", "the disk is full", 0),
    ],
)
def test_an_error_in_one_process_ends_all_and_the_next_job_runs(found, number, kind, says, rank):
    outcomes = [of_rank[number] for of_rank in found]
    assert outcomes[0]["error"] == kind
    for outcome in outcomes:
        assert says in outcome["says"]
    assert {o["error"] for o in outcomes[1:]} == {"RuntimeError" if kind == "ValueError" else kind}
    assert len({len(o["calls"]) for o in outcomes}) == 1  # nobody waits for the weights of another


def test_all_agree_with_the_first(found):
    assert [of_rank[-2]["agreed"] for of_rank in found] == [7, 7, 7]


def test_no_thread_of_the_group_is_left(found):
    """One that lets go of a tensor while the interpreter ends would abort the process."""
    assert [of_rank[-1]["threads"] for of_rank in found] == [[], [], []]
