"""A rank that dies, hangs or is asked to stop: the others stop too, soon, and say why; resume goes on."""

import signal
import time
from pathlib import Path

import psutil
import pytest
import torch

from pcclip.cli import main
from tests.faults.rank_world import full, make, ranks_of, start

TORCHRUN = ["-m", "torch.distributed.run", "--standalone"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make(tmp_path_factory.mktemp("ranks"))


def fit(world: Path, version: str, ranks: int, torchrun: bool, strategy: str, *more: str):
    """A fit that does not end by itself, past its first checkpoints."""
    launcher = [*TORCHRUN, f"--nproc-per-node={ranks}", "-m"] if torchrun else ["-m"]
    words = [
        f"--config={world / 'fit.yaml'}",
        f"--runs={world / 'runs'}",
        "--experiment=die",
        f"--version={version}",
    ]
    words += [
        f"--trainer.devices={ranks}",
        f"--trainer.strategy={strategy}",
        f"--data.batch_size={16 // ranks}",
    ]
    words += [
        "--trainer.max_steps=100000",
        "--checkpoint.every_n_train_steps=10",
        "--data.num_workers=1",
        *more,
    ]
    started = start([*launcher, "pcclip", "fit", *words], world, world / f"{version}.log")
    checkpoint = world / "runs/die" / version / "checkpoints/last.ckpt"
    deadline = time.monotonic() + 300
    while not checkpoint.exists() and started.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert checkpoint.exists(), (world / f"{version}.log").read_text()[-3000:]
    return started, checkpoint


def all_of(started) -> list[psutil.Process]:
    return [psutil.Process(started.pid), *psutil.Process(started.pid).children(recursive=True)]


def wait(processes, seconds: float):
    """Those that still live after so long; ended here, so that nothing stays behind."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    left = [one.cmdline() for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    for one in alive:
        one.kill()
    return left


@pytest.mark.parametrize(
    ("ranks", "torchrun", "victim", "strategy"),
    [
        (2, False, 1, "ddp"),
        pytest.param(2, False, 0, "ddp", marks=full),
        pytest.param(4, False, 2, "ddp", marks=full),
        pytest.param(2, True, 1, "ddp", marks=full),
        pytest.param(4, True, 0, "ddp", marks=full),
        pytest.param(4, True, 3, "fsdp2", marks=full),
    ],
)
def test_where_a_rank_is_killed_the_others_say_so_and_stop(world, ranks, torchrun, victim, strategy):
    version = f"killed-{ranks}-{torchrun}-{victim}-{strategy}"
    started, checkpoint = fit(world, version, ranks, torchrun, strategy)
    processes = all_of(started)
    ranks_of(started)[victim].kill()
    assert wait(processes, 60) == [], "somebody lives on"
    assert processes[0].wait(1) not in (0, None)  # psutil has taken its status: Popen would say 0
    said = (world / f"{version}.log").read_text()
    lines = [line for line in said.splitlines() if "pcclip resume" in line]
    assert any(f"rank {victim} (process" in line and "ended" in line for line in lines), said[-3000:]
    step = torch.load(checkpoint, weights_only=True)["global_step"]
    assert step >= 10
    run = checkpoint.parents[1]
    # Over one process now, in the folder of this test's own files.
    words = ["--trainer.devices=1", "--trainer.strategy=auto", "--data.batch_size=16"]
    words += [f"--trainer.max_steps={step + 2}", "--data.num_workers=0", f"--data.bank={world}/cache/bank"]
    assert main(["resume", str(run), *words]) == 0
    assert torch.load(checkpoint, weights_only=True)["global_step"] == step + 2


@full
@pytest.mark.parametrize(("torchrun", "victim"), [(False, 1), (False, 0), (True, 1)])
def test_where_a_rank_hangs_the_others_name_it_and_stop(world, torchrun, victim):
    patience = 10
    version = f"hangs-{torchrun}-{victim}"
    started, checkpoint = fit(world, version, 2, torchrun, "ddp", f"--ranks.patience={patience}")
    processes, ranks = all_of(started), ranks_of(started)
    ranks[victim].send_signal(signal.SIGSTOP)
    stopped = {ranks[victim], *ranks[victim].children(recursive=True)}
    for rank in ranks.keys() - {victim}:  # children of the first one, where that started them
        stopped -= {ranks[rank], *ranks[rank].children(recursive=True)}
    others = [one for one in processes if one not in stopped]
    try:
        # torchrun gives a process that does not hear SIGTERM another 30 s.
        assert wait(others, patience + (45 if torchrun else 15)) == [], "somebody lives on"
    finally:
        if ranks[victim].is_running():
            workers = ranks[victim].children(recursive=True)
            for one in (ranks[victim], *workers):
                one.kill()
    said = (world / f"{version}.log").read_text()
    named = f"rank {victim} (process" if victim else "the first rank (process"
    assert any(named in line and "pcclip resume" in line for line in said.splitlines()), said[-3000:]
    assert torch.load(checkpoint, weights_only=True)["global_step"] >= 10


@full
@pytest.mark.parametrize(
    ("torchrun", "victim", "strategy"), [(False, 1, "ddp"), (False, 0, "fsdp2"), (True, 1, "ddp")]
)
def test_where_one_rank_is_asked_to_stop_all_stop_after_the_same_step(world, torchrun, victim, strategy):
    version = f"asked-{torchrun}-{victim}-{strategy}"
    started, checkpoint = fit(world, version, 2, torchrun, strategy)
    before = torch.load(checkpoint, weights_only=True)["global_step"]
    processes = all_of(started)
    ranks_of(started)[victim].terminate()
    assert wait(processes, 30) == []
    said = (world / f"{version}.log").read_text()
    assert "stopped by SIGTERM; the run is saved" in said, said[-3000:]
    assert torch.load(checkpoint, weights_only=True)["global_step"] >= before
