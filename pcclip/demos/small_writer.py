"""Trains a small language model to write differences of the shapes world, in minutes on a processor.

    python -m pcclip.demos.small_writer --prompt data_recipes/prompts/shapes_captions.yaml

It learns from pictures of a seed of its own, so that it never sees the demo's pictures, and only such
differences as captions tell. OUT/model is a folder that vLLM and transformers load; OUT/texts.txt has all
differences that it was taught; OUT/writer.json says how it was made, and how many of its texts are right.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from pcclip.data.progress import progress_bar
from pcclip.data.sources.shapes import Shapes
from pcclip.demos.claims import Judgement, decisive, judge
from pcclip.demos.language_model import encode_prompts, make_model, make_tokenizer, write_texts
from pcclip.demos.lessons import SPARE_CAPTIONS, Lesson, Lessons
from pcclip.demos.packing import IGNORED, Batch, Tokens, pack
from pcclip.errors import PcclipError
from pcclip.generation.prompts import PromptTemplate
from pcclip.optim import MuonAdamW, parameter_groups
from pcclip.precision import machine_precision
from pcclip.untrusted import parse_json

MODEL, TEXTS, ABOUT = "model", "texts.txt", "writer.json"
_WORLD = 1000  # seed of its pictures; the demo's have 0
_CAPTIONS = 4  # of each picture in a question, as many as the demo's pictures have
_VOCABULARY_LESSONS = 2000
_HELD_OUT_PICTURES, _HELD_OUT = 1000, 500
_WARM_UP = 0.05


def train(
    prompt: PromptTemplate,
    out: str = "runs/shapes-writer",
    seed: int = 0,
    pictures: int = 10_000,
    steps: int = 1800,
    lessons: int = 16,
    answers: int = 8,
    width: int = 128,
    layers: int = 4,
    learning_rate: float = 5e-3,
    prompt_weight: float = 0.3,
    decisive_weight: float = 6.0,
    short_share: float = 0.75,
    progress: bool = True,
) -> None:
    """Trains the model; stopped, it begins anew, and a finished one is left alone.

    Args:
        prompt: How the writing job asks: the settings, or a YAML file with them.
        out: Folder to make.
        seed: Of pictures, lessons and weights.
        pictures: Pictures whose pairs it learns from.
        steps: Optimiser steps.
        lessons: Pairs per step.
        answers: Right answers to each pair's question.
        width: Of the model.
        layers: Of the model.
        learning_rate: Largest one; it rises over the first steps, then falls linearly.
        prompt_weight: Of the captions' own words in the loss: those of one picture repeat each other, from
            which the model learns to look things up.
        decisive_weight: Of the words that say what differs; how it is worded fills the rest of a text.
        short_share: Share of the steps over which lessons with short answers become rarer, from all to none.
            In them what must be read off the captions is not lost among a hundred ways to say it.
        progress: Show progress.

    Raises:
        PcclipError: `out` holds a model that was made otherwise.
    """
    settings = {k: v for k, v in locals().items() if k not in ("out", "progress")}
    settings["prompt"] = asdict(prompt)
    if _is_made(Path(out), settings):
        return
    start = time.perf_counter()
    torch.manual_seed(seed)
    world = Shapes(_WORLD + seed, pictures, _HELD_OUT_PICTURES, captions=_CAPTIONS + SPARE_CAPTIONS)
    drawn = Lessons(list(world.pictures("train")), prompt, answers, seed)
    school = _School(drawn, lessons, decisive_weight, prompt_weight)
    model = make_model(school.tokenizer, width, layers)
    _fit(model, school, steps, learning_rate, short_share, progress)
    seconds = time.perf_counter() - start
    held_out = Lessons(list(world.pictures("validation")), prompt, 1, seed + 1)
    about: dict[str, Any] = {
        "settings": settings,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "seconds": round(seconds, 1),
        "held_out": _judged(model, school.tokenizer, list(held_out.draw(_HELD_OUT)), seed),
    }
    _save(Path(out), model, school, about)


def _fit(
    model: LlamaForCausalLM,
    school: _School,
    steps: int,
    learning_rate: float,
    short_share: float,
    progress: bool,
) -> None:
    """Trains for some steps, at first on short answers."""
    optimizer = MuonAdamW(parameter_groups(model.named_parameters()), lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (_WARM_UP * steps), 1.02 - step / steps)
    )
    with progress_bar(progress) as bar:
        task = bar.add_task("language model: steps", total=steps)
        for step in range(steps):
            loss = _loss(model, school.batch(max(0.0, 1 - step / (short_share * steps or 1))))
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            bar.update(task, advance=1, description=f"language model: loss {loss.item():.2f}, steps")


def _save(out: Path, model: LlamaForCausalLM, school: _School, about: dict[str, Any]) -> None:
    """Makes the folder, whole or not at all."""
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    model.save_pretrained(partial / MODEL)
    school.tokenizer.save_pretrained(partial / MODEL)
    (partial / TEXTS).write_text("".join(f"{text}\n" for text in sorted(school.texts)), encoding="utf-8")
    (partial / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, out)
    made = f"{about['parameters']:,} parameters, {about['seconds']:.0f} s"
    print(f"{out}: {made}; right on held-out pairs: {_told(about)}")


class _School:
    """Makes batches of lessons, and remembers every difference that it taught."""

    def __init__(self, drawn: Lessons, lessons: int, decisive_weight: float, prompt_weight: float) -> None:
        first = list(drawn.draw(_VOCABULARY_LESSONS))
        self.tokenizer = make_tokenizer(
            text for x in first for text in (*(m["content"] for m in x.messages), *x.answers)
        )
        self.texts: set[str] = set()
        self._drawn, self._lessons = drawn, lessons
        self._decisive_weight, self._prompt_weight = decisive_weight, prompt_weight

    def batch(self, short: float) -> Batch:
        """The next lessons."""
        return pack([self._tokens(x) for x in self._drawn.draw(self._lessons, short)], self._prompt_weight)

    def _tokens(self, lesson: Lesson) -> list[Tokens]:
        self.texts.update(lesson.answers)
        asked = [(lesson.messages, answer) for answer in lesson.answers] + list(lesson.described)
        prompts = encode_prompts(self.tokenizer, [messages for messages, _ in asked])
        answers = [answer for _, answer in asked]
        coded = self.tokenizer(answers, add_special_tokens=False, return_offsets_mapping=True)
        end = self.tokenizer.eos_token_id
        found = []
        for at, (text, places) in enumerate(zip(answers, coded["offset_mapping"], strict=True)):
            spans = decisive(text) if at < len(lesson.answers) else ()
            decides = [any(a < stop and start < b for start, stop in spans) for a, b in places]
            weights = [self._decisive_weight if yes else 1.0 for yes in decides]
            found.append(Tokens(prompts[at], [*coded["input_ids"][at], end], [*weights, 1.0]))
        return found


def _loss(model: LlamaForCausalLM, batch: Batch) -> Tensor:
    """Cross entropy over the weighted targets, per weight of the answers' targets."""
    with torch.autocast("cpu", torch.bfloat16, enabled=machine_precision() == "bf16-mixed"):
        hidden = model.model(
            input_ids=batch.tokens, position_ids=batch.positions, attention_mask=batch.mask
        ).last_hidden_state
        taught = batch.targets != IGNORED
        logits = model.lm_head(hidden[taught])
    losses = nn.functional.cross_entropy(logits.float(), batch.targets[taught], reduction="none")
    weights = batch.weights[taught]
    return (losses * weights).sum() / weights.sum()


