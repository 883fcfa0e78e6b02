"""Seconds of an evaluation and of a bank by one process and by several.

`python -m tests.benchmarks.processes SET`: SET is a folder made by `pcclip prepare` (its test pictures are
taken). ViT-B-32, random weights, one thread a process, on the CPU. Prints whether all have the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.launching import torchrun


def sample(data: Path, pictures: int, out: Path) -> None:
    """A set of the first test pictures."""
    from pcclip.data.records import Picture
    from pcclip.data.shards import ShardIndex, ShardSetWriter, resolve_shards

    with ShardSetWriter(out / "pictures/test", kind="pictures", records_per_shard=500) as writer:
        left = pictures
        for path in resolve_shards(str(data / "pictures/test")):
            index = ShardIndex.load(path)
            for record in range(min(left, len(index))):
                writer.write_picture(Picture.parse(index.key(record), index.read_record(record), path))
            left -= min(left, len(index))
    shutil.copyfile(data / "evaluation.json", out / "evaluation.json")


def save_model(folder: Path, name: str) -> None:
    import torch

    from pcclip.model.checkpoint import save_folder
    from pcclip.model.towers import load_towers

    torch.manual_seed(0)
    save_folder(load_towers(name, random_init=True), folder)


def digest(folder: Path) -> str:
    files = [f for f in sorted(folder.rglob("*")) if f.suffix in (".npz", ".npy", ".bin")]
    joined = b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)
    return f"{len(files)} files {hashlib.sha256(joined).hexdigest()[:12]}"


@contextmanager
def timed(found: list[float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    found.append(time.perf_counter() - started)


def shared_memory(bank: Path, processes: int = 4, gigabytes: float = 1.0) -> str:
    """Memory of processes that read a whole bank of random rows: of each, and of it what is their own."""
    script = Path(__file__).with_name("bank_reader.py")
    words = [sys.executable, str(script), str(bank), str(gigabytes)]
    subprocess.run([*words, "make"], check=True)
    readers = [
        subprocess.Popen([*words, "read"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    lines = []
    for reader in readers:
        assert reader.stdout is not None
        reader.stdout.readline()  # it has read all
    for reader in readers:
        lines.append(reader.communicate("report\n")[0].strip())
    return "\n".join(lines)


def main(
    data: Path,
    pictures: int = 2000,
    processes: list[int] | None = None,
    model: str = "ViT-B-32",
    memory: bool = True,
) -> None:
    """Measures.

    Args:
        data: Folder made by `pcclip prepare`.
        pictures: How many of its test pictures.
        processes: Numbers of processes.
        model: Architecture.
        memory: Measure the memory of four readers of a bank of 1 GB, too.
    """
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        sample(data, pictures, place / "data")
        save_model(place / "model", model)
        names = ("zero_shot.ZeroShot", "difference.DifferenceClassification", "retrieval.Retrieval")
        protocols = [{"class_path": f"pcclip.evaluation.protocols.{name}"} for name in names]
        for number in processes or [1, 2]:
            out = place / str(number)
            suite = {
                "suite": "bench",
                "evaluations": [{"data": str(place / "data"), "protocols": protocols}],
                "models": [{"name": f"local-dir:{place / 'model'}", "label": "model"}],
                "out": str(out / "results"),
                "cache_dir": str(out / "cache"),
            }
            (place / "suite.json").write_text(json.dumps(suite))
            bank = ("bank", f"--pictures={place}/data/pictures/test", f"--out={out}/bank", "--num_workers=1")
            seconds: list[float] = []
            for words in (
                ("evaluate", f"--config={place}/suite.json"),
                (*bank, f"--name=local-dir:{place}/model"),
            ):
                with timed(seconds):
                    done = torchrun(number, "-m", "pcclip", *words, seconds=3600)
                assert done.returncode == 0, done.stderr[-2000:]
            print(
                f"{number} processes, {pictures} pictures: evaluate {seconds[0]:.1f} s, "
                f"bank {seconds[1]:.1f} s; "
                f"results {digest(out / 'results')}, embeddings {digest(out / 'cache')}, "
                f"bank {digest(out / 'bank')}",
                flush=True,
            )
        if memory:
            print(shared_memory(place / "large"))


if __name__ == "__main__":
    from jsonargparse import auto_cli

    auto_cli(main)
