"""`pcclip judge --import`: people's ratings against the judge's, and against each other's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from pcclip.data.files import write_atomically
from pcclip.errors import PcclipError
from pcclip.generation.judging import tables
from pcclip.generation.judging.criteria import CRITERIA, NAMES, Rating
from pcclip.generation.judging.files import Sheet, read_rating, read_rows, read_sheet
from pcclip.generation.judging.report import RATINGS


def compare_people(files: Sequence[str], ratings: str | None = None, markdown: str | None = None) -> None:
    """Compares and prints tables, as Markdown.

    Args:
        files: The CSV files of one rater each; the file's name is the rater's.
        ratings: Folder of the judge (`out` of its recipe), or its ratings.csv; a ratings.csv beside the first
            file is found by itself. Without any, people are compared with each other only.
        markdown: File to write the tables to as well.

    Raises:
        PcclipError: A file or line cannot be understood; there is nothing to compare.
    """
    sheets = [read_sheet(Path(file)) for file in files]
    twice = [name for name, count in Counter(sheet.rater for sheet in sheets).items() if count > 1]
    if twice:
        raise PcclipError(
            f"--import: two files are named {twice[0]!r}. A file's name is its rater's: rename one of them."
        )
    file = _ratings_file(Path(files[0]), ratings)
    judges = read_judges(file) if file else {}
    if clash := [sheet.rater for sheet in sheets if sheet.rater in judges]:
        raise PcclipError(f"--import: {clash[0]!r} is a judge's name in {file}. Rename the rater's file.")
    if not judges and len(sheets) < 2:
        raise PcclipError(
            f"{files[0]}: nothing to compare it with. Give --ratings with the judge's folder, or a second "
            "rater's file."
        )
    text = "\n".join(_report(sheets, judges, file)) + "\n"
    print(text, end="")
    if markdown:
        write_atomically(Path(markdown), text.encode("utf-8", "replace"))


def read_judges(path: Path) -> dict[str, dict[str, Rating]]:
    """The ratings of a judge's ratings.csv, by judge and text."""
    judges: dict[str, dict[str, Rating]] = {}
    for line, row in read_rows(path, ["judge", "id", *NAMES, "objects"]):
        rating = read_rating(row, f"{path}: line {line}")
        judges.setdefault(row["judge"], {})[row["id"]] = rating
    if not judges:
        raise PcclipError(f"{path}: holds no rating. Let the judge finish: pcclip judge --config RECIPE.")
    return judges


def _ratings_file(beside: Path, ratings: str | None) -> Path | None:
    if ratings is None:
        found = beside.parent / RATINGS
        return found if found.is_file() else None
    return Path(ratings) / RATINGS if Path(ratings).is_dir() else Path(ratings)


def _report(sheets: Sequence[Sheet], judges: Mapping[str, dict[str, Rating]], file: Path | None) -> list[str]:
    people = {sheet.rater: sheet.ratings for sheet in sheets}
    raters: dict[str, dict[str, Rating]] = {**people, **judges}
    names = {name: tables.plain(name, 60) for name in raters}
    lines = ["# People and judges" if judges else "# People", ""]
    known = {identity for ratings in judges.values() for identity in ratings}
    for sheet in sheets:
        total = len(sheet.texts)
        told = f"- {names[sheet.rater]}: {total} rows, {len(sheet.ratings)} rated"
        told += f" ({sheet.partly} not in all criteria)" if sheet.partly else ""
        told += f", {sheet.unrated} unrated"
        if judges:
            told += f", {sum(identity not in known for identity in sheet.ratings)} not rated by any judge"
        lines.append(told)
    lines += [f"- {names[name]}: {len(ratings)} rated ({file})" for name, ratings in judges.items()]
    shown = {names[name]: ratings for name, ratings in raters.items()}
    both = {identity for sheet in sheets for identity in sheet.ratings}
    same_texts = {
        name: {identity: rating for identity, rating in ratings.items() if identity in both}
        for name, ratings in shown.items()
    }
    pairs = tables.all_pairs(people) + list(product(people, judges))
    lines += ["", "## Shares, over the texts that people rated", "", *tables.shares_table(same_texts)]
    lines += ["", "## Agreement", "", tables.KAPPA_NOTE, ""]
    lines += tables.agreement_table(shown, [(names[one], names[two]) for one, two in pairs])
    lines += ["", "## Confusion", ""]
    for one, two in pairs:
        for found in tables.compare(raters[one], raters[two]):
            lines += [*tables.confusion_table(found, names[one], names[two]), ""]
    texts = {identity: text for sheet in sheets for identity, text in sheet.texts.items()}
    return lines + _disagreements(raters, names, pairs, texts)


def _disagreements(
    raters: Mapping[str, dict[str, Rating]],
    names: Mapping[str, str],
    pairs: Sequence[tuple[str, str]],
    texts: Mapping[str, tuple[str, str]],
) -> list[str]:
    lines = ["## Disagreements", ""]
    for one, two in pairs:
        first, second = raters[one], raters[two]
        for identity, rating in first.items():
            if identity not in second:
                continue
            a, b = rating.values, second[identity].values
            told = [
                f"{c.name} {a[c.name]} / {b[c.name]}"
                for c in CRITERIA
                if c.name in a and c.name in b and a[c.name] != b[c.name]
            ]
            if told:
                key, text = (tables.plain(part) for part in texts.get(identity, ("", "")))
                lines.append(f"- {names[one]} / {names[two]}, {key or identity}: {'; '.join(told)}. {text}")
    return lines if len(lines) > 2 else [*lines, "None."]
