"""Trains a small diffusion model that paints the shapes world, in minutes on a processor.

    python -m pcclip.demos.painter --out runs/shapes-painter

It is told what to paint by embeddings of the base model: of captions, of the picture itself, and between
them. OUT is in diffusers' format (unet/, scheduler/), with the measures of the joint space in
condition.safetensors; OUT/painter.json says how it was made. A training that was stopped goes on in OUT.part.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from pcclip.data.files import write_atomically
from pcclip.data.locks import only_one
from pcclip.data.sources.shapes_drawing import BACKGROUNDS
from pcclip.demos.painter.generator import ABOUT, CONDITION, SCHEDULER, UNET
from pcclip.demos.painter.network import Condition, make_scheduler, make_unet
from pcclip.demos.painter.pictures import FewShapes, Lessons, draw_lessons
from pcclip.demos.painter.training import Plan, fit
from pcclip.errors import PcclipError
from pcclip.model.towers import Towers, load_towers

_WORLD = 2000  # seed of its pictures; the demo's have 0


def train(
    model: str = "local-dir:runs/shapes-pretrain/seed0/model",
    out: str = "runs/shapes-painter",
    seed: int = 0,
    numbers: tuple[int, ...] = (1,),
    backgrounds: tuple[str, ...] = ("plain",),
    pictures: int = 10_000,
    steps: int = 9000,
    batch: int = 32,
    channels: tuple[int, ...] = (32, 64, 128),
    learning_rate: float = 2e-3,
    unconditional: float = 0.1,
    noise: float = 0.2,
    average: float = 0.998,
    checkpoint_every: int = 100,
    progress: bool = True,
) -> None:
    """Trains the painter; stopped, it goes on where it was, and a finished one is left alone.

    Args:
        model: The base model, as open_clip or pcclip names models.
        out: Folder to make.
        seed: Of pictures, weights and order.
        numbers: How many shapes a picture may have. The whole world (1 to 4, all backgrounds) takes longer.
        backgrounds: What may be behind them.
        pictures: How many it learns from.
        steps: Optimiser steps.
        batch: Pictures a step.
        channels: Of the UNet's levels, the finest first.
        learning_rate: Largest one; it rises over the first steps, then falls along a cosine.
        unconditional: Share of pictures without a condition, for guidance.
        noise: Length of the noise on an embedding at most; embeddings have length 1.
        average: Decay of the weights' moving average.
        checkpoint_every: Steps after which what is done is kept.
        progress: Show progress.

    Raises:
        PcclipError: `out` holds, or was begun as, a painter of other settings or of another base model.
    """
    settings = json.loads(
        json.dumps({k: v for k, v in locals().items() if k not in ("out", "checkpoint_every", "progress")})
    )
    folder, part = Path(out), Path(f"{out}.part")
    if unknown := sorted({*backgrounds} - {*BACKGROUNDS}):
        raise PcclipError(
            f"painter: no background is called {unknown[0]!r}; there are {', '.join(BACKGROUNDS)}."
        )
    with only_one(Path(f"{out}.lock"), f"training {out}"):
        if (folder / ABOUT).exists():
            _same(folder / ABOUT, settings)
            print(f"{out}: already made; delete the folder to make it again")
            return
        towers = load_towers(model)
        about = {"settings": settings, "model": model, "image_fingerprint": towers.image_fingerprint()}
        part.mkdir(parents=True, exist_ok=True)
        if (part / ABOUT).exists():
            _same(part / ABOUT, settings)
        write_atomically(part / ABOUT, json.dumps(about, indent=1).encode())
        world = FewShapes(
            _WORLD + seed, pictures, 2, 2, captions=4, numbers=tuple(numbers), backgrounds=tuple(backgrounds)
        )
        lessons = _lessons(part / "lessons.safetensors", towers, world, progress)
        plan = Plan(steps, batch, learning_rate, unconditional, noise, average, seed)
        unet, condition, told = _trained(lessons, plan, tuple(channels), part, checkpoint_every, progress)
        _save(folder, part, unet, condition, about | {"training": told})


def _trained(
    lessons: Lessons, plan: Plan, channels: tuple[int, ...], part: Path, checkpoint_every: int, progress: bool
) -> tuple[UNet2DConditionModel, Condition, dict[str, Any]]:
    """The trained network, what it is told, and what the training took."""
    start, used = time.perf_counter(), time.process_time()
    torch.manual_seed(plan.seed)
    condition = Condition.of(lessons)
    unet = make_unet(lessons.images.shape[1], channels)
    first = fit(unet, condition, lessons, plan, part / "checkpoint.pt", checkpoint_every, progress)
    told = {
        **asdict(plan),
        "parameters": sum(parameter.numel() for parameter in unet.parameters()),
        "from_step": first,
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
        "threads": torch.get_num_threads(),
    }
    return unet, condition, told


def _lessons(path: Path, towers: Towers, world: FewShapes, progress: bool) -> Lessons:
    if not path.exists():
        draw_lessons(towers, world, progress).save(path)
    return Lessons.load(path)


def _save(folder: Path, part: Path, unet: Any, condition: Condition, about: dict[str, Any]) -> None:
    """Makes the folder, whole or not at all, and removes what it was made from."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    unet.save_pretrained(partial / UNET)
    make_scheduler().save_pretrained(partial / SCHEDULER)
    save_file(dict(condition.state_dict()), partial / CONDITION)
    (partial / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, folder)
    shutil.rmtree(part)
    told = about["training"]
    print(
        f"{folder}: {told['parameters']:,} parameters, {told['seconds']:.0f} s, "
        f"{told['cpu_seconds']:.0f} s of CPU"
    )


def _same(path: Path, settings: dict[str, Any]) -> None:
    """Refuses a folder of other settings."""
    try:
        theirs = json.loads(path.read_bytes())["settings"]
    except (OSError, ValueError, KeyError) as error:
        raise PcclipError(
            f"{path}: cannot be read ({error!r}). Give another 'out', or delete its folder."
        ) from error
    if odd := [name for name in settings | theirs if settings.get(name) != theirs.get(name)]:
        raise PcclipError(
            f"{path.parent}: begun with another {odd[0]!r} ({theirs.get(odd[0])!r}, now "
            f"{settings.get(odd[0])!r}). Give another 'out', or delete the folder."
        )


if __name__ == "__main__":
    from pcclip.demos import command

    command(train)
