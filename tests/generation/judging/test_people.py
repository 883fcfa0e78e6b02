"""People as raters: the page, the CSV, and the comparison."""

import asyncio
import csv
import html.parser
import io
import json
import shutil
from pathlib import Path

import pytest
from browser import Tab, browse
from jobs import HOSTILE
from judged import Start, judge_recipe, number, read, rules, triple, truth, write_pictures, write_set

from pcclip.cli import main
from pcclip.data.records import Triple
from pcclip.generation.judging.criteria import NAMES
from pcclip.generation.judging.files import SHEET


class Page(html.parser.HTMLParser):
    """Counts tags, collects texts and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.inside: list[tuple[str, str]] = []
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        self.inside.append((self._open, data))


def fill(path: Path, values: dict[str, dict[str, str]], separator: str = ",") -> Path:
    """A copy of rate.csv with values by key, as a spreadsheet saves it."""
    rows = read(path.parent / "rate.csv")
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, SHEET, delimiter=separator)
    table.writeheader()
    table.writerows(row | values.get(row["key"], {}) for row in rows)
    path.write_text(text.getvalue(), "utf-8", newline="")
    return path


def test_the_page_holds_texts_and_pictures_and_no_rating(parrot: Start, tmp_path: Path, capsys) -> None:
    texts = write_set(tmp_path / "set", [triple(n) for n in range(60)])
    pictures = write_pictures(tmp_path / "pictures", [f"p{n:03d}" for n in range(20)])
    words = ["judge", "--people", str(texts), "--pictures", str(pictures), "--out", str(tmp_path / "people")]
    assert main([*words, "--count", "30", "--seed", "1"]) == 0
    rows = read(tmp_path / "people/rate.csv")
    assert list(rows[0]) == SHEET
    assert all(row[name] == "" for row in rows for name in (*NAMES, "objects", "note"))
    text = (tmp_path / "people/rate.html").read_text()
    page = Page(text)
    assert page.tags.count("article") == page.tags.count("blockquote") == 30
    missing = sum(int(row["key"][2:]) % 20 == 19 for row in rows)  # the set ends before p020
    assert missing > 0
    assert f"{missing} of 60 pictures missing" in capsys.readouterr().out
    assert page.tags.count("img") == text.count('src="data:image/jpeg;base64,') == 60 - missing
    assert sum(data == "picture p020 is not in the picture set" for _, data in page.inside) == missing
    assert [row["text"] for row in rows] == [data for tag, data in page.inside if tag == "blockquote"]
    assert "http://" not in text.replace("http-equiv", "")
    assert "https://" not in text
    config = judge_recipe(tmp_path, texts, parrot(rules).url, count=50)
    assert main(["judge", "--config", str(config)]) == 0
    judged = {row["id"] for row in read(tmp_path / "judged/ratings.csv")}
    assert {row["id"] for row in rows} < judged  # the smaller sample is part of the larger
    assert main([*words, "--count", "30", "--seed", "1"]) == 0
    (tmp_path / "people/rate.csv").write_text("filled")
    assert main([*words, "--count", "30", "--seed", "1"]) == 1
    assert "ratings that someone entered" in capsys.readouterr().err
    assert (tmp_path / "people/rate.csv").read_text() == "filled"
    wrong = write_pictures(tmp_path / "wrong", ["x"])
    assert main([*words[:3], "--pictures", str(wrong), "--out", str(tmp_path / "p2")]) == 1
    assert "no picture of the sample is in this set" in capsys.readouterr().err


def test_hostile_texts_stay_text(tmp_path: Path) -> None:
    hostile = HOSTILE | {
        "script": "</script><script>alert(1)</script><img src=x onerror=alert(1)>",
        "comment": "<!-- <script> ]]> &lt;b&gt; ${count} $cards",
        "formula": '=HYPERLINK("http://x","y")',
        "at": "@SUM(1)",
    }
    triples = [
        Triple(f"h-{n}", f"<b>{n}", "two", text, {"captions": [text, '" onload="x']})
        for n, text in hostile.items()
        if text.strip() and n != "surrogate"
    ]
    path = write_set(tmp_path / "set", triples)
    assert main(["judge", "--people", str(path), "--out", str(tmp_path / "people")]) == 0
    page = Page((tmp_path / "people/rate.html").read_text())
    assert page.tags.count("script") == 2
    assert (page.tags.count("img"), page.tags.count("b")) == (0, 2 * len(triples))
    assert not any(name.startswith("on") for name in page.attributes)
    shown = {data for tag, data in page.inside if tag == "blockquote"}
    for name in ("script", "comment", "formula", "braces", "json"):
        assert hostile[name] in shown
    assert not any(c in told for told in shown for c in "\x00\x1b\u202e\u2028")
    (sheet,) = [data for tag, data in page.inside if tag == "script" and data.startswith("{")]
    rows = read(tmp_path / "people/rate.csv")
    assert [row["text"] for row in json.loads(sheet)["rows"]] == [row["text"] for row in rows]
    told = {row["key"]: row["text"] for row in rows}
    assert told["h-formula"] == "'" + hostile["formula"]
    assert told["h-at"] == "'@SUM(1)"
    assert not any(cell.startswith(tuple("=+-@")) for row in rows for cell in row.values())


def test_people_are_compared_with_judges_and_with_each_other(parrot: Start, tmp_path: Path, capsys) -> None:
    texts = write_set(tmp_path / "set", [triple(n) for n in range(40)])
    config = judge_recipe(tmp_path, texts, parrot(rules).url, count=35)
    assert main(["judge", "--config", str(config)]) == 0
    people = tmp_path / "people"
    words = ["--people", str(texts), "--out", str(people), "--count", "40", "--seed", "1"]
    assert main(["judge", *words]) == 0
    facts = {row["key"]: truth(number(row)) for row in read(people / "rate.csv")}
    keys = list(facts)
    ann = {key: facts[key] | {"follows": facts[key]["follows"].upper()} for key in keys[:30]}
    bob = {key: facts[key] | {"note": "a, b; c", "specific": ""} for key in keys[10:]}
    bob[keys[12]]["direction"] = "unclear"
    bob[keys[11]]["follows"] = "no" if facts[keys[11]]["follows"] == "yes" else "yes"
    one, two = fill(people / "ann.csv", ann), fill(people / "bob.csv", bob, ";")
    capsys.readouterr()
    words = ["judge", "--import", str(one), str(two), "--ratings", str(tmp_path / "judged")]
    assert main([*words, "--markdown", str(tmp_path / "people.md")]) == 0
    said = capsys.readouterr().out
    assert said == (tmp_path / "people.md").read_text()
    assert "- ann: 40 rows, 30 rated, 10 unrated, 0 not rated by any judge\n" in said
    assert "- bob: 40 rows, 30 rated (30 not in all criteria), 10 unrated, 5 not rated by any judge\n" in said
    assert "| ann, bob | hallucinated | 20 | 1.00 [1.00, 1.00] | 100.0% [" in said
    assert "| ann, bob | specific | 0 | n/d | n/d | n/d |" in said
    assert "| ann, judge-1 | specific | 30 | 1.00 [1.00, 1.00] | 100.0% [" in said
    assert "| bob, judge-2 | follows | 25 | 0." in said
    listed = said.split("## Disagreements")[1]
    assert listed.count("\n- ") == 6  # bob's two, against ann and both judges
    right = facts[keys[12]]["direction"]
    assert f"- ann / bob, {keys[12]}: direction {right} / unclear. The first picture" in listed
    table = said.split("| follows: ann down, bob across | yes | no |")[1].split("\n")[2:4]
    assert sum(int(cell) for row in table for cell in row.strip("| ").split(" | ")[1:]) == 20
    shutil.copy(tmp_path / "judged/ratings.csv", people)
    assert main(["judge", "--import", str(one)]) == 0  # the judge's ratings beside the file
    assert "| ann, judge-2 | follows | 30 | 1.00" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda t: t.replace(",right,", ",left,", 1),
            "line 2: column 'direction' holds 'left'. Write right, ",
        ),
        (
            lambda t: t.replace(",right,3", ",right,7", 1),
            "line 2: column 'specific' holds '7'. Write 1, 2, 3, 4",
        ),
        (lambda t: t.replace("direction", "way", 1), "line 1 has no column 'direction'"),
        (
            lambda t: t.replace(",right,3", ",right", 1),
            "line 2 has 11 cells, but line 1 names 12 columns. Put",
        ),
        (lambda t: t + t.splitlines()[1] + "\n", "line 5: the text t"),
        (
            lambda t: t.replace("t", "", 1) if False else t.replace("\n2,t", "\n2,,t", 1),
            "line 3 has 13 cells",
        ),
        (lambda t: t + '4,"open', "line 5 cannot be read"),
        (lambda t: t.encode("utf-16"), "line 1 is not UTF-8. Save it"),
    ],
)
def test_bad_lines_are_refused_by_name(tmp_path: Path, capsys, change, told: str) -> None:
    texts = write_set(tmp_path / "set", [triple(n) for n in range(3)])
    assert main(["judge", "--people", str(texts), "--out", str(tmp_path)]) == 0
    rating = {"follows": "yes", "direction": "right", "specific": "3", "hallucinated": "no"}
    good = fill(tmp_path / "ann.csv", {f"t-000{n}": rating for n in range(3)})
    changed = change(good.read_text().replace("\r\n", "\n"))
    bad = tmp_path / "bob.csv"
    bad.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    capsys.readouterr()
    assert main(["judge", "--import", str(good), str(bad)]) == 1
    assert f"pcclip judge: {bad}: {told}" in capsys.readouterr().err


def test_what_cannot_be_compared_is_refused(tmp_path: Path, capsys) -> None:
    texts = write_set(tmp_path / "set", [triple(n) for n in range(3)])
    assert main(["judge", "--people", str(texts), "--out", str(tmp_path)]) == 0
    sheet = str(tmp_path / "rate.csv")
    for words, told in (
        ([sheet], "nothing to compare it with. Give --ratings"),
        ([sheet, sheet], "two files are named 'rate'"),
        ([sheet, "--ratings", sheet], "line 1 has no column 'judge'"),
        ([sheet, "--ratings", str(tmp_path / "absent")], "cannot be read"),
    ):
        assert main(["judge", "--import", *words]) == 1
        assert told in capsys.readouterr().err


def test_help_tells_all_three_forms(capsys) -> None:
    for words, told in (([], "Three forms"), (["--people"], "rate.html"), (["--import"], "--ratings")):
        with pytest.raises(SystemExit) as end:
            main(["judge", *words, "--help"])
        assert end.value.code == 0
        assert told in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    texts = write_set(tmp_path / "set", [triple(n) for n in range(3)], pixels=True)
    assert main(["judge", "--people", str(texts), "--out", str(tmp_path)]) == 0
    url = (tmp_path / "rate.html").as_uri()
    exported = tmp_path / "rate-Ann_B.csv"

    async def use(tab: Tab) -> None:
        await tab.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        await tab.open(url)
        await tab.run("rater.value = 'Ann B'; rater.dispatchEvent(new Event('change', {bubbles: true}))")
        await tab.press("1", "2", "4", "2", "o", *"=ghost", "Escape", "ArrowRight", "2", "3")
        assert await tab.run("document.getElementById('count').textContent") == "2 of 3, 1 rated"
        picture = "document.querySelectorAll('article:not([hidden]) img')[1]"
        assert await tab.run(f"{picture}.decode().then(() => {picture}.naturalWidth)") == 64
        await tab.open(url)  # again: entries are kept
        assert await tab.run("rater.value") == "Ann B"
        await tab.press("u", "5")
        assert await tab.run(
            "document.querySelector('article:not([hidden]) fieldset.active legend').textContent"
        ) == ("Does it name objects that are in neither picture?")
        await tab.run("document.getElementById('export').click()")
        for _ in range(100):
            if exported.exists() and exported.stat().st_size:
                break
            await asyncio.sleep(0.05)
        await tab.run("rater.value = 'Bob'; rater.dispatchEvent(new Event('change', {bubbles: true}))")
        assert await tab.run("document.querySelectorAll('input:checked').length") == 0  # raters are blind

    browse("chromium", tmp_path / "profile", use)
    rows = read(exported)
    blank = read(tmp_path / "rate.csv")
    assert [row | dict.fromkeys((*NAMES, "objects"), "") for row in rows] == blank
    assert [[row[name] for name in (*NAMES, "objects")] for row in rows] == [
        ["yes", "reversed", "4", "yes", "'=ghost"],
        ["no", "unclear", "5", "", ""],
        ["", "", "", "", ""],
    ]
    (tmp_path / "bob.csv").write_bytes((tmp_path / "rate.csv").read_bytes())
    assert main(["judge", "--import", str(exported), str(tmp_path / "bob.csv")]) == 0
