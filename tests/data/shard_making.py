"""Small sets for the tests of this folder, and processes to kill."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from pcclip.data.records import Picture, Triple
from pcclip.data.shards import ShardSetWriter


def jpeg(seed: int, size: int = 24) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def triple(i: int, **changes: object) -> Triple:
    fields = {
        "key": f"t{i:04d}",
        "image1": f"p{i:04d}",
        "image2": f"p{i + 1:04d}",
        "difference": f"the first picture shows {i % 7} objects more",
        "source": {"writer": "rules", "score": 0.5},
    }
    return Triple(**(fields | changes))  # type: ignore[arg-type]


def picture(i: int, **changes: object) -> Picture:
    fields = {
        "key": f"p{i:04d}",
        "image": jpeg(i),
        "caption": f"a picture of {i % 5} things",
        "class_name": f"class{i % 3}",
        "attributes": {"size": float(i), "colour": "red"},
        "captions": (f"a picture of {i % 5} things", "noise"),
    }
    return Picture(**(fields | changes))  # type: ignore[arg-type]


def write_triples(folder: Path, count: int = 25, per_shard: int = 10, pixels: bool = False) -> Path:
    with ShardSetWriter(folder, "triples", per_shard, {"made": "by a test"}) as writer:
        for i in range(count):
            writer.write_triple(triple(i), *((jpeg(i), jpeg(i + 1)) if pixels else ()))
    return folder


def write_pictures(folder: Path, count: int = 26, per_shard: int = 10) -> Path:
    with ShardSetWriter(folder, "pictures", per_shard) as writer:
        for i in range(count):
            writer.write_picture(picture(i))
    return folder


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts a Python process in this folder, one thread, its output on a pipe."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
