"""Mix-ups of files and folders, tables from spreadsheets, numbers out of range: one line, with the remedy."""

import gzip
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]

MIXED_UP = {
    "a run for its model": (
        ["bank", "--pictures={sets}/pictures/validation", "--out={tmp}/b", "--name=local-dir:{run}"],
        ["{run}/open_clip_config.json: no such file", "Is local-dir:{run}/model meant?"],
    ),
    "a folder for a tag": (
        ["bank", "--pictures={sets}/pictures/validation", "--out={tmp}/b", "--name={run}"],
        ["'{run}' is a folder: give it as local-dir:{run}/model"],
    ),
    "a model for its run": (["compare", "{run}/model"], ["{run}/model: no finished run", "Is {run} meant?"]),
    "a checkpoint for its run": (["resume", "{run}/checkpoints/last.ckpt"], ["Is {run} meant?"]),
    "weights for their folder": (
        ["export", "{run}/model/open_clip_model.safetensors", "--out={tmp}/e"],
        ["model.safetensors: is a file. Name the folder that it lies in"],
    ),
    "an experiment for a run": (["inspect", "{run}/.."], ["is a folder of runs. Is "]),
    "data for a set": (["inspect", "{sets}"], ["has no set.json. Is {sets}/pictures/", "meant?"]),
    "photos for a set": (["inspect", "{photos}"], ["has no set.json. `pcclip prepare` makes sets"]),
    "a file for a set": (["inspect", "{sets}/evaluation.json"], ["is a file, but no tar"]),
    "no samples": (["inspect", "{sets}/triples/train", "--samples=-1"], ["samples=-1: give 0 or more"]),
    "a picture for a folder": (
        ["rank", "{photos}/0.jpg", "larger", "--model={run}"],
        ["0.jpg: is a file. Name the folder that it lies in"],
    ),
    "no port": (
        ["serve", "{photos}", "--model={run}", "--port=70000"],
        ["--port 70000: there is no such port"],
    ),
    "no list": (
        ["evaluate", "--suite=s", "--evaluations=[]", "--runs={run}"],
        ["--runs: '{run}' is not a list, as [A,B]"],
    ),
    "a mistyped suite": (["compare", "{run}", "--suite=fitt"], ["suite 'fitt'. Is --suite fit meant?"]),
    "a kind of picture": (
        ["compare", "{run}", "--suite=fit", "--plot={tmp}/x.pgn"],
        ["x.pgn: what kind of picture is '.pgn'?", "png"],
    ),
    "a folder for a file": (
        ["compare", "{run}", "--suite=fit", "--csv={tmp}"],
        ["{tmp}: cannot be written (Is a directory). Name another file."],
    ),
    "no folder": (
        ["prepare", "--config=data_recipes/shapes/demo.yaml", "--out="],
        ["out=''", "give the name of a folder"],
    ),
    "no source": (
        ["prepare", "--source.train=5", "--out={tmp}/o"],
        ["source: no class is named", "--source=MODULE.CLASS"],
    ),
}


@pytest.fixture
def names(place, whole, tmp_path):
    """What the words of a command stand for."""
    photos = tmp_path / "my 'photos' & more"
    photos.mkdir()
    Image.new("RGB", (8, 8)).save(photos / "0.jpg")
    return {"sets": place / "data", "run": whole, "photos": photos, "tmp": tmp_path}


@pytest.mark.parametrize(("words", "says"), MIXED_UP.values(), ids=MIXED_UP)
def test_one_for_another(said, names, words, says):
    told = said(*(word.format(**names) for word in words))
    assert all(text.format(**names) in told for text in says), told


FITS = {
    "seed": (["--seed_everything=-1"], ["seed_everything=-1: give a whole number from 0 to 4294967295"]),
    "decimal comma": (
        ["--model.optimizer.lr=0,001"],
        ["lr: '0,001' is not a number (decimals have a point)"],
    ),
    "a folder for a checkpoint": (["--ckpt_path={run}"], ["ckpt_path={run}: is a folder", "last.ckpt"]),
    "a path for a name": (["--version=a/b"], ["version='a/b': is no name of a folder"]),
    "pictures for triples": (
        ["--data.triples={sets}/pictures/train"],
        ["pictures/train: is a set of pictures, but triples are wanted"],
    ),
    "the same in validation": (
        ["--data.validation_triples={sets}/pictures/train"],
        ["pictures/train: is a set of pictures, but triples are wanted"],
    ),
    "compressed": (["--data.triples={tmp}/*.tar"], ["is compressed", "gunzip 000000.tar.gz"]),
    "a set for a bank": (
        ["--data.bank={sets}/pictures/train"],
        ["pictures/train: is no finished embedding bank"],
    ),
    "large batches": (["--data.batch_size=100000"], ["too few records", "Lower the batch size"]),
}


@pytest.mark.parametrize(("words", "says"), FITS.values(), ids=FITS)
def test_fits_that_fail_before_anything_is_measured(said, place, names, tmp_path, words, says):
    """`said` takes one line alone: no evaluation has run, and nothing is left."""
    shard = next((place / "data/triples/train").glob("*.tar"))
    (tmp_path / "000000.tar").write_bytes(gzip.compress(shard.read_bytes(), 1))
    told = said("fit", f"--config={place / 'fit.yaml'}", *(word.format(**names) for word in words))
    assert all(text.format(**names) in told for text in says), told


