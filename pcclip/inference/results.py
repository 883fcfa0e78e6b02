"""Orders of pictures, as commands show them: a table, a CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pcclip.data.files import write_atomically
from pcclip.errors import PcclipError
from pcclip.inference.gallery import Gallery
from pcclip.inference.model import Placed


@dataclass(frozen=True)
class Ordered:
    """The pictures of a gallery in the order that one model puts them in.

    Attributes:
        title: Of the model.
        gallery: Whose pictures.
        placed: From the first on, maybe not all.
        note: What to know about the order.
    """

    title: str
    gallery: Gallery
    placed: Sequence[Placed]
    note: str | None = None


def print_table(orders: Sequence[Ordered], heading: str, top: int) -> None:
    """Prints the head of an order, and where another model puts the same pictures.

    Args:
        orders: The order, and maybe one whole order to compare with.
        heading: Above the table.
        top: Rows at most.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    order, *others = orders
    table = Table()
    table.add_column("", justify="right")
    table.add_column("score", justify="right")
    table.add_column("picture", overflow="fold")
    for other in others:
        table.add_column(Text(f"by {other.title}"), justify="right")
    places = [_places(other) for other in others]
    for rank, one in enumerate(order.placed[:top], start=1):
        name = str(one.picture)
        elsewhere = [f"{of[name][0]:,}" for of in places]
        table.add_row(f"{rank:,}", f"{one.score:.4f}", Text(shown(name)), *elsewhere)
    console = Console() if Console().is_terminal else Console(width=160)
    console.print(Text(heading), table, sep="\n")


def write_csv(file: Path, orders: Sequence[Ordered], top: int | None = None) -> None:
    """Writes rank, file and score of pictures, and rank and score of the same by another model.

    Args:
        file: To write.
        orders: The order, and maybe one whole order to compare with.
        top: Rows at most; all, if None.

    Raises:
        PcclipError: The file cannot be written.
    """
    order, *others = orders
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    more = ["other_rank", "other_score"] if others else []
    writer.writerow(["rank", "file", "score", *more])
    places = [_places(other) for other in others]
    for rank, one in enumerate(order.placed[:top], start=1):
        elsewhere = [value for of in places for value in of[str(one.picture)]]
        name = str(one.picture)
        # The same file, but no spreadsheet takes "./=..." for a formula.
        name = f"./{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name
        writer.writerow([rank, name, f"{one.score:.6f}", *(f"{value:.6g}" for value in elsewhere)])
    write_file(file, buffer.getvalue().encode("utf-8", "surrogateescape"))


def write_file(file: Path, data: bytes) -> None:
    """Writes a file for the user, whole.

    Raises:
        PcclipError: It cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, data)
    except OSError as error:
        raise PcclipError(f"{file}: cannot be written ({error.strerror}). Name another file.") from error


def shown(name: str) -> str:
    """A file's name as text: bytes that are no UTF-8 and control characters replaced."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _places(order: Ordered) -> dict[str, tuple[int, float]]:
    return {str(one.picture): (rank, one.score) for rank, one in enumerate(order.placed, start=1)}
