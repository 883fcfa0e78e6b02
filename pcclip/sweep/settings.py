"""What a sweep is: the fit that it varies, the ranges, and how trials are proposed and judged."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pcclip.errors import PcclipError
from pcclip.sweep.ranges import Range, Value

Sampler = Literal["tpe", "random", "grid", "nsga2"]


@dataclass(frozen=True)
class Sweep:
    """A sweep's settings; its trials are comparable as long as these are the same.

    Attributes:
        fit: The `pcclip fit` command that is varied, without `pcclip fit` itself.
        ranges: Dotted key of a setting -> its values.
        folder: The sweep's own, RUNS/NAME; its trials are run folders in it.
        seeds: Each trial is fitted with each of them, and its objectives are means; None: the fit's own.
        sampler: Who proposes trials.
        sampler_seed: Of the sampler.
        gain: Metrics that should rise; the first objective is their mean change against the base model.
        cost: Metrics that should not fall; the second objective. Without any there is none.
    """

    fit: str
    ranges: dict[str, Range]
    folder: Path
    seeds: tuple[int, ...] | None
    sampler: Sampler
    sampler_seed: int
    gain: tuple[str, ...]
    cost: tuple[str, ...]

    def check(self) -> None:
        """Refuses settings that make no sense.

        Raises:
            PcclipError: They do not.
        """
        if not self.ranges:
            raise PcclipError("ranges: is empty, so there is nothing to try: name a key of `pcclip fit`")
        if not self.gain:
            raise PcclipError("gain: is empty, so nothing can be chosen by: name metrics")
        if self.seeds is not None and (not self.seeds or len({*self.seeds}) < len(self.seeds)):
            raise PcclipError("seeds: name each seed once, or null for the fit's own")
        keys = [key for name, one in self.ranges.items() for key in (name, *one.also)]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise PcclipError(f"ranges: {twice[0]}: is given a value by two ranges. Leave one out")
        own = {"runs", "experiment", "version", "ckpt_path"} | ({"seed_everything"} if self.seeds else set())
        for key, one in self.ranges.items():
            if {key, *one.also} & own:
                raise PcclipError(f"ranges: {key}: is the sweep's own to set. Leave it out")
            one.check(key)

    def base_words(self) -> list[str]:
        """Arguments of the fit that is varied, after `pcclip fit`.

        Raises:
            PcclipError: A quote is not closed.
        """
        try:
            words = shlex.split(self.fit)
        except ValueError as error:
            raise PcclipError(
                f"fit: {self.fit!r} cannot be split into words ({error}). Close its quotes"
            ) from error
        return words[2:] if words[:2] == ["pcclip", "fit"] else words

    def words(self, params: dict[str, Value], seed: int | None) -> list[str]:
        """Arguments of a trial's fit, but for its place."""
        own = [word for key, value in params.items() for word in self.ranges[key].words(key, value)]
        return [*self.base_words(), *own, *([] if seed is None else [f"--seed_everything={seed}"])]

    def runs(self, number: int) -> dict[Path, int | None]:
        """Run folders of a trial, and the seed of each (None: the fit's own)."""
        name = f"trial{number:03d}"
        if self.seeds is None:
            return {self.folder / name: None}
        return {self.folder / f"{name}-seed{seed}": seed for seed in self.seeds}

    def definition(self) -> dict[str, Any]:
        """What all trials have in common, as JSON takes it."""
        return {
            "ranges": {key: one.as_dict() for key, one in self.ranges.items()},
            "seeds": None if self.seeds is None else list(self.seeds),
            "sampler": self.sampler,
            "sampler_seed": self.sampler_seed,
            "gain": list(self.gain),
            "cost": list(self.cost),
        }
