"""The three forms of `pcclip judge`: a model judges, people judge, both are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jsonargparse import ArgumentParser

from pcclip.generation.judging.comparison import compare_people
from pcclip.generation.judging.judge import judge
from pcclip.generation.judging.people import make_page

_FORMS = """\
pcclip judge --config RECIPE               language models rate a sample of written texts
pcclip judge --people SET --out FOLDER     a page and a CSV by which people rate them
pcclip judge --import FILE.csv [...]       people's ratings against the judge's and each other's
"""


def run(words: list[str]) -> None:
    """Runs the form that the words name."""
    words = ["--dry_run=true" if word == "--dry-run" else word for word in words]
    asks = any(word in ("-h", "--help") for word in words)
    form = next((name for name in ("people", "import") if _has(words, name)), None)
    if asks:
        print(_FORMS)
        for name in ("judge", "people", "import") if form is None else (form,):
            _PARSERS[name]().print_help()
            print()
        return
    parser = _PARSERS[form or "judge"]()
    settings = parser.parse_args(words)
    if form == "import":
        compare_people(settings["import"], settings.ratings, settings.markdown)
        return
    settings = parser.instantiate_classes(settings)
    function: Callable[..., None] = make_page if form == "people" else judge
    function(**{name: value for name, value in settings.items(branches=True) if name in _names(function)})


def _has(words: list[str], option: str) -> bool:
    return any(word == f"--{option}" or word.startswith(f"--{option}=") for word in words)


def _names(function: Callable[..., None]) -> frozenset[str]:
    code = function.__code__
    return frozenset(code.co_varnames[: code.co_argcount])


def _judge_parser() -> Any:
    parser = ArgumentParser(prog="pcclip judge", usage="pcclip judge --config RECIPE [options]")
    parser.add_argument("--config", action="config", help="the recipe, a YAML file")
    parser.add_function_arguments(judge)
    return parser


def _people_parser() -> Any:
    parser = ArgumentParser(prog="pcclip judge", usage="pcclip judge --people SET --out FOLDER [options]")
    parser.add_function_arguments(make_page)
    return parser


def _import_parser() -> Any:
    parser = ArgumentParser(prog="pcclip judge", usage="pcclip judge --import FILE.csv [...] [options]")
    parser.add_argument(
        "--import", nargs="+", type=str, required=True, help="filled CSV files, one of each rater"
    )
    parser.add_argument(
        "--ratings",
        type=str | None,
        default=None,
        help="the judge's folder or its ratings.csv; without it, a ratings.csv beside the first file",
    )
    parser.add_argument(
        "--markdown", type=str | None, default=None, help="file to write the tables to as well"
    )
    return parser


_PARSERS: dict[str, Callable[[], Any]] = {
    "judge": _judge_parser,
    "people": _people_parser,
    "import": _import_parser,
}