ROWS = "file,caption\n0.jpg,a thing\n"
TABLES = {
    "utf-16": (ROWS, "utf-16", [], ["is no text in UTF-8", "'CSV UTF-8'"]),
    "latin-1": (ROWS.replace("thing", "chaîne"), "latin-1", [], ["is no text in UTF-8"]),
    "capitals": (ROWS.replace("file", "File"), "utf-8", [], ["no column 'file'", "is 'File' meant?"]),
    "blanks": (ROWS.replace(",c", ", c"), "utf-8", [], ["is ' caption' meant?"]),
    "mistyped": (ROWS, "utf-8", ["--source.caption_columns=[captoin]"], ["is 'caption' meant?"]),
    "whole paths": (
        ROWS.replace("0.jpg", "/photos/0.jpg"),
        "utf-8",
        [],
        ["row 1: '/photos/0.jpg' is a whole path", "'images'"],
    ),
}


@pytest.mark.parametrize(("text", "encoding", "more", "says"), TABLES.values(), ids=TABLES)
def test_tables_from_spreadsheets(said, names, tmp_path, text, encoding, more, says):
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    source = ["--source=pcclip.data.sources.table.Table", f"--source.table={tmp_path / 't.csv'}"]
    out = tmp_path / "out"
    told = said("prepare", *source, f"--source.images={names['photos']}", *more, f"--out={out}")
    assert all(part in told for part in [str(tmp_path / "t.csv"), *says]), told
    assert not out.exists()


def test_what_windows_writes_is_read(names, tmp_path, capsys):
    """A mark at the start and other line ends, in the table and in the configuration."""
    from pcclip.cli import main

    for at in range(1, 12):
        shutil.copy(names["photos"] / "0.jpg", names["photos"] / f"{at}.jpg")
    rows = ["file,caption", *(f"{at}.jpg,thing {at}" for at in range(12))]
    (tmp_path / "t.csv").write_bytes("\r\n".join(rows).encode("utf-8-sig"))
    table = {"table": str(tmp_path / "t.csv"), "images": str(names["photos"])}
    recipe = {
        "source": {"class_path": "pcclip.data.sources.table.Table", "init_args": table},
        "out": str(tmp_path / "o o"),
    }
    text = json.dumps(recipe, indent=1).replace("\n", "\r\n")
    (tmp_path / "r.yaml").write_bytes(text.encode("utf-8-sig"))
    assert main(["prepare", f"--config={tmp_path / 'r.yaml'}"]) == 0
    assert capsys.readouterr().err == ""
    assert len(list((tmp_path / "o o").glob("pictures/*/set.json"))) >= 1


def test_a_picture_that_is_none(said, names, whole, tmp_path):
    (names["photos"] / "0.jpg").write_bytes(b"not a picture")
    # What is left out is a warning, which goes to a log of its own here.
    told = said("search", names["photos"], "--like=0.jpg", "--but=larger", f"--model={whole}")
    assert "no picture in it can be read" in told


WRITERS = "pcclip.generation.writers"


def recipe(tmp_path, writer, **settings):
    """A recipe of one row."""
    row = {"key": "a", "image1": "p", "image2": "q", "captions1": ["x"], "captions2": ["y"]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    rows = {
        "class_path": "pcclip.generation.rows.RowFile",
        "init_args": {"path": str(tmp_path / "rows.jsonl")},
    }
    prompt = str(ROOT / "data_recipes/prompts/caption_pair.yaml")
    made = {"rows": rows, "writer": writer, "out": str(tmp_path / "out"), "prompt": prompt}
    (tmp_path / "r.yaml").write_text(json.dumps(made | settings))
    return tmp_path / "r.yaml"


@pytest.mark.parametrize(
    ("python", "says"),
    [("", "has no vLLM"), ("/no/such/python", "cannot be run (No such file or directory)")],
)
def test_vllm_is_not_there(said, tmp_path, python, says):
    engine = {
        "class_path": f"{WRITERS}.vllm_engine.VllmEngine",
        "init_args": {"model": "m", "python": python},
    }
    told = said("write", "--config", recipe(tmp_path, engine))
    assert told.startswith("pcclip write: writer.python: /")
    for text in (says, "`make vllm-env` makes one", "OpenAIServer"):
        assert text in told


def test_slips_in_a_writers_recipe(said, tmp_path):
    server = {"class_path": f"{WRITERS}.openai_server.OpenAIServer", "init_args": {"model": "m"}}
    server["init_args"]["url"] = "localhost:8000"
    assert "as http://localhost:8000/v1" in said("write", "--config", recipe(tmp_path, server))
    server["init_args"]["url"] = "http://localhost:8000/v1"
    for prompt in ("nowhere.yaml", "data_recipes/prompts/caption_pair.yaml"):
        told = said("write", "--config", recipe(tmp_path, server, prompt=prompt))
        assert f"{prompt}: there is no such file. In a configuration, paths count from its own" in told
    told = said("write", "--config", recipe(tmp_path, server, records_per_shard=0))
    assert "records_per_shard=0" in told
    config = recipe(tmp_path, server)
    (tmp_path / "rows.jsonl").write_text("[1]\n")
    assert "line 1 is no row (it is a list)" in said("write", "--config", config)
