"""The launch files of `experiments/cluster`: their headers' commands parse, and they start real fits."""

import os
import shlex
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pcclip.cli import main
from tests.faults.rank_world import full, make, start, trained

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "experiments/cluster").iterdir())
# What srun does for two tasks of a job on one node.
SRUN = """#!/bin/bash
shift
for task in 0 1; do SLURM_PROCID=$task SLURM_LOCALID=$task SLURM_NODEID=0 "$@" & tasks[$task]=$!; done
wait "${tasks[1]}"; wait "${tasks[0]}"
"""


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.name)
def test_they_are_sound_shell(file):
    assert subprocess.run(["bash", "-n", file], check=False).returncode == 0
    if shutil.which("shellcheck"):
        checked = subprocess.run(["shellcheck", file], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.name)
def test_the_command_of_the_header_parses(file, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    header = "\n".join(
        line.removeprefix("#") for line in file.read_text().splitlines() if line.startswith("#")
    )
    (told,) = [line for line in header.replace("\\\n", " ").splitlines() if line.strip().startswith("RUN=")]
    words = shlex.split(told)
    assert str(file.relative_to(ROOT)) in words
    with pytest.raises(SystemExit) as ended:
        main(["fit", *words[words.index(str(file.relative_to(ROOT))) + 1 :], "--print_config"])
    assert ended.value.code == 0, capsys.readouterr().err


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make(tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="module")
def alone(world):
    words = [
        f"--config={world / 'fit.yaml'}",
        f"--runs={world / 'runs'}",
        "--experiment=c",
        "--version=alone",
    ]
    assert start(["-m", "pcclip", "fit", *words], world, world / "alone.log").wait(300) == 0
    return trained(world / "runs/c/alone")


def launch(world: Path, version: str, command: list[str], **more: str) -> Path:
    run = world / "runs/c" / version
    environment = {**os.environ, "RUN": str(run), "GLOBAL_BATCH": "16", "PYTHON": sys.executable, **more}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    words = [*command, f"--config={world / 'fit.yaml'}", "--trainer.strategy=ddp"]
    done = subprocess.run(words, env=environment, cwd=world, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return run


def same(run: Path, alone) -> bool:
    mine = trained(run)
    return all(torch.allclose(mine[name], weight, rtol=0, atol=1e-5) for name, weight in alone.items())


@full
@pytest.mark.slow
def test_torchrun_starts_four_processes_and_goes_on(world, alone, free_port):
    head = f"127.0.0.1:{free_port}"
    command = [str(ROOT / "experiments/cluster/torchrun.sh"), "--trainer.max_steps=6"]
    run = launch(world, "four", command, PROCESSES="4", HEAD=head)
    # The same words again go on; to where, is in the run's own configuration.
    config = (run / "config.yaml").read_text()
    assert "max_steps: 6" in config
    (run / "config.yaml").write_text(config.replace("max_steps: 6", "max_steps: 12"))
    launch(world, "four", command, PROCESSES="4", HEAD=head)
    assert same(run, alone)


@full
@pytest.mark.slow
def test_the_sbatch_file_starts_its_tasks(world, alone, free_port, tmp_path):
    srun = tmp_path / "srun"
    srun.write_text(SRUN)
    srun.chmod(srun.stat().st_mode | stat.S_IXUSR)
    slurm = {"JOB_ID": "17", "NTASKS": "2", "NTASKS_PER_NODE": "2", "NNODES": "1", "JOB_NAME": "pcclip"}
    slurm |= {"NODELIST": socket.gethostname()}
    words = {f"SLURM_{name}": value for name, value in slurm.items()}
    words |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "MASTER_PORT": str(free_port)}
    command = ["bash", str(ROOT / "experiments/cluster/slurm.sbatch")]
    assert same(launch(world, "slurm", command, MASTER_ADDR="127.0.0.1", **words), alone)
