"""Processes of one or two nodes that start on one missing bank: it is built once for each disk, by a node."""

import json
from pathlib import Path

import pytest
from shard_making import write_pictures
from test_bank import build, contents

from tests.launching import torchrun


@pytest.mark.parametrize(("processes", "of_node"), [(2, 2), (4, 2)])
def test_one_node_builds_and_all_read_the_bytes_of_a_single_build(tmp_path, processes, of_node):
    pictures = write_pictures(tmp_path / "pictures")
    build(tmp_path / "alone", pictures)  # 26 pictures in 7 batches
    script = Path(__file__).with_name("bank_script.py")
    done = torchrun(processes, script, tmp_path, of_node)
    assert done.returncode == 0, done.stderr[-3000:]
    made = [json.loads((tmp_path / f"made-{rank}.json").read_text()) for rank in range(processes)]
    nodes = processes // of_node
    for name in ["shared", *(f"disk{node}" for node in range(nodes))]:
        there = [of_rank[name] for of_rank in made if name in of_rank]
        assert [of_rank["pictures"] for of_rank in there] == [26] * len(there)
        # Each of the building node's two processes encodes four times, the last batch once too often.
        assert sorted(of_rank["calls"] for of_rank in there)[-2:] == [4, 4]
        assert sum(of_rank["calls"] for of_rank in there) == 8
        assert contents(tmp_path / name / "bank") == contents(tmp_path / "alone")
