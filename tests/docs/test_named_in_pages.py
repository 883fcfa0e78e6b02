"""What pages name in their running text is there: make targets, verbs, modules, options."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_running import PAGES, ROOT, make_targets

from pcclip.cli import VERBS

OF_OTHERS = {"--durations", "--blocks", "--counts"}  # pytest's; of tests.benchmarks.write
OF_ALL = {"--config", "--help", "--print_config", "--nproc-per-node"}
NAMED = [ROOT / "README.md", *sorted(PAGES.glob("*.md"))]


def inline(page: Path) -> Iterator[list[str]]:
    """The words of each piece of code in a page's running text."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    for code in re.findall(r"`([^`]+)`", text):
        words = shlex.split(" ".join(code.split()))
        while words and re.match(r"[A-Z_]+=", words[0]):
            words = words[1:]
        if words:
            yield words


@pytest.fixture(scope="module")
def targets() -> set[str]:
    return make_targets()


@pytest.fixture(scope="module")
def options() -> set[str]:
    """Names of all options and arguments that the reference lists; its own test keeps it true."""
    text = "".join(page.read_text() for page in (PAGES / "reference").glob("*.md"))
    return {name.rsplit(".", 1)[-1] for name in re.findall(r"^\| `(?:--)?([\w.-]+)` \|", text, re.M)}


@pytest.mark.parametrize("page", NAMED, ids=lambda page: page.stem)
def test_what_a_page_names_in_its_text_is_there(page: Path, targets: set[str], options: set[str]) -> None:
    for words in inline(page):
        if words[0] == "make" and len(words) > 1:
            assert words[1] in targets, words
        if words[0] == "pcclip" and len(words) > 1 and words[1].isalpha() and words[1].islower():
            assert words[1] in VERBS, words
        if "-m" in words[:-1] and (module := words[words.index("-m") + 1]) != "pcclip":
            place = ROOT / module.replace(".", "/")
            assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), words
        for word in words:
            option = word.partition("=")[0]
            if not re.fullmatch(r"--[a-z][\w.-]+", option) or option in OF_OTHERS | OF_ALL:
                continue
            if not option.startswith(("--trainer.", "--model.optimizer.", "--model.lr_scheduler.")):
                assert option.removeprefix("--").rsplit(".", 1)[-1].replace("-", "_") in options, words
