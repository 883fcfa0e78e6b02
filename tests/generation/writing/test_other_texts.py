"""Captions rewritten and classes described by the same job, through the command line."""

import io
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jobs import PROMPTS, RULES, made, records, server, start
from parrot import Misbehaviour, Parrot, completion
from PIL import Image

from pcclip.cli import main
from pcclip.data.class_texts import read_class_texts, read_pair_texts
from pcclip.data.inspect import inspect_shards
from pcclip.data.records import Picture
from pcclip.data.shards import ShardIndex, ShardSet, ShardSetWriter, resolve_shards
from pcclip.errors import PcclipError

Start = Callable[[Misbehaviour | None], Parrot]
BIRDS = ["robin", "wren", "blue jay"]
LISTS = ("classes.txt", "predicates.txt", "predicate-matrix-binary.txt")
LAX = {"class_path": "pcclip.generation.filter_check.Filter"}


def check(**limits: object) -> dict[str, Any]:
    return LAX | {"init_args": {"limits": {"min_chars": 15, "comparing": False} | limits}}


def config_of(
    folder: Path, rows: str, rows_args: dict[str, Any], writer: dict[str, Any], **more: Any
) -> Path:
    settings = {
        "rows": {"class_path": f"pcclip.generation.{rows}", "init_args": {"name": "t"} | rows_args},
        "writer": writer,
        "out": str(folder / "out"),
        "progress": False,
    } | more
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def picture_set(folder: Path, count: int, name: str = "photos") -> Path:
    with ShardSetWriter(folder / name, "pictures", 10, {"licence": "CC BY"}) as writer:
        for at in range(count):
            data = io.BytesIO()
            Image.new("RGB", (8, 8), (at, 0, 0)).save(data, "PNG")
            texts = (f"a red dog number {at} on the grass", f"dog {at} runs", " ")[: (0, 1, 3)[at % 3]]
            writer.write_picture(
                Picture(f"p{at:03d}", data.getvalue(), "png", None, f"class{at % 2}", {"size": at}, texts)
            )
    return folder / name


def pictures(folder: Path) -> dict[str, Picture]:
    return {
        index.key(at): Picture.parse(index.key(at), index.read_record(at), path)
        for path in resolve_shards(str(folder))
        for index in (ShardIndex.load(path),)
        for at in range(len(index))
    }


def last(body: dict[str, Any]) -> str:
    return body["messages"][-1]["content"]


def rewriting(body: dict[str, Any], number: int) -> tuple[int, dict[str, str], bytes]:
    """Rewrites captions: some it repeats, some it refuses."""
    caption = last(body).split("\n")[0].removeprefix("Caption: ")
    digits = int("".join(filter(str.isdigit, caption)))
    told = f"On the lawn there is the dog number {digits}, and it is red."
    if digits % 5 == 0:
        told = caption
    return 200, {}, completion(json.dumps({"caption": told}))


def test_captions_are_rewritten_and_the_pictures_stay(parrot: Start, tmp_path: Path, capsys: Any) -> None:
    before = pictures(picture_set(tmp_path, 30))
    config = config_of(
        tmp_path,
        "caption_rows.CaptionRows",
        {"pictures": str(tmp_path / "photos")},
        server(parrot(rewriting).url),
        prompt=str(PROMPTS / "caption_rewrite.yaml"),
        check=check(),
        records_per_shard=8,
        chunk_rows=7,
    )
    assert main(["write", "--config", str(config)]) == 0
    out = tmp_path / "out"
    after = pictures(out / "pictures")
    assert list(after) == [key for key, p in before.items() if p.captions]  # ten have none
    assert [r["row"] for r in records(out)] == list(range(30))
    for at, (key, new) in enumerate((k, after[k]) for k in after):
        old, number = before[key], int(key[1:])
        assert (new.image, new.class_name, new.attributes) == (old.image, old.class_name, old.attributes)
        asked = [text for text in old.captions if text.strip()]
        if number % 5 == 0:
            assert list(new.captions) == asked
        else:  # both captions of a picture are rewritten to the same text, which it has once
            assert new.captions == (f"On the lawn there is the dog number {number}, and it is red.",)
        assert new.caption == new.captions[0], at
    report = inspect_shards(str(out / "pictures"))
    assert (report.kind, report.records, report.fault_count) == ("pictures", 20, 0)
    card = ShardSet.load(out / "pictures").card
    assert card["captions"] == {
        "rewritten": 24,
        "kept as they were": 6,
        "pictures without a caption, left out": 10,
    }
    assert (card["rejected"], card["licence"], card["model"]) == ({"copied_caption": 6}, "CC BY", "parrot")
    written = (out / "CARD.md").read_text()
    assert "| 30 | 20 | 6 | 0 |" in written
    assert "| kept as they were | 6 |" in written
    capsys.readouterr()
    assert main(["inspect", str(out / "pictures")]) == 0
    said = capsys.readouterr().out
    assert "caption-rewrite" in said
    assert "rewritten 24" in said
    assert main(["write", "--config", str(config)]) == 0
    assert "already made" in capsys.readouterr().out


