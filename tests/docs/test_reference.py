"""The generated pages are what their generator writes now, and links and figures of all pages are there."""

import re
from pathlib import Path

import pytest
from matplotlib.testing.compare import compare_images
from page_running import PAGES, ROOT

from pcclip.cli import VERBS
from pcclip.docs.making.__main__ import pages
from pcclip.docs.making.figures import WORLDS, draw
from pcclip.docs.making.text import anchor

README = ROOT / "README.md"


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
    assert "| `objective` | [DifferenceObjective](training.md#objectives) or null |" in made["training.md"]
    assert "- [Objectives](#objectives): [DifferenceInfoNCE](#pcclip" in made["training.md"]
    assert "### pcclip.data.sources.own.OwnPictures" in made["data.md"]
    for name, text in made.items():
        assert text.count("\n") < 1000, f"{name}: split it"
        assert not re.search(r" at 0x[0-9a-f]{6}|<(class '|function |factory>)", text), name


def test_figures_are_what_make_docs_figures_draws(tmp_path: Path) -> None:
    drawn = draw(tmp_path)
    for file in drawn:
        assert compare_images(str(PAGES / "figures" / file.name), str(file), tol=2) is None
    pages = [README, *PAGES.glob("*.md")]
    named = {name for page in pages for name in re.findall(r"figures/([\w-]+\.png)", page.read_text())}
    there = {file.name: file.stat().st_size for file in (PAGES / "figures").glob("*.png")}
    assert named == set(there)
    of_runs = {f"ranked-{world}-{name}.png" for world in WORLDS for name in ("gain", "loss")}
    assert set(there) == {file.name for file in drawn} | of_runs  # those: test_pages_of_runs.py
    assert max(there.values()) < 250_000


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    names = [anchor(re.sub(r"[`*]", "", one)) for one in re.findall(r"^#+ (.+)$", text, re.M)]
    return {f"{name}-{n}" if (n := names[:at].count(name)) else name for at, name in enumerate(names)}


@pytest.mark.parametrize("page", [README, *sorted(PAGES.glob("**/*.md"))], ids=lambda page: page.stem)
def test_links_and_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text()
    for link, _, place in re.findall(r"\]\(([^)#]*)(#([^)]*))?\)", text):
        if link.startswith(("http://", "https://")):
            continue
        target = (page.parent / link).resolve() if link else page
        assert target.exists(), link
        assert not place or place in anchors(target), f"{link}#{place}"
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
