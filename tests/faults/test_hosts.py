"""A fit over two hosts (two network namespaces), two processes on each, by the shipped launch file."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from tests.faults.rank_world import ROOT, full, make, trained
from tests.faults.two_hosts import cut, two_hosts

LAUNCH = str(ROOT / "experiments/cluster/torchrun.sh")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make(tmp_path_factory.mktemp("hosts"))


@pytest.fixture(scope="module")
def alone(world):
    """The run of one process."""
    words = [
        f"--config={world / 'fit.yaml'}",
        f"--runs={world / 'runs'}",
        "--experiment=two",
        "--version=alone",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pcclip", "fit", *words],
        cwd=world,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return trained(world / "runs/two/alone")


def launch(hosts, world: Path, version: str, *words: str) -> list[subprocess.Popen[bytes]]:
    shared = {
        "RUN": str(world / "runs/two" / version),
        "PROCESSES": "2",
        "NODES": "2",
        "HEAD": f"{hosts[0].address}:29533",
        "GLOBAL_BATCH": "16",
        "PYTHONPATH": str(ROOT),
    }
    command = [LAUNCH, f"--config={world / 'fit.yaml'}", "--trainer.strategy=ddp", *words]
    return [host.run(command, world / f"{version}-{host.number}.log", **shared) for host in hosts]


def logs(world: Path, version: str) -> str:
    return "\n".join((world / f"{version}-{number}.log").read_text() for number in (0, 1))


def descendants(launched) -> set[int]:
    found: set[int] = set()
    for one in launched:
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= {child.pid for child in psutil.Process(one.pid).children(recursive=True)}
    return found


def watch(launched, banks: dict[Path, set[int]], seconds: float = 400) -> set[int]:
    """Waits for the end; which processes had a bank's files mapped. Notes which files these were."""
    mapped: set[int] = set()
    deadline = time.monotonic() + seconds
    while any(one.poll() is None for one in launched) and time.monotonic() < deadline:
        for bank, files in banks.items():
            if (rows := bank / "embeddings.npy").exists():
                files.add(rows.stat().st_ino)
        for process in descendants(launched) - mapped:
            with contextlib.suppress(OSError):
                maps = Path(f"/proc/{process}/maps").read_text()
                if any(f"{bank}/" in maps for bank in banks):
                    mapped.add(process)
        time.sleep(0.2)
    for one in launched:
        if one.poll() is None:
            os.killpg(one.pid, signal.SIGKILL)
    return mapped


@full
@pytest.mark.parametrize("shared", [False, True], ids=["own-disks", "shared-disk"])
def test_two_hosts_train_as_one_process_and_build_each_bank_once(world, alone, tmp_path, shared):
    version = "shared" if shared else "own"
    with two_hosts(tmp_path) as hosts:
        folders = [tmp_path / "both"] * 2 if shared else [host.folder for host in hosts]
        banks: dict[Path, set[int]] = {folder / "cache/bank": set() for folder in folders}
        launched = launch(
            hosts, world, version, *([f"--data.bank={folders[0]}/cache/bank"] if shared else [])
        )
        mapped = watch(launched, banks)
    assert [one.returncode for one in launched] == [0, 0], logs(world, version)[-3000:]
    assert [len(files) for files in banks.values()] == [1] * len(banks), "a bank was made more than once"
    assert len(mapped) == 4, "all four ranks read the bank where it lies on the disk"
    mine = trained(world / "runs/two" / version)
    assert mine.keys() == alone.keys()
    for name, weight in alone.items():
        assert torch.allclose(mine[name], weight, rtol=0, atol=1e-5), name


@full
def test_a_cut_cable_ends_the_run_on_both_hosts(world, tmp_path):
    patience = 15
    with two_hosts(tmp_path) as hosts:
        words = [
            "--trainer.max_steps=100000",
            "--checkpoint.every_n_train_steps=20",
            f"--ranks.patience={patience}",
        ]
        launched = launch(hosts, world, "cut", *words)
        checkpoint = world / "runs/two/cut/checkpoints/last.ckpt"
        deadline = time.monotonic() + 240
        while not checkpoint.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        cut(hosts[1])
        started = time.monotonic()
        watch(launched, {}, seconds=120)
        seconds = time.monotonic() - started
    said = logs(world, "cut")
    assert all(one.returncode not in (0, None, -9) for one in launched), said[-3000:]
    assert "has not been heard of" in said, said[-3000:]
    assert "has not answered" in said or "connection" in said, said[-3000:]
    assert "pcclip resume" in said
    assert seconds < patience + 45
    assert torch.load(checkpoint, weights_only=True)["global_step"] >= 20
