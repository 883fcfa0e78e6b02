"""The evaluation of pictures from arithmetic: draw, score, compare, show."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcclip.arithmetic import report as reporting
from pcclip.arithmetic.cases import CaseFile
from pcclip.arithmetic.drawing import Cost, Studio, remove_leftovers
from pcclip.arithmetic.generators import Generator, GeneratorSource
from pcclip.arithmetic.grids import Grids, count_pages, pages
from pcclip.arithmetic.measuring import results, score
from pcclip.arithmetic.plan import Plan
from pcclip.arithmetic.scorers import PictureScorer
from pcclip.arithmetic.vectors import Arithmetic
from pcclip.data.files import write_atomically
from pcclip.data.locks import only_one
from pcclip.data.progress import progress_bar
from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.models import text_fingerprint

if TYPE_CHECKING:
    from pcclip.evaluation.protocol import Results
    from pcclip.model.towers import Towers

MANIFEST = "manifest.json"
_SCHEMA = 1


@dataclass
class PictureArithmetic:
    """Pictures of subjects that get an attribute by arithmetic on embeddings (arXiv 2409.09721).

    Attributes:
        generator: what draws.
        scorers: what measures the pictures.
        arithmetic: how an attribute moves a text.
        cases: packaged file of cases (`cifar100-awa2`), or the path of one.
        sample: only so many of the cases, spread evenly over the file; null for all.
        weights: of the attribute, above 0; pictures without change are drawn besides.
        seeds: of the noise that pictures start from, shared by all towers and weights.
        batch_size: pictures drawn at once.
        grids: pages of pictures.
    """

    generator: GeneratorSource
    scorers: list[PictureScorer]
    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    cases: str = "cifar100-awa2"
    sample: int | None = None
    weights: list[float] = field(default_factory=lambda: [0.5, 1.0, 1.5])
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3])
    batch_size: int = 4
    grids: Grids = field(default_factory=Grids)

    def __post_init__(self) -> None:
        """Refuses settings that draw or measure nothing."""
        if not self.scorers or self.batch_size < 1 or (self.sample is not None and self.sample < 1):
            raise PcclipError(
                f"picture arithmetic: {len(self.scorers)} scorers, batch_size {self.batch_size}, sample "
                f"{self.sample}: give one scorer or more, and numbers of at least 1."
            )

    def run(self, towers: Mapping[str, Towers], folder: Path, title: str, device: str = "cpu") -> Outcome:
        """Draws what is missing and measures everything.

        Args:
            towers: That read the texts, by name; the others are compared with `base`.
            folder: Where pictures, tables and pages go: FOLDER/TOWER/SUBJECT/ATTRIBUTE/WEIGHT-SEED.png.
            title: What the towers are of.
            device: Where a tower is put while it reads; afterwards it is back where it was.

        Raises:
            PcclipError: Cases, generator, scorers and towers do not fit each other; the message says how.
        """
        file = CaseFile.load(self.cases)
        count = min(self.sample or len(file.cases), len(file.cases))
        cases = [file.cases[at * len(file.cases) // count] for at in range(count)]
        plan = Plan(cases, self.weights, self.seeds, self.arithmetic)
        for scorer in self.scorers:
            scorer.check(towers)
        folder.mkdir(parents=True, exist_ok=True)
        folders = {tower: folder / tower for tower in towers}
        with only_one(folder / ".lock", f"drawing {title}"):
            remove_leftovers(folder)
            settings = self._draw(plan, towers, folders, folder, device)
            scores = score(self.scorers, plan, folders)
            by_tower = results(file.name, plan, scores)
            costs = {tower: Cost.load(folders[tower]) for tower in towers}
            report = reporting.Report(title, file.name, plan, by_tower, costs)
            reporting.write(report, scores, folder, settings)
            return Outcome(report, settings, _write_pages(plan, folders, self.grids, folder))

    def _draw(
        self, plan: Plan, towers: Mapping[str, Towers], folders: Mapping[str, Path], folder: Path, device: str
    ) -> dict[str, Any]:
        with progress_bar(transient=True) as bar:  # of gigabytes, and of their digest
            task = bar.add_task("loading the generator", total=2)
            generator = self.generator.load()
            bar.advance(task)
            prints = {name: text_fingerprint(tower) for name, tower in towers.items()}
            settings = self._settings(generator, prints)
            bar.advance(task)
        write_atomically(folder / MANIFEST, json.dumps(settings, indent=1).encode())
        studios = {
            name: Studio(
                generator, tower, prints[name], self.arithmetic, plan, folders[name], self.batch_size
            )
            for name, tower in towers.items()
        }
        for part in folders.values():
            part.mkdir(exist_ok=True)
        with progress_bar() as bar:
            missing = sum(studio.missing for studio in studios.values())
            task = bar.add_task("drawing", total=missing)
            for name, studio in studios.items():
                bar.update(task, description=f"drawing, {name}")
                with _on(towers[name], device):
                    studio.draw(lambda count: bar.advance(task, count))
        return settings

    def _settings(self, generator: Generator, prints: Mapping[str, str]) -> dict[str, Any]:
        return {
            "schema": _SCHEMA,
            "generator": {
                "class": f"{type(self.generator).__module__}.{type(self.generator).__qualname__}",
                **_plain(self.generator),
                "fingerprint": generator.fingerprint(),
            },
            "towers": dict(prints),
            "arithmetic": dataclasses.asdict(self.arithmetic),
            "scorers": [scorer.describe() for scorer in self.scorers],
            **{name: getattr(self, name) for name in ("cases", "sample", "weights", "seeds", "batch_size")},
        }


@dataclass(frozen=True)
class Outcome:
    """What came of an evaluation.

    Attributes:
        report: All numbers.
        settings: What they were made with.
        pages: Files of the pages of pictures, by name.
    """

    report: reporting.Report
    settings: dict[str, Any]
    pages: dict[str, Path]

    @property
    def results(self) -> Mapping[str, Results]:
        """By tower."""
        return self.report.results


def _write_pages(plan: Plan, folders: Mapping[str, Path], grids: Grids, folder: Path) -> dict[str, Path]:
    import io

    place = folder / "grids"
    place.mkdir(exist_ok=True)
    written = {}
    with progress_bar(transient=True) as bar:
        task = bar.add_task("pages of pictures", total=count_pages(plan, grids))
        for name, page in pages(plan, folders, grids):
            buffer = io.BytesIO()
            page.save(buffer, "PNG")
            written[name] = place / f"{name}.png"
            write_atomically(written[name], buffer.getvalue())
            bar.advance(task)
    for old in set(place.glob("*.png")) - set(written.values()):  # of other settings
        old.unlink()
    return written


@contextmanager
def _on(tower: Towers, device: str) -> Iterator[None]:
    """A tower on a device for a while."""
    home = next(tower.parameters()).device
    tower.to(device)
    try:
        yield
    finally:
        tower.to(home)


def _plain(settings: Any) -> dict[str, Any]:
    """A source's settings as JSON takes them."""
    if not dataclasses.is_dataclass(settings) or isinstance(settings, type):
        return {}
    return json.loads(json.dumps(dataclasses.asdict(settings), default=str))
