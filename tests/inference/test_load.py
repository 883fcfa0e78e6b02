from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import pcclip
from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.models import NamedModel
from pcclip.inference.finding import find
from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import load_towers
from tests.inference.conftest import RUN, save_run


def fingerprint(folder: Path) -> str:
    return load_towers(f"local-dir:{folder}").text_fingerprint()


def loaded(found: object) -> str:
    return NamedModel(found.named, "cpu", None).towers.text_fingerprint()  # type: ignore[attr-defined]


def test_importing_pcclip_imports_nothing_and_load_needs_no_torch(pets: Path):
    code = f"""
import sys
before = set(sys.modules)
import pcclip
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
assert new <= {{"pcclip"}} | sys.stdlib_module_names, new
pcclip.load({RUN!r})
assert "torch" not in sys.modules
"""
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(Path(pcclip.__file__).parents[1])}
    )
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        pcclip.laod  # type: ignore[attr-defined]  # noqa: B018


def test_the_stages_of_a_run(pets: Path, monkeypatch: pytest.MonkeyPatch):
    tuned, base = find(RUN), find(RUN, stage="base")
    assert (tuned.title, tuned.finetuned) == ("pets-differences/seed0 tuned", True)
    assert (base.title, base.finetuned) == ("pets-differences/seed0 base", False)
    assert loaded(tuned) == fingerprint(pets / RUN / "model") != loaded(base) == fingerprint(pets / "base")
    assert find("runs/pets-differences") == find(RUN) or find("runs/pets-differences").title == tuned.title
    assert loaded(find(f"{RUN}/model", stage="base")) == loaded(base)
    with pytest.raises(PcclipError, match="no interpolated weights"):
        find(RUN, stage="interpolated")
    towers = load_towers("local-dir:base")
    save_folder(towers, pets / "run2" / "x" / "v" / "model")
    with pytest.raises(PcclipError, match="neither a run"):
        find(pets / "run2" / "x" / "v")
    monkeypatch.chdir("/")  # the run names its base by a path seen from the folder of `runs`
    assert loaded(find(pets / RUN, stage="base")) == loaded(base)


def test_a_folder_is_finetuned_where_it_names_another_base(pets: Path):
    assert not find("base").finetuned
    assert find(f"{RUN}/model").finetuned
    assert find(f"local-dir:{pets / 'base'}").named == find("base").named
    with pytest.raises(PcclipError, match="random weights"):
        find("base", stage="base")


def test_tags_and_hubs_are_left_to_open_clip():
    assert find("ViT-L-14", "openai").named.pretrained == "openai"
    assert find("hf-hub:org/name").named.name == "hf-hub:org/name"
    with pytest.raises(PcclipError, match="only runs"):
        find("ViT-L-14", "openai", stage="base")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("runs/absent", "no such folder, and a tag needs 'pretrained'"),
        ("./runs/absent", "no such folder"),
        (Path("runs/absent"), "no such folder"),
        ("local-dir:runs/absent", "no such folder"),
        ("photos", "neither a run"),
    ],
)
def test_what_cannot_be_found_is_an_error_that_says_what_could(pets: Path, model: str | Path, message: str):
    with pytest.raises(PcclipError, match=message):
        pcclip.load(model)


def test_a_run_that_has_not_finished_and_several_that_have(pets: Path):
    unfinished = pets / "other" / "exp" / "seed0"
    unfinished.mkdir(parents=True)
    (unfinished / "config.yaml").write_text("{}")
    with pytest.raises(PcclipError, match=r"has not finished.*pcclip resume"):
        pcclip.load(unfinished)
    for seed in (0, 1):
        save_run(pets / "others" / "exp" / f"v{seed}", pets / "base", seed)
        summary = pets / "others" / "exp" / f"v{seed}" / "summary.json"
        summary.write_text(json.dumps(json.loads(summary.read_text()) | {"seed": seed}))
    with pytest.raises(PcclipError, match=r"2 finished runs. Name one: .*exp/v0, .*exp/v1"):
        pcclip.load(pets / "others" / "exp")
    with pytest.raises(PcclipError, match="brings its own weights"):
        pcclip.load("base", "openai")
