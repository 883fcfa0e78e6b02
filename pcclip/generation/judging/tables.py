"""Markdown of ratings: shares, agreement, texts."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping
from itertools import combinations

from pcclip.generation.judging.agreement import Agreement, Interval, agreement, mean, wilson
from pcclip.generation.judging.criteria import CRITERIA, Rating, is_sound
from pcclip.generation.judging.files import visible

Ratings = Mapping[str, Rating]
"""One rater's ratings by the text's id."""

_MARKS = re.compile(r"([\\`*_\[\]|~#])")
_CELL_CHARACTERS = 400
KAPPA_NOTE = (
    "Kappa is Cohen's: agreement beyond what the two raters' shares make likely by chance, 1 at best, 0 by "
    "chance; for `specific` with quadratic weights, so that near misses count little. Intervals: 95 %, "
    "Wilson for shares, bootstrap over texts (2,000) for kappa. Where nearly all texts get one value, kappa "
    "is low or undefined (n/d) even if raters agree: read it with the raw agreement and the shares beside "
    "it; where one rater gave one value only, it is 0 whatever the other said."
)


def compare(first: Ratings, second: Ratings) -> list[Agreement]:
    """Two raters on every criterion, over the texts for which both gave a value."""
    found = []
    for criterion in CRITERIA:
        name = criterion.name
        both = [
            key
            for key, rating in first.items()
            if name in rating.values and key in second and name in second[key].values
        ]
        one, two = ([ratings[key].values[name] for key in both] for ratings in (first, second))
        found.append(agreement(criterion, one, two))
    return found


def shares(ratings: Ratings) -> dict[str, dict[str, Interval]]:
    """The share of every value of every criterion, and of texts without fault (`sound`)."""
    found: dict[str, dict[str, Interval]] = {}
    for criterion in CRITERIA:
        given = [r.values[criterion.name] for r in ratings.values() if criterion.name in r.values]
        found[criterion.name] = {value: wilson(given.count(value), len(given)) for value in criterion.values}
    verdicts = [sound for r in ratings.values() if (sound := is_sound(r.values)) is not None]
    found["sound"] = {"yes": wilson(sum(verdicts), len(verdicts))}
    return found


def mean_specific(ratings: Ratings) -> Interval:
    """The mean of the scale, with its interval."""
    return mean([float(r.values["specific"]) for r in ratings.values() if "specific" in r.values])


def shares_table(raters: Mapping[str, Ratings]) -> list[str]:
    """A row for every value, a column for every rater."""
    told = {name: shares(ratings) for name, ratings in raters.items()}
    lines = [_row("criterion", "value", *raters), _row(*["---"] * (len(raters) + 2))]
    rows = [("sound", "yes")] + [(c.name, value) for c in CRITERIA for value in c.values]
    for criterion, value in rows:
        lines.append(_row(criterion, value, *(_share(told[name][criterion][value]) for name in raters)))
    means = [mean_specific(ratings) for ratings in raters.values()]
    lines.append(_row("specific", "mean", *(_number(value) for value in means)))
    return lines


def agreement_table(raters: Mapping[str, Ratings], pairs: Iterable[tuple[str, str]]) -> list[str]:
    """A row for every pair of raters and every criterion."""
    heads = ("raters", "criterion", "texts", "kappa", "raw agreement", "commonest value, with either")
    lines = [_row(*heads), _row(*["---"] * len(heads))]
    for one, two in pairs:
        for found in compare(raters[one], raters[two]):
            lines.append(
                _row(
                    f"{one}, {two}",
                    found.criterion,
                    found.texts,
                    _number(found.kappa),
                    _share(found.raw),
                    _prevalence(found),
                )
            )
    return lines


def all_pairs(raters: Iterable[str]) -> list[tuple[str, str]]:
    """Every two raters."""
    return list(combinations(raters, 2))


def confusion_table(found: Agreement, one: str, two: str) -> list[str]:
    """How often the first said the row's value and the second the column's."""
    lines = [
        _row(f"{found.criterion}: {one} down, {two} across", *found.values),
        _row(*["---"] * (len(found.values) + 1)),
    ]
    counts = found.counts.tolist()
    return lines + [_row(value, *row) for value, row in zip(found.values, counts, strict=True)]


def rating_words(rating: Rating) -> str:
    """A rating in one line of plain text."""
    told = [f"{c.name} {rating.values.get(c.name, 'open')}" for c in CRITERIA]
    if rating.objects:
        told.append(f"not there: {', '.join(rating.objects)}")
    return ", ".join(told) + (f" ({rating.reason})" if rating.reason else "")


def plain(text: str, limit: int = _CELL_CHARACTERS) -> str:
    """A foreign text in one line, in which Markdown and HTML find nothing of their own."""
    line = " ".join(visible(text).split())
    line = line if len(line) <= limit else line[: limit - 1] + "…"
    return _MARKS.sub(r"\\\1", html.escape(line, quote=False))


def _prevalence(found: Agreement) -> str:
    if not found.texts:
        return "n/d"
    first, second = found.prevalence()
    value = max(found.values, key=lambda v: first[v] + second[v])
    return f"{value}: {first[value]:.0%}, {second[value]:.0%}"


def _share(share: Interval) -> str:
    if math.isnan(share.value):
        return "n/d"
    return f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}]"


def _number(number: Interval) -> str:
    if math.isnan(number.value):
        return "n/d"
    value, low, high = (round(n, 2) + 0.0 for n in (number.value, number.low, number.high))  # no -0.00
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
