"""`pcclip rank` and `pcclip search`, from the command line to the table, the CSV and the page."""

from __future__ import annotations

import base64
import csv
import io
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

import pcclip
from pcclip.cli import main
from pcclip.inference.model import Placed
from tests.inference.conftest import RUN, save_picture


class Page(HTMLParser):
    """What a page shows: the file names of each order, its pictures, every address in it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.orders: list[list[str]] = []
        self.sources: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("src", "href", "data", "action"):
                (self.sources if tag == "img" else self.addresses).append(value or "")
        if tag == "section":
            self.orders.append([])
        if tag == "i" and self.orders:
            self.orders[-1].append(str(dict(attrs)["title"]))

    def pictures(self) -> list[Image.Image]:
        head = "data:image/jpeg;base64,"
        assert all(source.startswith(head) for source in self.sources)
        return [Image.open(io.BytesIO(base64.b64decode(s.removeprefix(head)))) for s in self.sources]


def rank(*words: str) -> int:
    return main(["rank", "photos", *words, "--device", "cpu", "--cache_dir", "cache"])


def table(file: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(Path(file).read_text())))


def names(placed: list[Placed]) -> list[str]:
    return [str(one.picture) for one in placed]


def test_rank_prints_and_writes_the_order(pets: Path, capsys: pytest.CaptureFixture[str]):
    assert (
        rank("it is larger", "--model", RUN, "--csv", "out/order.csv", "--html", "order.html", "--top", "5")
        == 0
    )
    order = pcclip.load(RUN).rank("photos", "it is larger")
    rows = table("out/order.csv")
    assert [row["file"] for row in rows] == names(order)[:5]
    assert [int(row["rank"]) for row in rows] == [1, 2, 3, 4, 5]
    assert [float(row["score"]) for row in rows] == pytest.approx([one.score for one in order[:5]], abs=1e-5)
    printed = capsys.readouterr().out
    assert "Ranked by “it is larger”: 12 pictures of photos, by pets-differences/seed0 tuned" in printed
    places = [printed.index(name) for name in names(order)[:5]]
    assert places == sorted(places)
    assert names(order)[5] not in printed
    page = Page(Path("order.html"))
    assert page.orders == [names(order)[:5]]
    assert len(page.pictures()) == 5
    assert rank("it is larger", "--model", RUN, "--csv", "all.csv", "--reverse") == 0
    assert [row["file"] for row in table("all.csv")] == names(order)[::-1]


def test_base_and_tuned_stand_side_by_side(pets: Path, capsys: pytest.CaptureFixture[str]):
    words = ["a large one", "--opposite", "a small one", "--model", RUN, "--compare", "base"]
    assert rank(*words, "--csv", "order.csv", "--html", "order.html") == 0
    by = {
        stage: pcclip.load(RUN, stage=stage).rank("photos", "a large one", "a small one")
        for stage in ("tuned", "base")
    }
    assert names(by["base"]) != names(by["tuned"])
    assert Page(Path("order.html")).orders == [names(by["tuned"]), names(by["base"])]
    rows = table("order.csv")
    assert [row["file"] for row in rows] == names(by["tuned"])
    for row in rows:
        assert int(row["other_rank"]) == names(by["base"]).index(row["file"]) + 1
        assert float(row["other_score"]) == pytest.approx(
            by["base"][int(row["other_rank"]) - 1].score, abs=1e-5
        )
    assert "by pets-differences/seed0 base" in capsys.readouterr().out


def test_the_page_says_where_a_lone_comparison_orders_nothing(pets: Path):
    assert rank("it is larger", "--model", RUN, "--compare", "base", "--html", "order.html") == 0
    text = Path("order.html").read_text()
    note = "This model does not say that it was finetuned"
    assert text.count(note) == 1
    assert text.index("seed0 tuned</h2>") < text.index("seed0 base</h2>") < text.index(note)


def test_search_leaves_its_picture_out_and_shows_it_above(pets: Path, capsys: pytest.CaptureFixture[str]):
    words = [
        "search",
        "photos",
        "--like",
        "photos/c.jpg",
        "--but",
        "at night",
        "--weight",
        "3",
        "--model",
        RUN,
    ]
    assert main([*words, "--cache_dir", "cache", "--html", "found.html", "--csv", "found.csv"]) == 0
    found = pcclip.load(RUN).search("photos", "photos/c.jpg", "at night", weight=3)
    assert [row["file"] for row in table("found.csv")] == names(found)
    page = Page(Path("found.html"))
    assert page.orders == [names(found)]
    assert len(page.pictures()) == 12
    assert "c.jpg" not in names(found)
    assert "Like c.jpg, but “at night”" in capsys.readouterr().out
    by_name = ["c.jpg" if word == "photos/c.jpg" else word for word in words]
    assert main([*by_name, "--cache_dir", "cache", "--csv", "named.csv"]) == 0
    assert Path("named.csv").read_bytes() == Path("found.csv").read_bytes()


def test_the_page_is_safe_upright_and_needs_nothing(pets: Path):
    odd = '<img src=x onerror="alert(1)"> & [bold] $title.jpg'
    save_picture(pets / "photos" / odd, 40)
    save_picture(pets / "photos" / os.fsdecode(b"latin-\xe9-\x1b.jpg"), 41)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new("RGB", (600, 300), "red").save(pets / "photos" / "turned.jpg", exif=exif)
    assert rank("<b>it</b> is larger", "--model", RUN, "--html", "order.html", "--csv", "order.csv") == 0
    page = Page(pets / "order.html")
    assert page.addresses == []
    assert page.tags.isdisjoint({"b>", "script", "link", "iframe"})
    assert len(page.sources) == 15
    assert odd in page.orders[0]
    assert "latin-\N{REPLACEMENT CHARACTER}-\N{REPLACEMENT CHARACTER}.jpg" in page.orders[0]
    shown = dict(zip(page.orders[0], page.pictures(), strict=True))
    assert shown["turned.jpg"].size == (128, 256)
    text = (pets / "order.html").read_text()
    assert "<b>it</b>" not in text
    assert "default-src 'none'" in text
    assert b"latin-\xe9-" in (pets / "order.csv").read_bytes()  # a script finds the file


def test_a_second_call_loads_no_tower(pets: Path):
    words = ["rank", "photos", "it is larger", "--model", RUN, "--cache_dir", "cache", "--csv", "order.csv"]
    assert main(words) == 0
    first = Path("order.csv").read_bytes()
    words[-1] = "again.csv"
    code = f"""