def test_a_sample_has_the_pictures_that_pairs_of_the_same_seed_have(parrot: Start, tmp_path: Path) -> None:
    folder = str(picture_set(tmp_path, 60))
    settings: dict[str, Any] = {"prompt": str(PROMPTS / "caption_rewrite.yaml")}
    rows = {"pictures": folder, "sample": 20, "captions": 1, "seed": 3}
    writer = server(parrot(rewriting).url)
    config = config_of(tmp_path, "caption_rows.CaptionRows", rows, writer, **settings)
    assert main(["write", "--config", str(config)]) == 0
    pairs = {"pictures": folder, "plan": {"pictures": 20, "method": "all"}, "seed": 3}
    (tmp_path / "b").mkdir()
    config = config_of(tmp_path / "b", "picture_pairs.PicturePairs", pairs, RULES)
    main(["write", "--config", str(config)])
    drawn = {r["image1"] for r in records(tmp_path / "b" / "out")} | {
        r["image2"] for r in records(tmp_path / "b" / "out")
    }
    rewritten = set(pictures(tmp_path / "out" / "pictures"))
    assert rewritten == {key for key in drawn if int(key[1:]) % 3}
    assert all(len(p.captions) == 1 for p in pictures(tmp_path / "out" / "pictures").values())


def describing(body: dict[str, Any], number: int) -> tuple[int, dict[str, str], bytes]:
    """Describes birds, each text told apart by its seed; of jays it knows nothing."""
    name = last(body).split("\n")[1].removeprefix("Name: ")
    told = f"Small and round, with a beak of the {name} and {body['seed'] % 3} pale bars on each wing."
    if name == "blue jay":
        told = "I am sorry, but I cannot help with that."
    return 200, {}, completion(json.dumps({"description": told}))


def classes(folder: Path, kind: str) -> Any:
    """The birds as a recipe can name them."""
    file = folder / f"birds.{kind}"
    if kind == "json":
        file.write_text(json.dumps({"schema": 1, "classes": BIRDS}))
    elif kind == "txt":
        file.write_text("".join(f"{name}\n" for name in BIRDS))
    return BIRDS if kind == "list" else str(file)


@pytest.mark.parametrize("kind", ["list", "txt", "json"])
def test_classes_are_described_several_times(parrot: Start, tmp_path: Path, kind: str) -> None:
    config = config_of(
        tmp_path,
        "class_rows.ClassRows",
        {"classes": classes(tmp_path, kind), "domain": "bird", "texts": 6},
        server(parrot(describing).url),
        prompt=str(PROMPTS / "class_description.yaml"),
        check=check(),
    )
    assert main(["write", "--config", str(config)]) == 0
    texts = read_class_texts(tmp_path / "out")
    assert list(texts) == BIRDS
    answers = {name: [r for r in records(tmp_path / "out") if r["image1"] == name] for name in BIRDS}
    for name in ("robin", "wren"):
        assert len(answers[name]) == 6
        assert texts[name] == tuple(dict.fromkeys(r["difference"] for r in answers[name]))
        assert 2 <= len(texts[name]) <= 3
    assert texts["blue jay"] == ()
    again = 12 - len(texts["robin"]) - len(texts["wren"])
    card = (tmp_path / "out" / "CARD.md").read_text()
    assert f"| again for the same class | {again} |" in card
    assert "| refusal | 6 |" in card
    assert "| of them without a text | 1 |" in card
    with pytest.raises(PcclipError, match="holds class texts, but pair texts are wanted"):
        read_pair_texts(tmp_path / "out")


def test_the_classes_of_a_picture_set(parrot: Start, tmp_path: Path) -> None:
    config = config_of(
        tmp_path,
        "class_rows.ClassRows",
        {"classes": str(picture_set(tmp_path, 9)), "domain": "dog"},
        server(parrot(describing).url),
        prompt=str(PROMPTS / "class_description.yaml"),
    )
    assert main(["write", "--config", str(config)]) == 0
    assert list(read_class_texts(tmp_path / "out" / "texts.json")) == ["class0", "class1"]
    assert "licence of the sources: CC BY" in (tmp_path / "out" / "CARD.md").read_text()


