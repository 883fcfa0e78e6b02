"""Small pieces of work that are killed, one for each verb that writes, and what comes of them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcclip.checksums import check_seal

_RANDOM = re.compile(r"(?<=\bmodel-)[0-9a-f]{32}|(?<=\bfeatures-)[0-9a-f]{32}")
"""In names: of notes on models, by where these lie, and of a folder's embeddings."""
READERS = ("rank", "search")
"""Verbs that keep what they have embedded, and write what they are asked to."""
VERBS = ("write", "prepare", "bank", "fit", "evaluate", "export")


@dataclass(frozen=True)
class World:
    """What the work starts from, made once.

    Attributes:
        folder: Holds `data` (prepared), `base` (a model), recipes, and `runs` that have finished.
    """

    folder: Path


@dataclass(frozen=True)
class Work:
    """A verb's work in a folder of its own.

    Attributes:
        verb: Of the command.
        words: The command to give in a folder, by what is there already; None where nothing is left to do.
        begin: Puts into a fresh folder what the work needs to find there.
        last: File that is written last.
    """

    verb: str
    words: Callable[[Path], list[str] | None]
    last: str
    begin: Callable[[Path], None] = lambda folder: None


def make_world(folder: Path) -> World:
    """Makes the data, a base model, a finished run."""
    import torch

    from pcclip.cli import main
    from pcclip.model.checkpoint import save_folder
    from pcclip.model.towers import load_towers
    from tests.cli import fitting
    from tests.export.exporting import VIT, make_run
    from tests.generation.writing import jobs
    from tests.inference.conftest import save_picture

    os.chdir(fitting.__file__.rsplit("/tests/", 1)[0])
    fitting.prepare(folder / "data", "pixels")
    torch.manual_seed(0)
    save_folder(load_towers("pcclip-tiny", random_init=True), folder / "base")
    fit = fitting.experiment(folder / "data", folder / "base", max_steps=8, val_check_interval=4)
    fit["trainer"]["callbacks"][0]["init_args"]["evaluations"][0]["protocols"] = _protocols()
    (folder / "fit.yaml").write_text(json.dumps(fit))
    assert main(fitting.fit_words(folder, "whole")) == 0
    suite = {"suite": "again", "evaluations": [{"data": str(folder / "data"), "protocols": _protocols()}]}
    (folder / "suite.yaml").write_text(json.dumps(suite))
    rows = jobs.write_rows(folder / "rows.jsonl", jobs.row_lines(1500))
    jobs.recipe(folder, rows, jobs.RULES, chunk_rows=100, records_per_shard=250)
    vit = folder / "vit"
    vit.mkdir()
    _save_vit(vit, VIT)
    make_run(folder / "export", load_towers(f"local-dir:{vit}"))
    for number in range(40):
        save_picture(folder / f"photos/{number}.png", number)
    return World(folder)


def work_of(verb: str, world: World) -> Work:
    """The work of a verb."""
    given = world.folder
    run = Path("runs/small/whole")

    def fit(folder: Path) -> list[str] | None:
        made = folder / "runs/small/v"
        if (made / "summary.json").exists():
            return None
        if (made / "checkpoints/last.ckpt").exists():
            return ["resume", str(made)]
        return ["fit", f"--config={given / 'fit.yaml'}", f"--runs={folder / 'runs'}", "--version=v"]

    def evaluate(folder: Path) -> list[str]:
        words = [f"--config={given / 'suite.yaml'}", f"--runs=[{folder / run}]"]
        return ["evaluate", *words, f"--cache_dir={folder / 'cache'}"]

    def export(folder: Path) -> list[str] | None:
        if (folder / "out").exists():
            return None
        return ["export", str(given / "export/runs/small/seed0"), "--out", str(folder / "out")]

    def order(verb: str, *more: str) -> Callable[[Path], list[str]]:
        where = ["--model", str(given / run), "--device", "cpu"]
        return lambda folder: [
            verb,
            str(given / "photos"),
            *more,
            *where,
            *("--cache_dir", str(folder / "cache"), "--csv", str(folder / "order.csv")),
        ]

    smoke = ["--config=data_recipes/shapes/demo.yaml", "--config=data_recipes/shapes/smoke.yaml"]
    works = [
        Work(
            "write",
            lambda folder: ["write", f"--config={given / 'recipe.yaml'}", f"--out={folder / 'out'}"],
            "out/CARD.md",
        ),
        Work(
            "prepare",
            lambda folder: ["prepare", *smoke, f"--out={folder / 'out'}", "--records_per_shard=25"],
            "out/CARD.md",
        ),
        Work(
            "bank",
            lambda folder: [
                "bank",
                f"--pictures={given / 'data/pictures/train'}",
                f"--out={folder / 'out'}",
                f"--name=local-dir:{given / 'base'}",
                "--batch_size=8",
                "--num_workers=1",
            ],
            "out/bank.json",
        ),
        Work("fit", fit, "runs/small/v/summary.json"),
        Work(
            "evaluate",
            evaluate,
            str(run / "results/again/estimates.json"),
            lambda folder: _link_run(given / run, folder / run),
        ),
        Work("export", export, "out/README.md"),
        Work("rank", order("rank", "it is larger"), "order.csv"),
        Work("search", order("search", "--like", "0.png", "--but", "larger"), "order.csv"),
    ]
    return next(work for work in works if work.verb == verb)


