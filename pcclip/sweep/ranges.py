"""What a setting may be in a sweep, and how it is handed to `pcclip fit`."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pcclip.errors import PcclipError

if TYPE_CHECKING:
    from optuna.trial import Trial

_GRID = 100_000
Value = None | bool | int | float | str
"""A value as the storage keeps it; lists and mappings are kept as JSON."""


@dataclass(frozen=True)
class Range:
    """The values of one setting: a list of them, or all from `low` to `high`.

    Attributes:
        low: Least value.
        high: Greatest value.
        step: Distance between two values; any value where it is null (of whole numbers: 1).
        log: Draw evenly on a logarithmic scale.
        integer: Whole numbers only.
        values: Take one of these instead; anything that `pcclip fit --KEY=VALUE` takes.
        also: Further keys that get the same value: a scheduler's `max_lr` beside the optimiser's `lr`.
    """

    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    integer: bool = False
    values: list[Any] | None = None
    also: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """What is set of it, as JSON takes it."""
        return {
            key: value for key, value in vars(self).items() if value not in (None, []) and value is not False
        }

    def check(self, key: str) -> None:
        """Refuses a range that makes no sense.

        Args:
            key: The setting, for the message.

        Raises:
            PcclipError: It does not.
        """
        if (trouble := self._trouble()) is not None:
            raise PcclipError(f"ranges: {key}: {trouble}")

    def _trouble(self) -> str | None:
        if self.values is not None:
            if (self.low, self.high, self.step, self.log, self.integer) != (None, None, None, False, False):
                return "give `values` alone, or `low` and `high` without them"
            return None if self.values else "`values` is empty: name at least one"
        if self.low is None or self.high is None:
            return "give `low` and `high`, or `values`"
        if not self.low < self.high:
            return f"`low` ({self.low:g}) must be below `high` ({self.high:g})"
        if self.log and self.low <= 0:
            return f"a logarithmic range begins above 0, not at {self.low:g}"
        if self.log and self.step is not None:
            return "a logarithmic range has no `step`: leave one of them out, or list `values`"
        if self.step is not None and self.step <= 0:
            return f"`step` must be above 0, not {self.step:g}"
        if self.integer and any(not float(one or 0).is_integer() for one in (self.low, self.high, self.step)):
            return "`integer` goes with whole `low`, `high` and `step`"
        return None

    def suggest(self, trial: Trial, key: str) -> Value:
        """The sampler's value for a trial; the same again where the trial has one already."""
        if self.values is not None:
            return trial.suggest_categorical(key, [_kept(value) for value in self.values])
        assert self.low is not None
        assert self.high is not None
        if self.integer:
            return trial.suggest_int(
                key, int(self.low), int(self.high), step=int(self.step or 1), log=self.log
            )
        return trial.suggest_float(key, self.low, self.high, step=self.step, log=self.log)

    def example(self) -> Value:
        """One of the values."""
        if self.values is not None:
            return _kept(self.values[0])
        assert self.low is not None
        return int(self.low) if self.integer else self.low

    def points(self, key: str) -> list[Value]:
        """All values, for a grid.

        Raises:
            PcclipError: There is no end of them.
        """
        if self.values is not None:
            return [_kept(value) for value in self.values]
        assert self.low is not None
        assert self.high is not None
        if self.step is None and (self.log or not self.integer):
            raise PcclipError(
                f"ranges: {key}: a grid needs `values` or a `step` here, or take another sampler"
            )
        step = self.step or 1
        count = math.floor((self.high - self.low) / step * (1 + 1e-12)) + 1
        if self.integer:
            return [int(self.low) + n * int(step) for n in range(count)]
        return [self.low + n * step for n in range(count)]

    def words(self, key: str, value: Value) -> list[str]:
        """Arguments of `pcclip fit` that give this setting, and those that follow it, a value."""
        return [f"--{name}={_text(value)}" for name in (key, *self.also)]


def grid(ranges: Mapping[str, Range]) -> list[dict[str, Value]]:
    """All combinations of all values.

    Raises:
        PcclipError: There is no end of them, or there are far too many.
    """
    points = {key: one.points(key) for key, one in ranges.items()}
    if (count := math.prod(map(len, points.values()))) > _GRID:
        raise PcclipError(f"ranges: a grid of {count:,} points. Make steps larger, or take another sampler")
    return [dict(zip(points, values, strict=True)) for values in itertools.product(*points.values())]


def _kept(value: Any) -> Value:
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value)


def _text(value: Value) -> str:
    if isinstance(value, str):
        return value
    text = json.dumps(value)
    # YAML takes 1e-05 for a text.
    return text.replace("e", ".0e") if isinstance(value, float) and "e" in text and "." not in text else text
