"""Pictures to files: only those that are not there yet, whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, PngImagePlugin

from pcclip.arithmetic.generators import Conditioning, Generator
from pcclip.arithmetic.plan import Plan, Wanted
from pcclip.arithmetic.vectors import Arithmetic
from pcclip.data.files import write_atomically
from pcclip.errors import PcclipError
from pcclip.untrusted import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcclip.model.towers import Towers

COST = "cost.json"
_NOTE = "pcclip"  # key of the PNG's text chunk
_END = b"IEND\xaeB`\x82"  # the last bytes of a whole PNG
_SCHEMA = 1


@dataclass(frozen=True)
class Cost:
    """What drawing has cost so far.

    Attributes:
        pictures: Drawn.
        seconds: That took, texts included.
        peak_memory_gib: Of the GPU that draws, else of the process; None where the generator does not say.
    """

    pictures: int = 0
    seconds: float = 0.0
    peak_memory_gib: float | None = None

    @classmethod
    def load(cls, folder: Path) -> Cost:
        """What is noted in a tower's folder; nothing if none is."""
        try:
            return cls(**parse_json((folder / COST).read_bytes()))
        except (OSError, ValueError, TypeError):
            return cls()

    def plus(self, pictures: int, seconds: float, peak: float | None) -> Cost:
        """With one more batch."""
        peaks = [one for one in (self.peak_memory_gib, peak) if one is not None]
        return Cost(self.pictures + pictures, self.seconds + seconds, max(peaks, default=None))

    def save(self, folder: Path) -> None:
        """Notes it in a tower's folder."""
        write_atomically(folder / COST, json.dumps(dataclasses.asdict(self)).encode())


class Studio:
    """Draws the pictures of one tower into one folder.

    Every picture carries a digest of all that decides it (generator, tower, texts, weight, seed). One that is
    there with the same digest is kept, any other is drawn again; so a stopped evaluation goes on, and a
    change of settings draws what it changes.

    Args:
        generator: That draws.
        tower: That reads the texts; None for the generator's own.
        tower_fingerprint: Of the tower.
        arithmetic: Of the cells with a weight.
        plan: What is to be there.
        folder: Where.
        batch_size: Pictures drawn at once.
    """

    def __init__(
        self,
        generator: Generator,
        tower: Towers | None,
        tower_fingerprint: str,
        arithmetic: Arithmetic,
        plan: Plan,
        folder: Path,
        batch_size: int,
    ) -> None:
        """See the class."""
        self._generator = generator
        self._tower = tower
        self._identity = {
            "schema": _SCHEMA,
            "generator": generator.fingerprint(),
            "tower": tower_fingerprint,
        }
        self._arithmetic = arithmetic
        self._folder = folder
        # Missing pictures are drawn in the batches of an undisturbed run: how many rows a matrix product has
        # may change its last bits, and so the picture.
        self._batches = [
            batch
            for cell in plan.cells
            for batch in _batches(plan.wanted(cell), batch_size)
            if any(not self._is_there(one) for one in batch)
        ]

    @property
    def missing(self) -> int:
        """Pictures that are still to be drawn."""
        return sum(not self._is_there(one) for batch in self._batches for one in batch)

    def draw(self, drawn: Callable[[int], None] = lambda count: None) -> None:
        """Draws what is missing.

        Args:
            drawn: Told how many pictures more are there.

        Raises:
            PcclipError: The tower does not fit the generator, or the arithmetic not its parts.
        """
        cost = Cost.load(self._folder)
        for batch in self._batches:
            missing = [one for one in batch if not self._is_there(one)]
            started = time.perf_counter()
            pictures = self._generator.draw(self._conditioning(batch), [one.seed for one in batch])
            seconds = time.perf_counter() - started
            for one, picture in zip(batch, pictures, strict=True):
                if one in missing:
                    self._write(one, picture)
            cost = cost.plus(len(batch), seconds, self._generator.cost().get("peak_memory_gib"))
            cost.save(self._folder)
            drawn(len(missing))

    def _conditioning(self, batch: Sequence[Wanted]) -> Conditioning:
        """Of a batch, whose rows have the same weight."""
        encode = self._generator.encode
        base = encode([one.prompt for one in batch], self._tower)
        changes = [one.change for one in batch if one.change is not None]
        if not changes:
            return base
        subtracted = [one.subtracted for one in batch if one.subtracted is not None]
        opposite = encode(subtracted, self._tower) if subtracted else None
        return self._arithmetic.apply(base, encode(changes, self._tower), batch[0].weight, opposite)

    def _digest(self, one: Wanted) -> str:
        decides: dict[str, Any] = {**self._identity, "prompt": one.prompt, "seed": one.seed}
        if one.change is not None:
            decides |= {"change": one.change, "subtracted": one.subtracted, "weight": one.weight}
            decides["arithmetic"] = dataclasses.asdict(self._arithmetic)
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def _is_there(self, one: Wanted) -> bool:
        path = self._folder / one.file
        try:
            with path.open("rb") as file:
                file.seek(-len(_END), io.SEEK_END)
                if file.read() != _END:
                    return False
            with Image.open(path) as picture:
                return parse_json(picture.info[_NOTE])["digest"] == self._digest(one)
        except (OSError, ValueError, KeyError, TypeError, SyntaxError):
            return False  # none yet, or no picture of ours

    def _write(self, one: Wanted, picture: Image.Image) -> None:
        note = PngImagePlugin.PngInfo()
        note.add_text(_NOTE, json.dumps({"digest": self._digest(one), **dataclasses.asdict(one)}))
        buffer = io.BytesIO()
        picture.convert("RGB").save(buffer, "PNG", pnginfo=note)
        path = self._folder / one.file
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, buffer.getvalue())
        except OSError as error:
            raise PcclipError(
                f"{path}: cannot be written ({error.strerror}). Make room, or name another folder."
            ) from error


def remove_leftovers(folder: Path) -> None:
    """Removes what writers that were killed have left half written; call it where no other one writes."""
    for leftover in folder.rglob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def _batches(rows: Sequence[Wanted], size: int) -> Iterator[Sequence[Wanted]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
