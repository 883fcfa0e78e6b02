"""The generated pages are what their generator writes now, and links and figures of all pages are there."""

import re
from pathlib import Path

import pytest
from matplotlib.testing.compare import compare_images
from page_running import PAGES

from pcclip.cli import VERBS
from pcclip.docs.making.__main__ import pages
from pcclip.docs.making.figures import draw


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return pages()


def test_the_reference_is_what_make_docs_writes(made: dict[str, str]) -> None:
    assert {file.name for file in (PAGES / "reference").glob("*.md")} == set(made)
    for name, text in made.items():
        assert (PAGES / "reference" / name).read_text() == text, f"{name}: run `make docs`"


def test_it_has_every_verb_and_stays_readable(made: dict[str, str]) -> None:
    for verb in VERBS:
        assert f"## pcclip {verb}\n" in made["commands.md"]
    assert "| `--tokens_per_second` | float | `1000.0` |" in made["commands.md"]
    assert "| `temperature` | float | `0.07` | softmax temperature (the paper: 1). |" in made["training.md"]
    assert "### pcclip.data.sources.own.OwnPictures" in made["data.md"]
    for name, text in made.items():
        assert text.count("\n") < 1000, f"{name}: split it"
        assert not re.search(r" at 0x[0-9a-f]{6}|<(class '|function |factory>)", text), name


def test_figures_are_what_make_docs_figures_draws(tmp_path: Path) -> None:
    for file in draw(tmp_path):
        assert compare_images(str(PAGES / "figures" / file.name), str(file), tol=2) is None
    named = {
        name for page in PAGES.glob("*.md") for name in re.findall(r"figures/(\w+\.png)", page.read_text())
    }
    assert named == {file.name for file in (PAGES / "figures").glob("*.png")}


@pytest.mark.parametrize("page", sorted(PAGES.glob("**/*.md")), ids=lambda page: page.stem)
def test_links_and_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if not link.startswith(("http://", "https://")):
            assert (page.parent / link).exists(), link
    for file in re.findall(r"(?:experiments|data_recipes)/[\w/]+\.(?:yaml|sh|sbatch|mk)", text):
        assert (PAGES.parents[1] / file).is_file(), file


def test_the_index_names_every_page() -> None:
    index = (PAGES / "index.md").read_text()
    for page in PAGES.glob("**/*.md"):
        assert page.name == "index.md" or f"]({page.relative_to(PAGES).as_posix()})" in index, page.name


def test_sections_of_the_readme_that_pages_name_are_there() -> None:
    headings = re.findall(r"^#+ (.+)$", (PAGES.parents[1] / "README.md").read_text(), re.M)
    for page in PAGES.glob("*.md"):
        for told in re.findall(r"README(?: says under|, )([^).]+)", page.read_text()):
            for name in re.findall(r'"([^"]+)"', told):
                assert " ".join(name.split()) in headings, f"{page.name}: README has no section {name!r}"
