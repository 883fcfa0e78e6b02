"""What a run of judges leaves beside their answers: ratings.csv, summary.json, JUDGE.md."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pcclip.data.files import write_atomically
from pcclip.generation.judging import tables
from pcclip.generation.judging.agreement import Interval
from pcclip.generation.judging.criteria import NAMES, Rating, badness
from pcclip.generation.judging.files import write_csv
from pcclip.generation.judging.texts import TextSample, WrittenText
from pcclip.generation.prompts import PromptTemplate

RATINGS, SUMMARY, CARD = "ratings.csv", "summary.json", "JUDGE.md"
COLUMNS = ["judge", "id", "key", "image1", "image2", "text", *NAMES, "objects", "note"]


@dataclass(frozen=True)
class JudgeRatings:
    """All of one judge.

    Args:
        name: `judge-1` ...; its answers are in the folder of that name.
        about: Model, order and seed.
        model: The model alone: two passes of one model are no second opinion.
        ratings: By the text's id.
        counts: Of its job: rows, errors, tokens.
        rejected: Answers that are no ratings, by reason.
    """

    name: str
    about: str
    model: str
    ratings: dict[str, Rating]
    counts: Counter[str]
    rejected: Counter[str]


def write_report(
    out: Path, sample: TextSample, prompt: PromptTemplate, judges: Sequence[JudgeRatings], worst: int
) -> None:
    """Writes the three files; JUDGE.md last."""
    texts = sample.texts()
    rows = (
        {
            "judge": judge.name,
            "id": text.id,
            "key": text.triple.key,
            "image1": text.triple.image1,
            "image2": text.triple.image2,
            "text": text.triple.difference,
            **rating.values,
            "objects": "; ".join(name.replace(";", ",") for name in rating.objects),
            "note": rating.reason,
        }
        for judge in judges
        for text in texts
        if (rating := judge.ratings.get(text.id)) is not None
    )
    write_csv(out / RATINGS, COLUMNS, rows)
    told = json.dumps(_summary(sample, prompt, judges), indent=1, ensure_ascii=False)
    write_atomically(out / SUMMARY, (told + "\n").encode("utf-8", "replace"))
    lines = _card(out, sample, prompt, judges) + _worst(texts, judges, worst)
    write_atomically(out / CARD, ("\n".join(lines) + "\n").encode("utf-8", "replace"))


def _summary(sample: TextSample, prompt: PromptTemplate, judges: Sequence[JudgeRatings]) -> dict[str, Any]:
    raters = {judge.name: judge.ratings for judge in judges}
    pairs = []
    for one, two in tables.all_pairs(raters):
        for found in tables.compare(raters[one], raters[two]):
            first, second = found.prevalence()
            pairs.append(
                {
                    "judges": [one, two],
                    "criterion": found.criterion,
                    "texts": found.texts,
                    "kappa": _interval(found.kappa),
                    "raw": _interval(found.raw),
                    "prevalence": {one: first, two: second},
                    "counts": found.counts.tolist(),
                    "values": list(found.values),
                }
            )
    return {
        "texts": len(sample.texts()),
        "set": sample.path,
        "prompt": {"name": prompt.name, "version": prompt.version},
        "judges": {
            judge.name: {
                "about": judge.about,
                "model": judge.model,
                "rated": len(judge.ratings),
                "errors": judge.counts["errors"],
                "rejected": dict(judge.rejected),
                "contradictory": sum(r.contradictory for r in judge.ratings.values()),
                "prompt_tokens": judge.counts["prompt_tokens"],
                "answer_tokens": judge.counts["answer_tokens"],
                "shares": {
                    name: {value: _interval(share) for value, share in values.items()}
                    for name, values in tables.shares(judge.ratings).items()
                },
                "mean_specific": _interval(tables.mean_specific(judge.ratings)),
            }
            for judge in judges
        },
        "agreement": pairs,
    }


def _card(out: Path, sample: TextSample, prompt: PromptTemplate, judges: Sequence[JudgeRatings]) -> list[str]:
    raters: Mapping[str, tables.Ratings] = {judge.name: judge.ratings for judge in judges}
    lines = [
        f"# {out.name}",
        "",
        f"Ratings of {len(sample.texts())} texts, drawn at random (seed {sample.seed}) from "
        f"`{sample.path}`, by `pcclip judge`. Every judge's answers as they came are in its folder, "
        f"`{RATINGS}` has all ratings, `{SUMMARY}` these tables' numbers.",
        "",
        f"- prompt: {prompt.name}, version {prompt.version}; judged by "
        f"{'the pictures' if prompt.shows_pictures else 'the captions'}",
        f"- licence of the pictures and captions: {tables.plain(sample.licence())}",
        "",
        "| judge | what it is | rated | no rating | went wrong | contradictory | prompt tokens | "
        "answer tokens |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for judge in judges:
        unusable = sum(judge.rejected.values())
        contradictory = sum(r.contradictory for r in judge.ratings.values())
        lines.append(
            f"| {judge.name} | {tables.plain(judge.about)} | {len(judge.ratings)} | {unusable} | "
            f"{judge.counts['errors']} | {contradictory} | {judge.counts['prompt_tokens']} | "
            f"{judge.counts['answer_tokens']} |"
        )
    why = {(judge.name, reason): n for judge in judges for reason, n in judge.rejected.most_common()}
    if why:
        lines += ["", *(f"- {name}: {n} x {tables.plain(reason)}" for (name, reason), n in why.items())]
    lines += [
        "",
        "Contradictory ratings name objects that are not there and say that there are none, or the reverse; "
        "they count as they answered each criterion.",
        "",
        "## Shares",
        "",
        "Sound: follows, in the right direction, without hallucinated objects.",
        "",
        *tables.shares_table(raters),
        "",
        "## Agreement",
        "",
        tables.KAPPA_NOTE,
        "",
    ]
    if len(judges) < 2:
        return [*lines, "One judge in one pass: nothing to compare. Give `passes: 2` or another writer.", ""]
    if len({judge.model for judge in judges}) == 1:
        lines += [
            "All passes are of one model: they say how stable its ratings are, not how right. Compare it "
            "with another model, or with people (`pcclip judge --people`, `--import`).",
            "",
        ]
    return [*lines, *tables.agreement_table(raters, tables.all_pairs(raters)), ""]


def _worst(texts: Sequence[WrittenText], judges: Sequence[JudgeRatings], count: int) -> list[str]:
    scored = []
    for place, text in enumerate(texts):
        given = [(judge.name, judge.ratings[text.id]) for judge in judges if text.id in judge.ratings]
        if given:
            scored.append((-fmean(badness(rating.values) for _, rating in given), place, given))
    lines = ["## Worst texts", "", "By the mean of the judges, from the worst.", ""]
    for score, place, given in sorted(scored, key=lambda entry: entry[:2])[:count]:
        if score == 0:
            break
        text = texts[place]
        lines.append(f"- **{tables.plain(text.triple.key)}**: {tables.plain(text.triple.difference)}")
        for which, captions in (("first", text.captions1), ("second", text.captions2)):
            if captions:
                lines.append(f"  - {which}: {tables.plain(' / '.join(captions))}")
        lines += [f"  - {name}: {tables.plain(tables.rating_words(rating))}" for name, rating in given]
    return lines


def _interval(interval: Interval) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in asdict(interval).items()}
