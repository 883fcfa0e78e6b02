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
from pcclip.data.sources.shapes_drawing import Scene, draw
from pcclip.demos.painter.__main__ import train
from pcclip.demos.painter.generator import PainterSource
from pcclip.demos.painter.network import fold, unfold
from pcclip.demos.painter.reader import accuracy, read
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


def test_the_reader_reads_true_pictures() -> None:
    found = accuracy(seed=77, pictures=120)
    assert found["kind"] >= 0.97
    assert found["colour"] >= 0.97
    for name, error in (("size", 0.015), ("brightness", 0.04), ("horizontal", 0.01), ("vertical", 0.01)):
        assert found[f"{name} (mean error)"] < error, found


def test_the_reader_sees_no_shape_where_there_is_none() -> None:
    grain = np.random.default_rng(0).normal(120, 6, (32, 32, 3)).clip(0, 255).astype(np.uint8)
    seen = read(Image.fromarray(grain))
    assert (seen.kind, seen.colour) == (None, None)
    assert seen.degrees == {"brightness": pytest.approx(0.8, abs=0.02)}


def picture(
    radius: float, centre: tuple[float, float], kind: str = "circle", light: float = 0.8
) -> Image.Image:
    scene = Scene(kind, "red", "plain", radius, (centre,), light, 0.1)
    return Image.open(io.BytesIO(draw(scene, np.random.default_rng(0)))).convert("RGB")


def test_scores_of_pictures_whose_attributes_are_known() -> None:
    cases = {case.attribute: case for case in CaseFile.load("shapes").cases if case.subject == "red circle"}
    assert set(cases) == {"larger", "smaller", "brighter", "darker", "right", "left", "higher", "lower"}
    before = picture(8, (30, 30))
    rows = [
        (picture(9, (30, 30)), "larger", 1, 1),
        (picture(9, (30, 30)), "smaller", 0, 1),
        (before, "larger", 0, 1),
        (picture(9, (45, 30)), "larger", 1, 0),  # also moved to the right
        (picture(9, (30, 30), "square"), "larger", 1, 0),
        (picture(8, (45, 30)), "right", 1, 1),
        (picture(8, (30, 15)), "higher", 1, 1),  # y goes down
        (picture(8, (30, 15)), "lower", 0, 1),
        (picture(8, (30, 30), light=0.55), "darker", 1, 1),
        (picture(8, (30, 30), light=0.55), "larger", 0, 0),
    ]
    asked = [cases[word] for _, word, _, _ in rows]
    scores = ShapesScorer().score([row[0] for row in rows], asked, [before] * len(rows))
    assert scores["moved"].tolist() == [row[2] for row in rows]
    assert scores["stayed"].tolist() == [row[3] for row in rows]
    assert scores["both"].tolist() == [row[2] * row[3] for row in rows]
    assert scores["as_asked"].tolist() == [1, 1, 1, 1, 0, 1, 1, 1, 1, 1]
    blind = ShapesScorer(kinds=False).score([row[0] for row in rows], asked, [before] * len(rows))
    assert blind["stayed"].tolist() == [row[3] or place == 4 for place, row in enumerate(rows)]  # the square
    assert blind["as_asked"].all()
    alone = ShapesScorer().score([before], asked[:1], None)
    assert alone.keys() == scores.keys()
    assert np.isnan(alone["both"]).all()
