"""`pcclip bank`: embed a picture set once, before any fit."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from pcclip.crew import launched_crew, launched_device
from pcclip.data.bank import build_bank
from pcclip.data.remote.options import RemoteOptions
from pcclip.data.sets import resolve_shards
from pcclip.model.towers import load_towers


def bank(
    pictures: str | list[str],
    out: str,
    name: str,
    pretrained: str | None = None,
    batch_size: int = 64,
    num_workers: int = 2,
    dtype: Literal["float32", "float16"] = "float32",
    device: str | None = None,
    remote: RemoteOptions | None = None,
) -> None:
    """Embeds all pictures of a set; goes on with a bank that was interrupted.

    Started by `torchrun -m pcclip bank ...`, the processes share the work; the bank is that of a single one.

    Args:
        pictures: Folder, glob, brace pattern or URL of picture shards.
        out: Folder of the bank.
        name: Model, as in `model.name` of an experiment.
        pretrained: Weights, as in `model.pretrained`.
        batch_size: Pictures per call of the tower.
        num_workers: Processes that decode.
        dtype: Of the stored rows; float16 halves the bank.
        device: Where the tower runs; the GPU (its own for each process) if there is one.
        remote: How shards at URLs are fetched.
    """
    shards = resolve_shards(pictures, remote)  # before a model is loaded
    towers = load_towers(name, pretrained)
    place = torch.device(device or launched_device() or ("cuda" if torch.cuda.is_available() else "cpu"))
    towers.to(place)
    with launched_crew() as crew:
        made = build_bank(
            Path(out),
            shards,
            towers.preprocess,
            lambda pixels: towers.encode_images(pixels.to(place)).float(),
            towers.image_fingerprint(),
            towers.embed_dim,
            batch_size,
            num_workers,
            dtype,
            progress=crew.leads,
            crew=crew,
        )
    if crew.leads:
        print(f"{out}: {len(made):,} pictures x {made.dim} {made.dtype}, fingerprint {made.fingerprint[:16]}")
