"""From a job's answers to what they are for, and the card that says what it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pcclip.data.sets import is_finished
from pcclip.errors import PcclipError
from pcclip.generation.checks import Repeats
from pcclip.generation.job_card import CARD, write_card
from pcclip.generation.manifest import Manifest
from pcclip.generation.prompts import PromptTemplate
from pcclip.generation.rows import RowSource
from pcclip.generation.writers.base import Sampling, Writer


@dataclass(frozen=True)
class Made:
    """What came of a job.

    Args:
        count: How many records or entries.
        card: What is noted beside them; `rejected` among it, by reason.
        samples: Some of them, a line each.
    """

    count: int
    card: dict[str, Any]
    samples: list[str] = field(default_factory=list)


@dataclass
class Finish(ABC):
    """Makes of a job, whose rows are all answered, what it is for.

    Args:
        manifest: The answers.
        rows: Where the rows came from.
        writer: Who wrote.
        prompt: How it was asked.
        sampling: How it sampled.
        repeats: Rejects texts that repeat earlier ones.
    """

    what: ClassVar[str]
    """Of what it makes many."""
    about: ClassVar[str]
    """What that is, for the card."""

    manifest: Manifest
    rows: RowSource
    writer: Writer
    prompt: PromptTemplate | None
    sampling: Sampling
    repeats: Repeats | None = None

    @property
    @abstractmethod
    def last_file(self) -> Path:
        """The file that is written last: where it exists, all is made but the card."""

    @abstractmethod
    def make(self, rejected: Counter[str]) -> None:
        """Makes it; rejections that show only here are added to `rejected`."""

    @abstractmethod
    def made(self) -> Made:
        """Reads what was made."""

    def is_done(self) -> bool:
        """Whether all is there already, the card included."""
        return self.last_file.exists() and (self.manifest.folder / CARD).exists()

    def run(self) -> int:
        """Makes what the job is for, and the card; returns how many records or entries there are.

        Raises:
            PcclipError: No answer was accepted.
        """
        folder = self.manifest.folder
        counts, rejected = self.manifest.totals()
        if not counts["accepted"]:
            told = ", ".join(f"{count} {why}" for why, count in rejected.most_common(5)) or "no row at all"
            raise PcclipError(
                f"{folder}: no answer was accepted ({told}), so there is nothing to make {self.what} of. "
                f"Read {self.manifest.path(0)}, mend the recipe, and start it with another 'out'."
            )
        if not self.last_file.exists():
            self.make(rejected)
        else:
            is_finished(self.last_file.parent)  # clears what a kill at the end of a shard set leaves
        made = self.made()
        write_card(folder, self.what, self.about, made.count, made.card, counts, made.samples)
        return made.count

    def origin(self) -> dict[str, Any]:
        """What all texts say of where they come from."""
        told: dict[str, Any] = {"writer": self.writer.name}
        if (model := self.writer.model_name()) is not None:
            told |= {"model": model, "sampling": {k: v for k, v in asdict(self.sampling).items() if v != {}}}
        if self.prompt is not None and self.writer.needs_prompt:
            told |= {"prompt": self.prompt.name, "prompt_version": self.prompt.version}
        return told

    def card(self) -> dict[str, Any]:
        """What is noted beside the texts, before they are made."""
        return self.origin() | {"licence": self.rows.licence()}

    def texts(self, rejected: Counter[str]) -> Iterator[tuple[int, str | None]]:
        """Every row's number and accepted text; None where there is none, or it repeats an earlier one."""
        for record in self.manifest.records():
            text = record["difference"]
            if text is not None and self.repeats is not None and (why := self.repeats(text)) is not None:
                rejected[why] += 1
                text = None
            yield record["row"], text
