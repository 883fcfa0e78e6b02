"""What a run's exhibits show: pictures in the order of a sentence, answers lost and won, confusions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pcclip.evaluation.exhibits.files import FOLDER
from pcclip.evaluation.exhibits.kinds import (
    STAGES,
    Answer,
    Answers,
    Ends,
    PairAnswer,
    Placed,
    RankedByText,
    SetExhibits,
)
from pcclip.evaluation.exhibits.making import PAIRS
from pcclip.report.confusions import confusions
from pcclip.report.tables import Table, escaped, folded, plain
from pcclip.report.thumbnails import Thumbnails

_OPEN = 3
"""Rankings and lists of pairs of a set that are not folded."""
_PAIRS_NOTE = (
    "Counts of pairs are of one wording each, the first of those seen in training (that of the pictures "
    f"ranked), on at most {PAIRS:,} drawn pairs of each attribute: right is a sentence that fits the pair "
    "better than the same sentence about the swapped pair. The tables of results are means over all wordings."
)
_STRETCHES = (("top", "first"), ("middle", "middle"), ("bottom", "last"))


def count_pictures(exhibits: Sequence[SetExhibits]) -> int:
    """How many pictures of exhibits a report shows, each as often as it stands there."""
    total = 0
    for one in exhibits:
        ends = [getattr(ranked, stage) for ranked in one.rankings for stage in STAGES]
        total += sum(len(end.top) + len(end.middle) + len(end.bottom) for end in ends)
        if one.classes:
            total += len(one.classes.lost_examples) + len(one.classes.won_examples)
        total += 2 * sum(len(of.lost_examples) + len(of.won_examples) for of in one.pairs.values())
    return total


def exhibits_part(run: Path, exhibits: Sequence[SetExhibits], thumbnails: Thumbnails) -> tuple[str, str]:
    """The exhibits of a run in HTML, and their numbers in Markdown; headings begin at h3."""
    page, text = [], []
    for one in exhibits:
        shown = _Shown(run / FOLDER, one, thumbnails)
        of = f": {one.name}, split {one.split}" if len(exhibits) > 1 else ""
        page.append(f"<h3>Pictures ranked by a sentence{escaped(of)}</h3>\n{shown.rankings()}")
        page.append(f"<h3>Answers lost and won{escaped(of)}</h3>\n{shown.changed()}")
        table = _changed_table(one)
        page.append(table.html())
        text += [f"### Answers lost and won{plain(of)}\n", table.markdown()]
        if one.pairs:
            page.append(f'<p class="note">{escaped(_PAIRS_NOTE)}</p>\n')
            text.append(f"{plain(_PAIRS_NOTE)}\n")
        if one.confusions:
            page.append(f"<h3>Classes taken for others{escaped(of)}</h3>\n")
        for confusion in one.confusions:
            html, table = confusions(confusion)
            page.append(html + table.html())
            text += [f"### Classes taken for others{plain(of)}\n", table.markdown()]
    return "".join(page), "\n".join(text)


class _Shown:
    """The pictures of a set's exhibits as HTML."""

    def __init__(self, folder: Path, exhibits: SetExhibits, thumbnails: Thumbnails) -> None:
        self._folder = folder
        self._set = exhibits
        self._thumbnails = thumbnails

    def rankings(self) -> str:
        if not self._set.rankings:
            return '<p class="note">No question is asked about these pictures.</p>\n'
        parts = [self._ranking(one) for one in self._set.rankings]
        rest = "".join(parts[_OPEN:])
        more = folded(f"{len(parts) - _OPEN} more sentences", rest) if rest else ""
        return (
            '<p class="note">All pictures of the split in the order of g(picture) · f(sentence): the first, '
            "those in the middle, and the last. Below each the measured attribute.</p>\n"
            + "".join(parts[:_OPEN])
            + more
        )

    def _ranking(self, one: RankedByText) -> str:
        columns = [self._ends(stage, getattr(one, stage), one.attribute) for stage in STAGES]
        return (
            f"<h4>{escaped(one.attribute)}: “{escaped(one.text)}”</h4>\n"
            f'<div class="beside">{"".join(columns)}</div>\n'
        )

    def _ends(self, stage: str, ends: Ends, attribute: str) -> str:
        rho = "" if ends.spearman is None else f", Spearman {ends.spearman:.3f}"
        rows = "".join(
            f'<div class="strip"><span class="place">{name}</span><ol>'
            + "".join(self._placed(stage, one, attribute) for one in getattr(ends, end))
            + "</ol></div>\n"
            for end, name in _STRETCHES
        )
        return f'<section aria-label="{stage}"><p class="stage">{stage}{rho}</p>\n{rows}</section>\n'

    def _placed(self, stage: str, one: Placed, attribute: str) -> str:
        value = _value(one.value)
        alt = f"{stage}, rank {one.rank}: {attribute} {value}"
        return f"<li><figure>{self._img(one.key, alt)}<figcaption>{escaped(value)}</figcaption></figure></li>"

    def changed(self) -> str:
        parts = []
        if self._set.classes is not None:
            parts.append(self._answers("Zero-shot classes", self._set.classes))
        pairs = [
            self._answers(f"Pairs that differ in {attribute}", of)
            for attribute, of in self._set.pairs.items()
        ]
        rest = "".join(pairs[_OPEN:])
        more = folded(f"{len(pairs) - _OPEN} more attributes", rest) if rest else ""
        note = f'<p class="note">{escaped(_PAIRS_NOTE)}</p>\n' if pairs else ""
        return "".join([*parts, note, *pairs[:_OPEN], more])

    def _answers(self, title: str, of: Answers) -> str:
        columns = "".join(
            f'<section aria-label="{name}"><p class="stage">{mark} {name}: {count:,} of {of.asked:,}'
            f"{', the clearest:' * bool(examples)}</p>\n"
            f'<ul class="examples">{"".join(map(self._example, examples))}</ul></section>\n'
            for mark, name, count, examples in (
                ("▼", "right before, wrong now", of.lost, of.lost_examples),
                ("▲", "wrong before, right now", of.won, of.won_examples),
            )
        )
        return f'<h4>{escaped(title)}</h4>\n<div class="beside">{columns}</div>\n'

    def _example(self, one: Answer | PairAnswer) -> str:
        if isinstance(one, Answer):
            picture = self._img(one.key, f"a picture of {one.truth}")
            told = (
                f"{escaped(one.truth)}: before {escaped(one.base)}, now {escaped(one.tuned)} "
                f"<small>margin {one.margin:+.3f}</small>"
            )
            return f"<li><figure>{picture}<figcaption>{told}</figcaption></figure></li>"
        two = self._img(one.first, "first picture") + self._img(one.second, "second picture")
        told = f"“{escaped(one.text)}” <small>before {one.base:+.3f}, now {one.tuned:+.3f}</small>"
        return f'<li class="pair"><figure>{two}<figcaption>{told}</figcaption></figure></li>'

    def _img(self, key: str, alt: str) -> str:
        name = self._set.pictures.get(key)
        # A name from a file that anyone may have written names nothing outside of its folder.
        file = None if name is None else self._folder / "pictures" / Path(name).name
        return self._thumbnails.img(file or self._folder / "absent", alt)


def _changed_table(one: SetExhibits) -> Table:
    rows = [
        (what, f"{of.asked:,}", f"▼ {of.lost:,}", f"▲ {of.won:,}", f"{of.won - of.lost:+,}")
        for what, of in _all_answers(one)
    ]
    head = ("", "asked", "right before, wrong now", "wrong before, right now", "balance")
    return Table(f"Answers that changed: {one.name}, split {one.split}", head, (("", tuple(rows)),))


def _all_answers(one: SetExhibits) -> Iterator[tuple[str, Answers]]:
    if one.classes is not None:
        yield "zero-shot classes", one.classes
    for attribute, of in one.pairs.items():
        yield f"pairs that differ in {attribute}", of


def _value(value: float | str | None) -> str:
    return "not known" if value is None else value if isinstance(value, str) else f"{value:.3g}"
