"""Bank building against a plain open_clip loop: pictures per second and peak memory, in turns.

Usage: python tests/benchmarks/bank.py FOLDER_OF_JPEGS [--model NAME] [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=["ours", "plain"])
    parser.add_argument("--shards", type=Path)
    arguments = parser.parse_args()
    count = len(list(arguments.pictures.glob("*.jpg")))
    if arguments.one == "ours":
        ours(arguments.shards, arguments.model, count)
    elif arguments.one == "plain":
        plain(arguments.pictures, arguments.model, count)
    else:
        compare(arguments, count)


def compare(arguments: argparse.Namespace, count: int) -> None:
    from pcclip.data.records import Picture
    from pcclip.data.writer import ShardSetWriter

    with tempfile.TemporaryDirectory() as folder:
        with ShardSetWriter(Path(folder) / "set", "pictures", 100) as writer:
            for file in sorted(arguments.pictures.glob("*.jpg")):
                writer.write_picture(Picture(file.stem, file.read_bytes()))
        for _ in range(arguments.rounds):
            for one in ("plain", "ours"):
                command = [
                    sys.executable,
                    __file__,
                    str(arguments.pictures),
                    "--model",
                    arguments.model,
                    "--one",
                    one,
                ]
                command += ["--shards", f"{folder}/set"]
                print(
                    one,
                    subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(),
                    flush=True,
                )


if __name__ == "__main__":
    main()