def _judged(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, lessons: list[Lesson], seed: int
) -> dict[str, dict[str, int]]:
    """How many texts about held-out pairs are right, wrong and unreadable, by top_p."""
    found = {}
    for top_p in (1.0, 0.8):
        texts = write_texts(model, tokenizer, [x.messages for x in lessons], top_p, seed)
        counts = Counter(
            judge(text, x.row.attributes1, x.row.attributes2)[0].value
            for text, x in zip(texts, lessons, strict=True)
        )
        found[f"top_p {top_p:g}"] = {j.value: counts[j.value] for j in Judgement}
    return found


def _told(about: dict[str, Any]) -> str:
    return ", ".join(
        f"{counts['right'] / _HELD_OUT:.1%} at {name}" for name, counts in about["held_out"].items()
    )


def _is_made(out: Path, settings: dict[str, Any]) -> bool:
    if not out.exists():
        return False
    try:
        theirs = parse_json((out / ABOUT).read_bytes())["settings"]
    except (OSError, ValueError, KeyError) as error:
        raise PcclipError(f"{out / ABOUT}: cannot be read ({error!r}). Give another 'out'.") from error
    mine = json.loads(json.dumps(settings))
    if odd := [name for name in mine | theirs if mine.get(name) != theirs.get(name)]:
        raise PcclipError(
            f"{out}: made with another {odd[0]!r} ({theirs.get(odd[0])!r}, now {mine.get(odd[0])!r}). Give "
            "another 'out', or delete the folder."
        )
    print(f"{out}: already made; delete the folder to make it again")
    return True


if __name__ == "__main__":
    from pcclip.demos import command

    command(train)
