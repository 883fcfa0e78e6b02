"""What takes long shows how far it is: here everything counts as long."""

import pytest
from ranked import full

from pcclip.cli import main
from pcclip.data import progress

SMOKE = ["--config=data_recipes/shapes/demo.yaml", "--config=data_recipes/shapes/smoke.yaml"]
VERBS = {
    "prepare": (
        [*SMOKE, "--out={tmp}/data"],
        ["shapes: train pictures", "reading pictures/train", "indexing shards"],
    ),
    "inspect": (["{sets}/triples/train"], ["checksums, MB", "indexing shards", "inspect triples"]),
    "inspect a run": (["{run}"], ["checking whole"]),
    "inspect a bank": (["{tmp}/bank"], ["checksums, MB"]),
    "compare": (["{run}", "--suite=fit"], ["bootstrap"]),
    "report": (["{run}", "--out={tmp}/r.html"], ["bootstrap", "report"]),
    "export": (["{run}", "--to=open_clip", "--out={tmp}/e"], ["exporting small/whole tuned"]),
    "rank": (
        ["{photos}", "larger", "--model={run}", "--cache_dir={tmp}"],
        ["Embedding photos"],
    ),
}


@pytest.mark.parametrize(("words", "tasks"), VERBS.values(), ids=VERBS)
def test_every_task_tells_its_end(request, place, whole, tmp_path, monkeypatch, capsys, words, tasks):
    from PIL import Image

    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos/0.jpg")
    names = {"sets": place / "data", "run": whole, "tmp": tmp_path, "photos": tmp_path / "photos"}
    verb = request.node.callspec.id.split()[0]
    if "bank" in request.node.callspec.id:
        pictures = f"--pictures={place / 'data/pictures/validation'}"
        model = f"--name=local-dir:{place / 'base'}"
        assert main(["bank", pictures, f"--out={tmp_path / 'bank'}", model]) == 0
    monkeypatch.setattr(progress, "_LONG_SECONDS", 0.0)
    assert main([verb, *(word.format(**names) for word in words)]) == 0
    lines = capsys.readouterr().err.splitlines()
    for task in tasks:
        assert any(line.startswith(f"{task}: ") and ", in " in line for line in lines), (task, lines)


@full
def test_the_figures_of_a_fit(whole, tmp_path, monkeypatch, capsys):
    from torch.utils.tensorboard import SummaryWriter

    from pcclip.callbacks.dashboard.ending import log_exhibits

    monkeypatch.setattr(progress, "_LONG_SECONDS", 0.0)
    run = tmp_path / "run"
    run.mkdir()
    (run / "exhibits").symlink_to(whole / "exhibits")
    with SummaryWriter(str(tmp_path)) as writer:
        log_exhibits(writer, run, 1)
    assert "figures for TensorBoard: 9 of 9" in capsys.readouterr().err
