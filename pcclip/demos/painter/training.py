"""The painter's training: a step's chance depends on its number only, so that a stopped one goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.nn import functional as F

from pcclip.data.progress import progress_bar
from pcclip.demos.painter.network import Condition, fold, make_scheduler, predict
from pcclip.demos.painter.pictures import Lessons
from pcclip.geometry import unit
from pcclip.precision import machine_precision

_WARM_UP = 0.05
_BLENDED = 3  # captions of a picture at most in one condition


@dataclass(frozen=True)
class Plan:
    """How it is trained.

    Args:
        steps: Optimiser steps.
        batch: Pictures a step.
        learning_rate: Largest one; it rises over the first steps, then falls along a cosine.
        unconditional: Share of pictures without a condition, for guidance.
        noise: Length of the noise on an embedding at most; embeddings have length 1.
        average: Decay of the weights' moving average.
        seed: Of everything drawn by chance.
    """

    steps: int
    batch: int
    learning_rate: float
    unconditional: float
    noise: float
    average: float
    seed: int


def fit(
    unet: UNet2DConditionModel,
    condition: Condition,
    lessons: Lessons,
    plan: Plan,
    checkpoint: Path,
    checkpoint_every: int = 100,
    progress: bool = True,
) -> int:
    """Trains a UNet in place; it ends with the moving average of its weights.

    Args:
        unet: With random weights.
        condition: What it is told.
        lessons: What it learns from.
        plan: How.
        checkpoint: File that is written now and then; if it is there, training goes on from it.
        checkpoint_every: Steps from one to the next.
        progress: Show progress.

    Returns:
        The step that it began or went on from.
    """
    unet.train()
    unet.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(unet.parameters(), plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.learning_rate, total_steps=plan.steps + 1, pct_start=_WARM_UP, cycle_momentum=False
    )
    average = EMAModel(unet.parameters(), decay=plan.average, use_ema_warmup=True, power=0.75)
    parts: dict[str, Any] = {"unet": unet, "optimizer": optimizer, "schedule": schedule, "average": average}
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        first = saved["step"]
        for name, part in parts.items():
            part.load_state_dict(saved[name])
    with progress_bar(progress) as bar:
        task = bar.add_task("painter: steps", total=plan.steps, completed=first)
        for step in range(first, plan.steps):
            loss = _loss(unet, condition, lessons, plan, step)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            average.step(unet.parameters())
            bar.update(task, advance=1, description=f"painter: loss {loss.item():.3f}, steps")
            if (step + 1) % checkpoint_every == 0:
                state = {name: part.state_dict() for name, part in parts.items()}
                write_checkpoint(checkpoint, {"step": step + 1, **state})
    average.copy_to(unet.parameters())
    unet.eval()
    return first


def _loss(
    unet: UNet2DConditionModel, condition: Condition, lessons: Lessons, plan: Plan, step: int
) -> Tensor:
    """Mean squared error of the velocity."""
    chance = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
    rows = torch.randint(len(lessons.pixels), (plan.batch,), generator=chance)
    conditions = condition(blend(lessons, condition, rows, plan.noise, chance))
    conditions[torch.rand(plan.batch, generator=chance) < plan.unconditional] = 0
    clean = fold(lessons.pixels[rows])
    noise = torch.randn(clean.shape, generator=chance)
    # One time in each of as many equal parts of the schedule: less chance in the loss.
    scheduler = make_scheduler()
    total = scheduler.config["num_train_timesteps"]
    times = (torch.arange(plan.batch) + torch.rand(plan.batch, generator=chance)) / plan.batch * total
    noisy = scheduler.add_noise(clean, noise, times.long())
    target = scheduler.get_velocity(clean, noise, times.long())
    with torch.autocast("cpu", torch.bfloat16, enabled=machine_precision() == "bf16-mixed"):
        predicted = predict(
            unet, noisy.contiguous(memory_format=torch.channels_last), times.long(), conditions
        )
    return F.mse_loss(predicted, target)


def blend(
    lessons: Lessons, condition: Condition, rows: Tensor, noise: float, chance: torch.Generator
) -> Tensor:
    """Embeddings that pictures are painted by: of captions, of the picture itself, or between them.

    So the painter knows what lies between and around the captions' embeddings, where arithmetic leads.

    Args:
        lessons: Where from.
        condition: Its means say how pictures' embeddings are moved to where texts lie.
        rows: (B,) which pictures.
        noise: Length of the added noise at most.
        chance: Random numbers.

    Returns:
        (B, D) unit embeddings.
    """
    count = len(rows)
    known = lessons.captions[rows]
    chosen = torch.rand(known.shape, generator=chance).argsort(1)[:, :_BLENDED]
    texts = lessons.texts[known.gather(1, chosen)]
    image = lessons.images[rows] - condition.image_mean + condition.text_mean
    parts = torch.cat([texts, image[:, None]], 1)
    # Uneven shares: exponential numbers to the third power leave mostly one or two parts that count.
    shares = torch.empty(count, parts.shape[1]).exponential_(generator=chance) ** 3
    alone = torch.rand(count, generator=chance) < 0.5  # half the time one caption, as it will be asked
    shares[alone] = torch.tensor([1.0] + [0.0] * (parts.shape[1] - 1))
    mixed = unit((shares[:, :, None] / shares.sum(1)[:, None, None] * parts).sum(1))
    directions = unit(torch.randn(mixed.shape, generator=chance))
    lengths = noise * torch.rand(count, 1, generator=chance)
    return unit(mixed + lengths * directions)


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes what a training goes on from, whole or not at all."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)
