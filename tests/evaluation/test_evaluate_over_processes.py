"""`torchrun -m pcclip evaluate`: several processes measure what one does, to the byte."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
import torch
from planted import pictures, write

from pcclip.checksums import check_seal
from pcclip.cli import main
from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import load_towers
from tests.faults.rank_world import full
from tests.launching import torchrun

PROTOCOLS = [
    "pcclip.evaluation.protocols.zero_shot.ZeroShot",
    "pcclip.evaluation.protocols.difference.DifferenceClassification",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set of 61 pictures, a model, a suite, and its results by one process."""
    folder = tmp_path_factory.mktemp("processes")
    write(folder / "data", pictures(61))
    torch.manual_seed(0)
    save_folder(load_towers("pcclip-tiny", random_init=True), folder / "model")
    assert main(words(folder, "alone")) == 0
    return folder


def words(folder: Path, version: str, data: Path | None = None) -> list[str]:
    protocols = [{"class_path": name} for name in PROTOCOLS]
    suite = {
        "suite": "small",
        "evaluations": [{"data": str(data or folder / "data"), "protocols": protocols}],
        "models": [{"name": f"local-dir:{folder / 'model'}", "label": "tiny"}],
        "out": str(folder / version / "out"),
        "cache_dir": str(folder / version / "cache"),
        "batch_size": 8,
    }
    (folder / f"{version}.json").write_text(json.dumps(suite))
    return ["evaluate", f"--config={folder / f'{version}.json'}"]


def files(folder: Path) -> dict[str, bytes]:
    """What is the same whoever measures: results and embeddings, and all estimates."""
    found = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*.np[yz]")}
    estimates = json.loads(next(folder.rglob("estimates.json")).read_bytes())
    check_seal(estimates)
    for differs in ("of", "sha256"):  # names of the measurements, and the seal upon them
        del estimates[differs]
    return found | {"estimates": json.dumps(estimates).encode()}


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=full)])
def test_results_and_embeddings_are_those_of_one_process(place, processes):
    version = f"by-{processes}"
    done = torchrun(processes, "-m", "tests.groups_at_exit", *words(place, version))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("threads of groups at exit: 0") == processes  # others may abort a process
    assert done.stdout.count("tiny: base") == 1  # printed once
    expected = files(place / "alone")
    assert len(expected) == 4  # results, embeddings of pictures, of texts, estimates
    assert files(place / version) == expected


@full
@pytest.mark.slow
def test_two_processes_go_on_where_one_was_stopped(place):
    """A half row is there too, as a kill leaves it."""
    whole = next((place / "alone/cache").glob("features-*.npy"))
    cache = place / "stopped/cache"
    cache.mkdir(parents=True)
    (cache / f".{whole.name}.partial").write_bytes(whole.read_bytes()[: 128 + 64 * 4 * 21 + 100])
    done = torchrun(2, "-m", "pcclip", *words(place, "stopped"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert files(place / "stopped") == files(place / "alone")


@full
@pytest.mark.slow
def test_a_picture_that_the_second_process_cannot_read_ends_both(place):
    data = place / "broken"
    shutil.copytree(place / "data", data)
    shard = next((data / "pictures/test").glob("*.tar"))
    content = shard.read_bytes()
    starts = [i for i in range(len(content)) if content.startswith(b"\xff\xd8\xff\xe0", i)]
    at = starts[12]  # of the second batch
    shard.write_bytes(content[: at + 8] + bytes(32) + content[at + 40 :])
    started = time.monotonic()
    done = torchrun(2, "-m", "pcclip", *words(place, "unreadable", data))
    assert done.returncode != 0
    assert time.monotonic() - started < 120
    assert "pcclip evaluate: rank 1: " in done.stderr
    assert shard.name in done.stderr
    assert not list((place / "unreadable").rglob("*.npz"))
