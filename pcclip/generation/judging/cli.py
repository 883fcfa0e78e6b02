"""The three forms of `pcclip judge`: a model judges, people judge, both are compared."""

from __future__ import annotations

from pcclip.generation.judging.comparison import compare_people
from pcclip.generation.judging.judge import judge
from pcclip.generation.judging.people import make_page
from pcclip.parsing import Parser, call

_FORMS = """\
Three forms, each with a --help of its own:
  pcclip judge --config RECIPE              language models rate a sample of written texts (below)
  pcclip judge --people SET --out FOLDER    a page and a CSV by which people rate them
  pcclip judge --import FILE.csv [...]      people's ratings against the judge's and each other's
"""


def run(words: list[str]) -> None:
    """Runs the form that the words name."""
    words = ["--dry_run=true" if word == "--dry-run" else word for word in words]
    asks = not words or any(word in ("-h", "--help") for word in words)
    if _has(words, "import"):
        _compare(["--help"] if asks else words)
    elif _has(words, "people"):
        call(make_page, ["--help"] if asks else words, "judge")
    else:
        if asks:
            print(_FORMS)
        call(judge, ["--help"] if asks else words, "judge")


def _has(words: list[str], option: str) -> bool:
    return any(word == f"--{option}" or word.startswith(f"--{option}=") for word in words)


def _compare(words: list[str]) -> None:
    parser = Parser(prog="pcclip judge", description=compare_people.__doc__)
    parser.add_argument(
        "--import", nargs="+", required=True, help="filled CSV files, one of each rater, named by them"
    )
    parser.add_argument(
        "--ratings", help="the judge's folder or ratings.csv; by default a ratings.csv beside the first file"
    )
    parser.add_argument("--markdown", help="file to write the tables to as well")
    settings = parser.parse_args(words)
    # "import" is a word of Python's, so it is no attribute
    compare_people(settings["import"], settings.ratings, settings.markdown)
