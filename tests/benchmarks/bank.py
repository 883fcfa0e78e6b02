"""Bank building against a plain open_clip loop: pictures per second and peak memory, in turns.

Each measurement is a process of its own, so that peak memory is its own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BATCH = 32


def ours(shards: Path, model_name: str, count: int, device: str) -> None:
    import open_clip

    from pcclip.data.bank import build_bank
    from pcclip.data.sets import resolve_shards

    model, _, preprocess = open_clip.create_model_and_transforms(model_name, device=device)
    model.eval()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        dim = model.visual.output_dim
        paths = resolve_shards(shards)
        build_bank(
            Path(folder) / "bank",
            paths,
            preprocess,
            lambda pixels: model.encode_image(pixels.to(device)),
            "benchmark",
            dim,
            BATCH,
            _workers(),
            progress=False,
        )
        report(count, start)


def plain(pictures: Path, model_name: str, count: int, device: str) -> None:
    import open_clip
    import torch
    from PIL import Image

    class Files(torch.utils.data.Dataset):
        def __init__(self, preprocess) -> None:
            self.files = sorted(pictures.glob("*.jpg"))[:count]
            self.preprocess = preprocess

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, i: int):
            return self.preprocess(Image.open(self.files[i]).convert("RGB"))

    model, _, preprocess = open_clip.create_model_and_transforms(model_name, device=device)
    model.eval()
    start = time.perf_counter()
    loader = torch.utils.data.DataLoader(Files(preprocess), BATCH, num_workers=_workers())
    with torch.no_grad():
        rows = [model.encode_image(pixels.to(device), normalize=True).cpu() for pixels in loader]
    torch.cat(rows)
    report(count, start)


def report(count: int, start: float) -> None:
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"pictures/s": count / seconds, "peak MiB": peak}))


def draw_photos(folder: Path, count: int = 192) -> Path:
    """JPEG files of 640 x 480, as large and as hard to decode as photos."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC), np.int16)
        grain = rng.integers(-12, 12, smooth.shape)
        picture = Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))
        picture.save(folder / f"{number:05d}.jpg", quality=90)
    return folder


def bench_bank(table: Any, pictures: Path | None, model: str, repeats: int, device: str = "cpu") -> None:
    """Rows for a `Report`: the two ways take turns at going first."""
    from pcclip.data.records import Picture
    from pcclip.data.shards import ShardSetWriter
    from tests.benchmarks.report import Measured

    measured: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
    with tempfile.TemporaryDirectory() as folder:
        files = pictures or draw_photos(Path(folder) / "photos")
        with ShardSetWriter(Path(folder) / "set", "pictures", 100) as writer:
            for file in sorted(files.glob("*.jpg")):
                writer.write_picture(Picture(file.stem, file.read_bytes()))
        for number in range(repeats):
            for one in ("ours", "plain") if number % 2 else ("plain", "ours"):
                words = [sys.executable, __file__, one, str(files), f"{folder}/set", model, device]
                done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
                measured[one].append(json.loads(done.stdout))
    for title, what in (("bank", "pictures/s"), ("peak memory, bank", "peak MiB")):
        mine, theirs = (Measured.of([found[what] for found in measured[way]]) for way in ("ours", "plain"))
        table.add(f"{title}, {model}", what.removeprefix("peak "), ours=mine, open_clip=theirs)


def _workers() -> int:
    return max(2, len(os.sched_getaffinity(0)))


if __name__ == "__main__":
    kind, folder_of_files, folder_of_shards, name, place = sys.argv[1:]
    number_of_files = len(list(Path(folder_of_files).glob("*.jpg")))
    if kind == "ours":
        ours(Path(folder_of_shards), name, number_of_files, place)
    else:
        plain(Path(folder_of_files), name, number_of_files, place)
