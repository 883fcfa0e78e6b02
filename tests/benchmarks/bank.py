"""Bank building against a plain open_clip loop: pictures per second and peak memory, in turns.

Each measurement is a process of its own, so that peak memory is its own.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BATCH, WORKERS = 32, 2


def ours(shards: Path, model_name: str, count: int) -> None:
    import open_clip

    from pcclip.data.bank import build_bank
    from pcclip.data.sets import resolve_shards

    model, _, preprocess = open_clip.create_model_and_transforms(model_name)
    model.eval()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        dim = model.visual.output_dim
        paths = resolve_shards(shards)
        build_bank(
            Path(folder) / "bank",
            paths,
            preprocess,
            model.encode_image,
            "benchmark",
            dim,
            BATCH,
            WORKERS,
            progress=False,
        )
        report(count, start)


def plain(pictures: Path, model_name: str, count: int) -> None:
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

    model, _, preprocess = open_clip.create_model_and_transforms(model_name)
    model.eval()
    start = time.perf_counter()
    loader = torch.utils.data.DataLoader(Files(preprocess), BATCH, num_workers=WORKERS)
    with torch.no_grad():
        rows = [torch.nn.functional.normalize(model.encode_image(pixels), dim=-1) for pixels in loader]
    torch.cat(rows)
    report(count, start)


def report(count: int, start: float) -> None:
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(json.dumps({"pictures/s": count / seconds, "peak MB": peak, "peak MB of a worker": workers}))


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


def bench_bank(pictures: Path | None, model: str, rounds: int) -> dict[str, dict[str, Any]]:
    """Rows of the table of `make bench`: medians over rounds, the two taking turns at going first."""
    from pcclip.data.records import Picture
    from pcclip.data.writer import ShardSetWriter

    measured: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
    with tempfile.TemporaryDirectory() as folder:
        files = pictures or draw_photos(Path(folder) / "photos")
        with ShardSetWriter(Path(folder) / "set", "pictures", 100) as writer:
            for file in sorted(files.glob("*.jpg")):
                writer.write_picture(Picture(file.stem, file.read_bytes()))
        for number in range(rounds):
            for one in ("ours", "plain") if number % 2 else ("plain", "ours"):
                words = [sys.executable, __file__, one, str(files), f"{folder}/set", model]
                done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
                measured[one].append(json.loads(done.stdout))

    def median(one: str, what: str) -> float:
        return round(statistics.median(m[what] for m in measured[one]), 1)

    rows = {}
    for name, what, unit in (("", "pictures/s", "1/s"), (" peak memory", "peak MB", "MB")):
        mine, theirs = median("ours", what), median("plain", what)
        rows[f"bank/{model}{name}"] = {
            "ours": mine,
            "baseline": theirs,
            "ratio": round(mine / theirs, 2),
            "unit": unit,
        }
    return rows


if __name__ == "__main__":
    kind, folder_of_files, folder_of_shards, name = sys.argv[1:]
    number_of_files = len(list(Path(folder_of_files).glob("*.jpg")))
    if kind == "ours":
        ours(Path(folder_of_shards), name, number_of_files)
    else:
        plain(Path(folder_of_files), name, number_of_files)