import sys
from pcclip.cli import main
assert main({words!r}) == 0
heavy = {{"torch", "open_clip", "scipy", "pandas", "transformers"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(Path(pcclip.__file__).parents[1])}
    )
    assert Path("again.csv").read_bytes() == first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rank", "absent", "larger"], "absent: there is no such folder"),
        (["rank", "runs", "larger"], "runs: no pictures in it"),
        (["rank", "photos", ""], "a text is empty"),
        (["rank", "photos", "larger", "--top", "0"], "--top 0: at least 1 picture"),
        (["rank", "photos", "larger", "--model", "runs/absent"], "'runs/absent': there is no such folder"),
        (["rank", "photos", "larger", "--html", "photos"], "photos: cannot be written"),
        (["search", "photos", "--like", "absent.jpg", "--but", "at night"], "absent.jpg: cannot be read"),
        (["search", "photos", "--like", "broken.jpg", "--but", "at night"], "cannot be decoded"),
        (["search", "photos", "--like", "photos/a.jpg", "--but", " "], "a text is empty"),
    ],
)
def test_errors_are_one_line(pets: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str):
    (pets / "broken.jpg").write_bytes(b"no picture")
    assert main([*words[:1], "--model", RUN, "--cache_dir", "cache", *words[1:]]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("pcclip ")]
    assert message in line
