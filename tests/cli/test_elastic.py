"""A run that goes on with other ranks and workers sees the samples that it would have seen, and no others."""

import os
import subprocess
from pathlib import Path

import pytest
from fitting import command, fit_words, losses
from ranked import full
from recording import recorded

from pcclip.cli import main

STEPS = 24  # an epoch has 18 steps, one of the captions 12


def words(place: Path, version: str, *more: str) -> list[str]:
    return fit_words(
        place,
        version,
        f"--data.captions={place / 'data/pictures/train'}",
        f"--data.bank={place / 'banks' / version}",  # built on the way, by all ranks together
        "--model.caption_objective=pcclip.objective.CaptionInfoNCE",
        # Plain SGD: Adam would blow rounding up where a gradient is zero.
        "--model.optimizer=torch.optim.SGD",
        "--model.optimizer.lr=0.1",
        "--model.lr_scheduler=null",
        f"--trainer.max_steps={STEPS}",
        "--trainer.limit_val_batches=0",
        "--checkpoint.every_n_train_steps=4",
        "--trainer.callbacks=recording.Recording",
        *more,
    )


def ranks(number: int, folder: Path, workers: int, *more: str) -> list[str]:
    return [
        f"--trainer.devices={number}",
        "--trainer.strategy=ddp",
        f"--data.batch_size={16 // number}",
        f"--data.num_workers={workers}",
        f"--trainer.callbacks.folder={folder}",
        *more,
    ]


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([os.getcwd(), str(Path(__file__).parent)])
    settings = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": paths}
    return subprocess.run(
        command(Path(), *arguments),
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=500,
        start_new_session=True,  # the signal is for its group
        check=False,
    )


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> tuple[dict, Path]:
    """Keys by (epoch, batch) of a run that nobody stopped, of one process and one worker; its folder."""
    folder = place / "keys/undisturbed"
    assert main(words(place, "undisturbed", f"--trainer.callbacks.folder={folder}")) == 0
    return recorded(folder), place / "runs/small/undisturbed"


def check(found: list[dict], run: Path, undisturbed: tuple[dict, Path]) -> None:
    expected, whole = undisturbed
    assert len(expected) == STEPS
    assert {epoch for epoch, _ in expected} == {0, 1}
    for part in found:
        assert part == {at: expected[at] for at in part}
    assert set().union(*found) == set(expected)
    ours, theirs = losses(run), losses(whole)
    assert ours == pytest.approx({step: theirs[step] for step in ours}, abs=1e-5)
    assert max(ours) == STEPS - 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "chain"),
    [
        ("SIGKILL", [2, 1]),
        pytest.param("SIGKILL", [4, 2, 1], marks=full),
        pytest.param("SIGTERM", [4, 2, 1], marks=full),
    ],
)
def test_a_run_goes_on_with_ever_fewer_ranks(place, undisturbed, how, chain):
    version = f"elastic-{how}-{len(chain)}"
    run, keys = place / "runs/small" / version, place / "keys" / version
    stops, workers = [9, 19], [0, 3, 1]
    for turn, number in enumerate(chain):
        last = turn == len(chain) - 1
        more = [f"--trainer.callbacks.stop_at={-1 if last else stops[turn]}"]
        more += [f"--trainer.callbacks.how={'SIGKILL' if turn else how}"]
        more = ranks(number, keys / str(number), workers[turn], *more)
        # Also the last one, of one rank, is a process of its own: Lightning leaves its group and port behind.
        done = start(*(["resume", str(run), *more] if turn else words(place, version, *more)))
        assert (done.returncode == 0) == last, done.stderr[-2000:]
    found = [recorded(keys / str(number)) for number in chain]
    starts = [min(epoch * 18 + batch for epoch, batch in part) for part in found]
    # After SIGKILL from the last checkpoint, after SIGTERM from where it was.
    assert starts == [0, 8 if how == "SIGKILL" else len(found[0]), 16][: len(chain)]
    check(found, run, undisturbed)
    ours, theirs = (place / f"banks/{name}/embeddings.npy" for name in (version, "undisturbed"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_sigterm_amidst_accumulated_batches_waits_for_their_step(place):
    """Else the gradients of the first ones would be lost."""
    accumulate = ["--trainer.accumulate_grad_batches=2", "--data.batch_size=8", "--trainer.max_steps=10"]
    keys = place / "keys/accumulated"
    whole, run = (place / "runs/small" / name for name in ("accumulated", "accumulated-stopped"))
    assert main(words(place, whole.name, *accumulate, f"--trainer.callbacks.folder={keys / 'whole'}")) == 0
    stop = [f"--trainer.callbacks.folder={keys / '1'}", "--trainer.callbacks.stop_at=5"]
    done = start(*words(place, run.name, *accumulate, *stop))
    assert done.returncode == 128 + 15, done.stderr[-2000:]
    more = [f"--trainer.callbacks.folder={keys / '2'}", "--trainer.callbacks.stop_at=-1"]
    assert main(["resume", str(run), *more]) == 0
    first, second, expected = (recorded(keys / name) for name in ("1", "2", "whole"))
    assert first | second == expected
    assert (len(first), len(second)) == (12, len(expected) - 12)
    ours, theirs = losses(run), losses(whole)
    assert ours == pytest.approx({step: theirs[step] for step in ours}, abs=1e-7)


def test_accumulation_does_not_take_the_place_of_ranks(place, undisturbed, capsys):
    checkpoint = undisturbed[1] / "checkpoints/last.ckpt"
    halved = ["--data.batch_size=8", "--trainer.accumulate_grad_batches=2", f"--ckpt_path={checkpoint}"]
    folder = f"--trainer.callbacks.folder={place / 'keys/none'}"
    assert main(words(place, "halved", folder, "--trainer.max_steps=30", *halved)) == 1
    said = capsys.readouterr().err
    assert "global_batch 16, now 8" in said
    assert "gradient accumulation does not count" in said
