"""How many answers were accepted, and how many were rejected for which reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from pcclip.generation.filters.types import Accepted, Rejected


@dataclass
class Tally:
    """Counts of a job or a part of it; parts are added.

    Args:
        accepted: How many answers were accepted.
        rejected: How many were rejected, by the reason's name.
        cuts: How often each cut rule took something away, by its name; of accepted and rejected answers.
    """

    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    cuts: Counter[str] = field(default_factory=Counter)

    @property
    def answers(self) -> int:
        """How many answers there were."""
        return self.accepted + self.rejected.total()

    def add(self, outcome: Accepted | Rejected) -> None:
        """Counts one outcome of `clean`."""
        if isinstance(outcome, Accepted):
            self.accepted += 1
        else:
            self.rejected[outcome.reason.value] += 1
        self.cuts.update(outcome.cuts)

    def reject(self, reason: str) -> None:
        """Counts a rejection that another part of the job decided on, such as a duplicate."""
        self.rejected[reason] += 1

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.accepted + other.accepted, self.rejected + other.rejected, self.cuts + other.cuts)

    def to_dict(self) -> dict[str, Any]:
        """The counts as JSON holds them, the same for the same counts."""
        return {
            "accepted": self.accepted,
            "rejected": dict(sorted(self.rejected.items())),
            "cuts": dict(sorted(self.cuts.items())),
        }

    @classmethod
    def from_dict(cls, counts: Mapping[str, Any]) -> Tally:
        """Reads what `to_dict` gave."""
        return cls(counts["accepted"], Counter(counts["rejected"]), Counter(counts["cuts"]))

    def rows(self) -> list[tuple[str, int, float]]:
        """Name, count and share of all answers: the accepted ones, then the reasons, the commonest first."""
        named = [("accepted", self.accepted), *sorted(self.rejected.items(), key=lambda r: (-r[1], r[0]))]
        return [(name, count, count / max(1, self.answers)) for name, count in named]

    def table(self, title: str = "Answers") -> Table:
        """The rows for a terminal."""
        table = Table("outcome", title=title)
        table.add_column("answers", justify="right")
        table.add_column("share", justify="right")
        for name, count, share in self.rows():
            table.add_row(name, f"{count:,}", f"{share:.2%}")
        return table
