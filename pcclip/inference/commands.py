"""`pcclip rank` and `pcclip search`: a folder's pictures by a difference, from the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pcclip.errors import PcclipError
from pcclip.inference.finding import STAGES
from pcclip.inference.gallery import Gallery
from pcclip.inference.model import DifferenceModel, Placed, load
from pcclip.inference.ordering import WEIGHT
from pcclip.inference.results import Ordered, print_table, write_csv
from pcclip.parsing import Parser

_TABLE, _PAGE = 20, 100
"""Pictures in the table and on the page, unless --top says so."""

Order = Callable[[DifferenceModel, Gallery, "int | None"], list[Placed]]


def rank(words: Sequence[str]) -> None:
    """Ranks a folder's pictures by a difference.

    Args:
        words: Of the command line, after the verb.

    Raises:
        PcclipError: As `pcclip.inference.model.load`, `Gallery.open` and `DifferenceModel.rank`.
    """
    parser = _parser("rank", "A folder's pictures in the order that a difference speaks of.")
    parser.add_argument("text", help="the difference, as 'the animal is larger'")
    parser.add_argument("--reverse", action="store_true", help="those that are least so first")
    asked = parser.parse_args(words)

    def order(model: DifferenceModel, gallery: Gallery, top: int | None) -> list[Placed]:
        return model.rank(gallery, asked.text, asked.opposite, top=top, reverse=asked.reverse)

    heading = f"Ranked by “{asked.text}”" + _against(asked) + (", least first" if asked.reverse else "")
    _show(asked, order, heading)


def search(words: Sequence[str]) -> None:
    """Searches a folder for pictures like one, but changed as a text says.

    Args:
        words: Of the command line, after the verb.

    Raises:
        PcclipError: As `pcclip.inference.model.load`, `Gallery.open` and `DifferenceModel.search`.
    """
    parser = _parser("search", "A folder's pictures that are like one, but changed as a text says.")
    parser.add_argument("--like", required=True, metavar="PICTURE", help="a picture, of the folder or not")
    parser.add_argument("--but", required=True, metavar="TEXT", help="the change, as 'at night'")
    parser.add_argument(
        "--weight",
        type=float,
        default=WEIGHT,
        help="of the change; 0 finds the nearest pictures",
    )
    asked = parser.parse_args(words)

    def order(model: DifferenceModel, gallery: Gallery, top: int | None) -> list[Placed]:
        like = asked.like
        return model.search(gallery, like, asked.but, asked.opposite, weight=asked.weight, top=top)

    inside = Path(asked.folder) / asked.like
    start = inside if not Path(asked.like).is_file() and inside.is_file() else Path(asked.like)
    _show(asked, order, f"Like {start.name}, but “{asked.but}”" + _against(asked), start)


def _parser(verb: str, description: str) -> Parser:
    parser = Parser(prog=f"pcclip {verb}", description=description)
    add = parser.add_argument
    add("folder", help="searched for pictures, with all folders in it")
    add("--model", required=True, help="runs/EXPERIMENT/VERSION, a model's folder, an open_clip tag, or "
        "hf-hub:ORG/NAME")  # fmt: skip
    add("--pretrained", help="of a tag: open_clip's pretrained tag, or a file of weights")
    add("--stage", choices=("base", *STAGES), default="tuned", help="which weights of a run")
    add("--opposite", metavar="TEXT", help="the other end of the direction, which is then that of the "
        "two texts, f(text) - f(opposite): surer, and what a model that is not finetuned needs")  # fmt: skip
    add("--compare", metavar="MODEL", help="base, interpolated, or another model: its order beside the first")
    add("--top", type=int, metavar="K", help=f"pictures to show; {_TABLE} in the table, {_PAGE} on the page "
        "and all in the CSV, if it is not given")  # fmt: skip
    add("--csv", metavar="FILE", help="write rank, file and score there")
    add("--html", metavar="FILE", help="write a page of thumbnails there, which needs nothing beside it")
    add("--cache_dir", default="data/cache", help="where embeddings are kept")
    add("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto")
    return parser


def _show(asked: Any, order: Order, heading: str, start: Path | None = None) -> None:
    """Orders by all models that are asked for, and shows it in all ways that are."""
    if asked.top is not None and asked.top < 1:
        raise PcclipError(f"--top {asked.top}: at least 1 picture is shown")
    models = _models(asked)
    whole = asked.csv is not None or len(models) > 1
    needed = None if whole else asked.top or (_PAGE if asked.html else _TABLE)
    orders = []
    for model in models:
        gallery = Gallery.open(asked.folder, model)
        placed = order(model, gallery, needed)
        orders.append(Ordered(model.title, gallery, placed, model.advice(asked.opposite)))
    titles = " and ".join(model.title for model in models)
    about = f"{len(orders[0].gallery):,} pictures of {asked.folder}, by {titles}"
    print_table(orders, f"{heading}: {about}", asked.top or _TABLE)
    if asked.csv is not None:
        write_csv(Path(asked.csv), orders, asked.top)
    if asked.html is not None:
        from pcclip.inference.html_page import write_page

        write_page(Path(asked.html), orders, heading, about, asked.top or _PAGE, start)


def _models(asked: Any) -> list[DifferenceModel]:
    where = {"device": asked.device, "cache": asked.cache_dir}
    models = [load(asked.model, asked.pretrained, stage=asked.stage, **where)]
    if asked.compare in ("base", *STAGES):
        models.append(load(asked.model, stage=asked.compare, **where))
    elif asked.compare is not None:
        models.append(load(asked.compare, **where))
    return models


def _against(asked: Any) -> str:
    return "" if asked.opposite is None else f" against “{asked.opposite}”"