def test_each_ordered_pair_of_classes_is_compared(parrot: Start, tmp_path: Path) -> None:
    config = config_of(
        tmp_path,
        "class_rows.ClassPairRows",
        {"classes": BIRDS, "domain": "bird"},
        server(parrot(None).url),
        prompt=str(PROMPTS / "class_pair.yaml"),
    )
    assert main(["write", "--config", str(config)]) == 0
    texts = read_pair_texts(tmp_path / "out")
    assert list(texts) == [(a, b) for a in BIRDS for b in BIRDS if a != b]
    for (one, other), (text,) in texts.items():
        assert f"First: {one}\nSecond: {other}" in text
    listed = '[["wren", "robin"]]'
    words = ["write", "--config", str(config), "--rows.pairs", listed, "--out", str(tmp_path / "few")]
    assert main(words) == 0
    assert list(read_pair_texts(tmp_path / "few")) == [("wren", "robin")]


def test_rules_compare_the_animals_of_awa2(tmp_path: Path, real_data: Path) -> None:
    source = {
        "class_path": "pcclip.data.sources.awa2.Awa2",
        "init_args": {"root": str(real_data / "AwA2")},
    }
    writer = RULES | {"init_args": {"source": source}}
    config = config_of(tmp_path, "class_rows.ClassPairRows", {"source": source, "texts": 2}, writer)
    assert main(["write", "--config", str(config)]) == 0
    texts = read_pair_texts(tmp_path / "out")
    assert len(texts) == 50 * 49
    assert all(1 <= len(both) <= 2 for both in texts.values())
    lists = [
        [line.split() for line in (real_data / "AwA2" / name).read_text().splitlines()] for name in LISTS
    ]
    names, predicates, matrix = lists
    column = [name for _, name in predicates].index("stripes")
    striped = {
        name.replace("+", " ") for (_, name), row in zip(names, matrix, strict=True) if row[column] == "1"
    }
    told = {one for (one, _), both in texts.items() if any(text.startswith("stripes") for text in both)}
    assert told
    assert told <= striped
    assert "Animals with Attributes 2" in (tmp_path / "out" / "CARD.md").read_text()


@pytest.mark.parametrize("rows", ["caption_rows.CaptionRows", "class_rows.ClassPairRows"])
def test_killed_and_started_again_it_is_as_if_undisturbed(parrot: Start, tmp_path: Path, rows: str) -> None:
    def slow(body: dict[str, Any], number: int) -> Any:
        time.sleep(0.01)
        return rewriting(body, number) if "Caption" in last(body) else None

    captions = rows.endswith("CaptionRows")
    about = {"pictures": str(picture_set(tmp_path, 90))} if captions else {"classes": list("abcdefghij")}
    prompt = str(PROMPTS / f"{'caption_rewrite' if captions else 'class_pair'}.yaml")
    domain = {} if captions else {"domain": "letter"}
    config = config_of(
        tmp_path, rows, about | domain, server(parrot(slow).url), prompt=prompt, chunk_rows=9, check=None
    )
    process = start(config)
    while len(list(tmp_path.glob("out/answers/*.jsonl"))) < 3 and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out" / "CARD.md").exists()
    assert main(["write", "--config", str(config)]) == 0
    assert main(["write", "--config", str(config), "--out", str(tmp_path / "whole")]) == 0
    assert [r["row"] for r in records(tmp_path / "out")] == list(range(90))
    assert made(tmp_path / "out") == made(tmp_path / "whole")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--noise.shuffled", "5"], "'noise' and the payload 'pixels' are for differences"),
        (["--payload", "pixels"], "'noise' and the payload 'pixels' are for differences"),
        (["--rows.classes", "null"], "give 'classes' or 'source'"),
        (["--rows.classes", "[robin]"], "names 1 classes"),
        (["--rows.classes", "[robin, wren, robin]"], "'robin' is empty or comes twice"),
        (["--rows.classes", "no/such.txt"], "no/such.txt"),
        (["--rows.pairs", "[[robin, owl]]"], r"'pairs' holds ['robin', 'owl']"),
        (["--rows.texts", "0"], "'texts' is 0"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, words: list[str], told: str, capsys: Any) -> None:
    rows = {"classes": BIRDS, "domain": "bird"}
    config = config_of(tmp_path, "class_rows.ClassPairRows", rows, RULES)
    assert main(["write", "--config", str(config), *words]) == 1
    assert told in capsys.readouterr().err


def test_what_is_no_file_of_texts_is_named(tmp_path: Path) -> None:
    file = tmp_path / "texts.json"
    for content in (None, "{", "[]", '{"schema": 9, "kind": "class texts"}', '{"schema": 1, "kind": "x"}'):
        if content is not None:
            file.write_text(content)
        with pytest.raises(PcclipError, match=r"texts\.json: is no file of texts about classes"):
            read_class_texts(file)