def begun(work: Work, folder: Path) -> Path:
    """A fresh folder, in which the work can start."""
    folder.mkdir()
    work.begin(folder)
    return folder


def words_of(work: Work, folder: Path) -> list[str]:
    """The command to give, which there must be."""
    words = work.words(folder)
    assert words is not None
    return words


def outcome(folder: Path) -> dict[str, str]:
    """Hashes of all files below a folder, hidden ones and empty folders included.

    The system's temporary folder is below it too. Left out are TensorBoard's events, one file for each start,
    and the record of the starts; of the others times, costs, random ids, the folder's own path, and what
    indexes hold, which is made again where it is not of that very file.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name == "tmp" or name.startswith("tmp/pymp-"):  # sockets of Python's multiprocessing
            continue
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_dir():
            found[f"{name}/"] = ""
        elif not path.name.startswith(("events.out.tfevents", "provenance.json")):
            content = _content(path).replace(str(folder).encode(), b"FOLDER")
            digest = hashlib.sha256(content).hexdigest()
            found[_RANDOM.sub(digest, name)] = digest
    return found


def _content(path: Path) -> bytes:
    in_gallery = path.parent.name.startswith("gallery-")
    if path.parent.name == ".pcclip-cache" or (in_gallery and path.stem == "index"):
        return b""
    if path.suffix == ".ckpt":
        return _of_checkpoint(path)
    if path.name in ("summary.json", "record.json", "estimates.json"):
        known = json.loads(path.read_bytes())
        check_seal(known)
        for name in ("seconds", "cost", "id", "of", "sha256"):  # the last of these is of the others too
            known.pop(name, None)
        return json.dumps(known).encode()
    return path.read_bytes()


def _of_checkpoint(path: Path) -> bytes:
    import torch

    def told(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return f"{value.dtype} {hashlib.sha256(value.numpy().tobytes()).hexdigest()}"
        if isinstance(value, dict):
            return {str(k): told(v) for k, v in value.items()}
        return [told(v) for v in value] if isinstance(value, list | tuple) else repr(value)

    return json.dumps(told(torch.load(path, weights_only=True))).encode()


def _protocols() -> list[dict[str, Any]]:
    from tests.cli.fitting import PROTOCOLS

    zero_shot, difference, _ = PROTOCOLS
    return [{"class_path": zero_shot}, {"class_path": difference, "init_args": {"pairs": 20}}]


def _link_run(run: Path, copy: Path) -> None:
    shutil.copytree(run, copy, copy_function=os.link)


def _save_vit(folder: Path, config: dict[str, Any]) -> None:
    import open_clip
    from safetensors.torch import save_file

    from pcclip.model.sources import CONFIG, WEIGHTS

    preprocess = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25], "resize_mode": "shortest"}
    (folder / CONFIG).write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    save_file(open_clip.CLIP(**config).state_dict(), folder / WEIGHTS)
