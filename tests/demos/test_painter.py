"""The painter of shapes, trained for a moment: stop, resume, load, draw; the reader on true pictures."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pcclip.arithmetic.cases import CaseFile
from pcclip.arithmetic.vectors import Arithmetic
from pcclip.data.sources.shapes import Shapes
from pcclip.demos.painter.__main__ import train
from pcclip.demos.painter.generator import PainterSource
from pcclip.demos.painter.network import fold, unfold
from pcclip.demos.painter.reader import Reader, measure
from pcclip.demos.painter.reader import train as train_reader
from pcclip.demos.painter.scorer import ShapesScorer
from pcclip.errors import PcclipError
from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import load_towers

TINY = {"pictures": 24, "steps": 6, "batch": 4, "channels": (16, 32), "progress": False}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("base")
    save_folder(load_towers("pcclip-mini", random_init=True), folder / "model")
    return f"local-dir:{folder / 'model'}"


@pytest.fixture(scope="module")
def painter(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("painter") / "painter"
    train(base, str(out), checkpoint_every=2, **TINY)
    return out


def test_a_stopped_training_goes_on_to_the_same_painter(base: str, painter: Path, tmp_path: Path) -> None:
    out = tmp_path / "painter"
    code = (
        "import os\n"
        "from pcclip.demos.painter import training\n"
        "from pcclip.demos.painter.__main__ import train\n"
        "real = training.write_checkpoint\n"
        "def killed(path, state):\n"
        "    real(path, state)\n"
        "    if state['step'] == 4: os._exit(9)\n"
        "training.write_checkpoint = killed\n"
        f"train({base!r}, {str(out)!r}, checkpoint_every=2, **{TINY!r})"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert not out.exists()
    train(base, str(out), checkpoint_every=2, **TINY)
    about = json.loads((out / "painter.json").read_text())
    assert about["training"]["from_step"] == 4
    one, two = (load_file(p / "unet" / "diffusion_pytorch_model.safetensors") for p in (painter, out))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not Path(f"{out}.part").exists()


def test_a_finished_painter_is_left_alone_and_another_is_refused(base: str, painter: Path) -> None:
    before = (painter / "painter.json").read_bytes()
    train(base, str(painter), checkpoint_every=2, **TINY)
    assert (painter / "painter.json").read_bytes() == before
    with pytest.raises(PcclipError, match="another 'steps'"):
        train(base, str(painter), checkpoint_every=2, **TINY | {"steps": 7})


def test_a_row_and_a_seed_paint_the_same_picture_whatever_is_painted_with_them(painter: Path) -> None:
    loaded = PainterSource(str(painter), steps=3).load()
    texts = [f"a {name}" for name in Shapes().classes()[:19]]
    many = loaded.draw(loaded.encode(texts), list(range(19)))
    assert {picture.size for picture in many} == {(32, 32)}
    again = PainterSource(str(painter), steps=3).load()
    for at in (0, 7, 18):
        (alone,) = again.draw(again.encode([texts[at]]), [at])
        assert alone.tobytes() == many[at].tobytes()
    other, another = again.draw(again.encode([texts[0]] * 2), [5, 6])
    assert other.tobytes() != another.tobytes()
    assert loaded.fingerprint() == again.fingerprint()
    assert loaded.fingerprint() != PainterSource(str(painter), steps=4).load().fingerprint()


def test_arithmetic_moves_the_only_state_and_a_foreign_tower_is_refused(painter: Path) -> None:
    loaded = PainterSource(str(painter), steps=3).load()
    red, larger = loaded.encode(["a red circle"]), loaded.encode(["larger"])
    assert torch.allclose(red.states.norm(dim=-1), torch.ones(1, 1))
    moved = Arithmetic(kind="direction").apply(red, larger, 0.5)
    assert torch.allclose(moved.states, red.states + 0.5 * larger.states, atol=1e-6)
    torch.manual_seed(1)
    with pytest.raises(PcclipError, match="another image tower"):
        loaded.encode(["a red circle"], load_towers("pcclip-mini", random_init=True))


def test_folding_loses_nothing() -> None:
    pixels = torch.randint(256, (2, 32, 32, 3), dtype=torch.uint8)
    assert torch.equal(unfold(fold(pixels)), pixels)


def test_the_reader_reads_pictures_that_it_has_not_seen(tmp_path: Path) -> None:
    train_reader(str(tmp_path / "reader"), pictures=1500, steps=90, test_pictures=100, progress=False)
    reader = Reader.load(tmp_path / "reader")
    accuracy = measure(reader, 77, 200)
    assert accuracy == measure(reader, 77, 200)
    assert accuracy["colour"] > 0.9
    assert accuracy["number"] > 0.7
    assert accuracy["brightness"] > 0.9
    assert accuracy["horizontal"] > 0.8


def test_scores_of_true_pictures(tmp_path: Path) -> None:
    """A true picture that differs in size only has moved and stayed; an equal one has not moved."""
    train_reader(str(tmp_path / "reader"), pictures=1500, steps=90, test_pictures=100, progress=False)
    world = {}
    for picture in Shapes(seed=9, test=400).pictures("test"):
        world.setdefault(str(picture.attributes["colour"]), []).append(picture)
    case = next(
        c for c in CaseFile.load("shapes").cases if (c.subject, c.attribute) == ("red circle", "brighter")
    )
    reds = sorted(world["red"], key=lambda picture: float(picture.attributes["brightness"]))
    dark, bright = (Image.open(io.BytesIO(p.image)).convert("RGB") for p in (reds[0], reds[-1]))
    scorer = ShapesScorer(str(tmp_path / "reader"))
    scores = scorer.score([bright, dark, dark], [case] * 3, [dark, bright, dark])
    assert scores["moved"].tolist() == [1, 0, 0]
    assert scores["stayed"][2] == 1
    assert scores["both"].tolist() == [scores["stayed"][0], 0, 0]
    unchanged = scorer.score([dark], [case], None)
    assert unchanged.keys() == scores.keys()
    assert np.isnan(unchanged["moved"]).all()
    assert unchanged["as_asked"].tolist() in ([0.0], [1.0])
