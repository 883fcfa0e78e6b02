"""The labelled answers and the human-written texts on which the filter is measured."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from pcclip.data.sources.base import Source
from pcclip.data.sources.eurosat import EuroSAT
from pcclip.data.sources.shapes import Shapes
from pcclip.generation.filters import Accepted, Context, Limits, Rejected, clean
from pcclip.generation.rules import RuleWriter
from pcclip.generation.vocabulary import Category

DATA = Path(__file__).parent / "data"
LENGTH = {"too_short", "too_long"}
ANY_LENGTH = Limits(min_chars=0)


@dataclass(frozen=True)
class Labelled:
    """An answer, what was asked, and what may be left of it.

    Args:
        kind: How it is bad; `good` where it is not.
        split: `dev` for tuning the rules, `test` for reporting.
        answer: As a model would give it.
        context: What the model was shown.
        cut_off: Whether the engine says that it stopped the model.
        keeps: Texts that the cut rules may leave of it; none where it is bad throughout.
    """

    kind: str
    split: str
    answer: str
    context: Context
    cut_off: bool
    keeps: tuple[str, ...]

    def outcome(self, limits: Limits = ANY_LENGTH) -> Accepted | Rejected:
        return clean(self.answer, limits, self.context, self.cut_off)

    def let_through(self, limits: Limits = ANY_LENGTH) -> bool:
        """Whether something bad of it is accepted."""
        outcome = self.outcome(limits)
        return isinstance(outcome, Accepted) and outcome.text not in self.keeps

    def right(self, limits: Limits = ANY_LENGTH) -> bool:
        """Whether a good answer is accepted, as it is or as the cut rules should leave it."""
        outcome = self.outcome(limits)
        return isinstance(outcome, Accepted) and outcome.text in (self.keeps or (self.answer,))


@cache
def labelled(name: str) -> tuple[Labelled, ...]:
    """The answers of `bad_answers` or `good_answers`."""
    prompts = yaml.safe_load((DATA / "prompts.yaml").read_text())
    found = []
    for raw in map(json.loads, (DATA / f"{name}.jsonl").read_text().strip().split("\n")):
        context = Context(tuple(raw["context"]["captions"]), tuple(prompts[raw["context"]["prompt"]]))
        found.append(
            Labelled(raw["kind"], raw["split"], raw["answer"], context, raw["cut_off"], tuple(raw["keeps"]))
        )
    return tuple(found)


def human_differences(data: Path) -> dict[str, list[str]]:
    """All lines of the two sets of differences that people wrote, those without a word included."""
    folder = data / "differences"
    edits = json.loads((folder / "image_editing_request_valid.json").read_text())
    spots = json.loads((folder / "spot_the_diff_val.json").read_text())
    return {
        "Image Editing Request": [line for edit in edits for line in edit["sents"]],
        "Spot-the-diff": [line for spot in spots for line in spot["sentences"]],
    }


def human_captions(data: Path, count: int) -> list[str]:
    """Captions of COCO, drawn at random: sentences that people wrote, and no rule was made for."""
    annotations = json.loads((data / "coco/annotations/captions_val2017.json").read_text())["annotations"]
    return random.Random(0).sample([annotation["caption"] for annotation in annotations], count)


def rule_written(count: int = 4000) -> list[str]:
    """Differences as the rule-based writer words them, of the shapes world and of EuroSAT."""
    rng = random.Random(7)
    texts = []
    for source in (Shapes(), EuroSAT(root="none")):
        writer = RuleWriter(source.attributes(), source.references(), seed=5)
        for key in range(count):
            written = writer.write(str(key), _draw(source, rng), _draw(source, rng))
            texts += [written.text] if written is not None else []
    return texts


def _draw(source: Source, rng: random.Random) -> dict[str, float | str]:
    return {
        attribute.name: rng.choice(attribute.values) if isinstance(attribute, Category) else rng.uniform(0, 4)
        for attribute in source.attributes()
    }


def wrong(texts: Iterable[str], limits: Limits = ANY_LENGTH) -> list[Rejected | tuple[str, str]]:
    """What the filter does wrong to good texts: its rejections apart from length, and texts that it changes.

    Whitespace may change.
    """
    found: list[Rejected | tuple[str, str]] = []
    for text in texts:
        outcome = clean(text, limits)
        if isinstance(outcome, Rejected):
            if outcome.reason.value not in LENGTH:
                found.append(outcome)
        elif outcome.text != " ".join(text.split()):
            found.append((text, outcome.text))
    return found
