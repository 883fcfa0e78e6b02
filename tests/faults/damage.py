"""Files that are damaged as disks and copies damage them, and what comes of using them."""

from __future__ import annotations

import random
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pcclip.errors import PcclipError

SECONDS, EXTRA_MEMORY = 30, 2 << 30


@dataclass(frozen=True)
class Damage:
    """How a file is damaged.

    Attributes:
        name: Of the damage, for messages.
        apply: From the file's bytes to damaged ones.
    """

    name: str
    apply: Callable[[bytes], bytes]


def damages(size: int, flips: int, seed: int) -> Iterator[Damage]:
    """Cuts at several places, zeros at the end as after a power cut, and single bits flipped at random."""
    rng = random.Random(seed)
    for at in sorted({0, 1, size // 3, size // 2, size - 1, rng.randrange(size), rng.randrange(size)}):
        if at < size:
            yield Damage(f"cut at {at} of {size}", lambda data, at=at: data[:at])
    for length in (1, size // 4, size):
        if length:
            yield Damage(f"last {length} of {size} zeros", lambda data, n=length: data[:-n] + bytes(n))
    for _ in range(flips):
        at, bit = rng.randrange(size), rng.randrange(8)
        yield Damage(f"bit {bit} of byte {at} of {size}", lambda data, at=at, bit=bit: flipped(data, at, bit))


def flipped(data: bytes, at: int, bit: int) -> bytes:
    """The data with one bit the other way."""
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


@dataclass
class Tally:
    """What came of all damages of one kind of file.

    Attributes:
        counts: Tried, `refused`, `same` (nothing lost: unused bytes, or made again) and `differs`.
        undetected: The damages whose result differed without a word, from `pcclip inspect` neither.
    """

    counts: Counter[str] = field(default_factory=Counter)
    undetected: list[str] = field(default_factory=list)


def try_all(
    file: Path,
    use: Callable[[], Any],
    same: Callable[[Any, Any], bool],
    inspect: Callable[[], None] | None,
    flips: int,
    seed: int = 0,
) -> Tally:
    """Damages a file in all ways, uses it each time, and puts it back.

    Args:
        file: To damage; its time of change stays, as where a disk forgets.
        use: Reads it as pcclip does; gives what it found.
        same: Whether two finds are equal.
        inspect: Raises PcclipError where the file is not as it was written; asked where the find differed.
        flips: Bits to flip.
        seed: Of the random places.

    Raises:
        AssertionError: The use hung, took gigabytes, or ended with an error that is not for people.
    """
    import os

    whole, status = file.read_bytes(), file.stat()
    expected, tally = use(), Tally()
    assert same(expected, use())
    for damage in damages(len(whole), flips, seed):
        changed = damage.apply(whole)
        if changed == whole:
            continue
        file.write_bytes(changed)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        tally.counts["tried"] += 1
        told = f"{file.name}: {damage.name}"
        try:
            with bounded(told):
                found = use()
        except PcclipError as error:
            message = str(error)
            assert "\n" not in message.strip(), f"{told}: several lines: {message}"
            assert file.name in message or str(file.parent) in message, f"{told}: not named: {message}"
            tally.counts["refused"] += 1
        except Exception as error:
            raise AssertionError(f"{told}: {type(error).__name__}: {error}") from error
        else:
            outcome = "same" if same(expected, found) else "differs"
            tally.counts[outcome] += 1
            if outcome == "differs" and not _found_by(inspect, file):
                tally.undetected.append(told)
        file.write_bytes(whole)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    return tally


def _found_by(inspect: Callable[[], None] | None, file: Path) -> bool:
    if inspect is None:
        return False
    try:
        inspect()
    except PcclipError as error:
        return file.name in str(error)
    return False


@contextmanager
def bounded(told: str) -> Iterator[None]:
    """Ends what hangs, and refuses gigabytes."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"{told}: still going after {SECONDS} seconds")

    former = signal.signal(signal.SIGALRM, late)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (used + EXTRA_MEMORY, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
