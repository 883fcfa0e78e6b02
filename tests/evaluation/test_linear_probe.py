"""The linear probe, and the geometry beside it, through `pcclip evaluate`."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from planted import COLOURS, evaluation_json
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pcclip.cli import main
from pcclip.data.records import Picture
from pcclip.data.shards import ShardSetWriter
from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import CachedEncoders
from pcclip.evaluation.protocol import Subject
from pcclip.evaluation.protocols.linear_probe import LinearProbe
from pcclip.evaluation.sources.prepared import Prepared
from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import load_towers

COUNTS = {"train": 90, "validation": 48, "test": 60}
GRID = (0.001, 0.1, 10.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with three splits, whose pictures are of the colour of their class."""
    folder = tmp_path_factory.mktemp("probe")
    rng = np.random.default_rng(0)
    for split, count in COUNTS.items():
        with ShardSetWriter(
            folder / "data/pictures" / split, kind="pictures", records_per_shard=50
        ) as writer:
            for number in range(count):
                colour = COLOURS[number % len(COLOURS)]
                pixels = np.array(Image.new("RGB", (24, 24), colour)) // 2 + rng.integers(0, 127, (24, 24, 3))
                stream = io.BytesIO()
                Image.fromarray(pixels.astype(np.uint8)).save(stream, "png")
                attributes: dict[str, float | str] = {"size": float(rng.uniform(0.1, 1)), "colour": colour}
                picture = Picture(
                    f"{split}{number:03d}",
                    stream.getvalue(),
                    extension="png",
                    class_name=colour,
                    attributes=attributes,
                )
                writer.write_picture(picture)
    raw = evaluation_json()
    raw["splits"] = {split: f"pictures/{split}" for split in ("validation", "test")}
    weight = raw["questions"][0] | {"attribute": "weight", "more": "heavier", "less": "lighter"}
    raw["questions"].append(weight | {"positive": "a heavy thing", "negative": "a light thing"})
    (folder / "data/evaluation.json").write_text(json.dumps(raw))
    return folder


class Split:
    """Subjects whose embeddings are clusters about their class, of a width of their own."""

    def __init__(self, folder: Path, width: float = 1.0, moved: float = 0.0) -> None:
        self.source, self.width, self.moved = Prepared(str(folder / "data")), width, moved

    def __call__(self, split: str, order: np.ndarray | None = None) -> Subject:
        data = self.source.load(split)
        centres = np.random.default_rng(0).normal(size=(len(COLOURS), 8))
        noise = np.random.default_rng(len(data)).normal(size=(len(data), 8))
        rows = centres[data.labels] + self.width * noise
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        if order is not None:
            data = replace(data, keys=tuple(data.keys[i] for i in order), labels=data.labels[order])
            rows = rows[order]
        before = None if not self.moved else lambda: Subject(CachedEncoders(self), data, rows + self.moved)  # type: ignore[arg-type]
        return Subject(CachedEncoders(self), data, rows, self, before)  # type: ignore[arg-type]


def test_equals_scikit_learn(folder: Path):
    split = Split(folder)
    train, validation, test = map(split, COUNTS)
    results = LinearProbe(grid=GRID).run(test)
    scaler = StandardScaler().fit(train.features)
    best, expected = -1.0, 0.0
    for strength in GRID:
        probe = LogisticRegression(C=strength, max_iter=500)
        probe.fit(scaler.transform(train.features), train.data.labels)
        score = probe.score(scaler.transform(validation.features), validation.data.labels)
        notes = results.notes["linear_probe/planted"]
        assert notes["accuracy on validation by C"][str(strength)] == pytest.approx(score)
        if score > best:
            best, expected = score, probe.score(scaler.transform(test.features), test.data.labels)
            assert notes["C"] >= strength
    assert 0.3 < expected < 1
    assert results.values() == {
        "linear_probe/planted/top1": pytest.approx(expected),
        "linear_probe/planted/features_changed": 0.0,
    }
    assert notes["converged"] is True
    assert notes["pictures of train"] == COUNTS["train"]


@pytest.mark.parametrize(("width", "low", "high"), [(0.01, 1, 1), (1000, 0.02, 0.4)])
def test_classes_apart_are_told_apart_and_noise_is_not(folder: Path, width: float, low: float, high: float):
    assert (
        low <= LinearProbe().run(Split(folder, width)("test")).values()["linear_probe/planted/top1"] <= high
    )


def test_a_tower_that_moved_is_told(folder: Path):
    values = LinearProbe().run(Split(folder, moved=0.25)("test")).values()
    assert values["linear_probe/planted/features_changed"] == pytest.approx(0.25, abs=1e-6)


def test_a_few_pictures_are_drawn_by_class_and_not_by_order(folder: Path):
    split = Split(folder)
    probe = LinearProbe(limit=24, grid=(1.0,))
    first = probe.run(split("test"))
    assert first.notes["linear_probe/planted"]["pictures of train"] == 24
    shuffled = {name: np.random.default_rng(1).permutation(count) for name, count in COUNTS.items()}
    test = replace(split("test"), other_split=lambda name: split(name, shuffled[name]))
    again = probe.run(test)
    assert (again.groups["linear_probe"].scores["top1"] == first.groups["linear_probe"].scores["top1"]).all()
    train = split("train").data
    drawn = probe._drawn(train)
    assert np.bincount(train.labels[drawn]).tolist() == [4] * len(COLOURS)
    other = replace(probe, seed=1)._drawn(train)
    assert set(other) != set(drawn)


def test_what_it_cannot_do_is_refused(folder: Path):
    split = Split(folder)
    with pytest.raises(PcclipError, match=r"learns from the split 'train', so it is no test"):
        LinearProbe().run(split("train"))
    with pytest.raises(PcclipError, match=r"has no split 'elsewhere'"):
        LinearProbe(validation="elsewhere").run(split("test"))
    nothing = replace(split("train").data, classes=(), labels=np.full(COUNTS["train"], -1))
    test = replace(split("test"), other_split=lambda name: replace(split("train"), data=nothing))
    with pytest.raises(PcclipError, match="no pictures of two classes"):
        LinearProbe().run(test)


def test_a_solver_that_was_stopped_is_told(folder: Path):
    notes = LinearProbe(max_iterations=1).run(Split(folder)("test")).notes
    assert notes["linear_probe/planted"]["converged"] is False


def test_probe_and_geometry_through_the_command(folder: Path):
    """A run whose text tower was trained: its pictures stay, its texts move, their base is beside them."""
    torch.manual_seed(0)
    towers = load_towers("pcclip-tiny", random_init=True)
    save_folder(towers, folder / "base")
    with torch.no_grad():
        for name, parameter in towers.clip.named_parameters():
            if name.startswith("transformer.") and parameter.ndim == 2:
                parameter.mul_(2)
    save_folder(towers, folder / "runs/tuned/model")
    base = {"name": f"local-dir:{folder / 'base'}", "pretrained": None, "random_init": False}
    (folder / "runs/tuned/summary.json").write_text(json.dumps({"schema": 1, "base_model": {"base": base}}))
    kinds = ("comparison_geometry.ComparisonGeometry", "analogies.Analogies", "linearity.Linearity")
    kinds += ("embedding_geometry.EmbeddingGeometry", "linear_probe.LinearProbe")
    config = {
        "suite": "geometry",
        "runs": [str(folder / "runs/tuned")],
        "cache_dir": str(folder / "cache"),
        "evaluations": [
            {
                "data": str(folder / "data"),
                "protocols": [{"class_path": f"pcclip.evaluation.protocols.{kind}"} for kind in kinds],
            }
        ],
    }
    (folder / "geometry.yaml").write_text(json.dumps(config))
    assert main(["evaluate", "--config", str(folder / "geometry.yaml")]) == 0
    record = json.loads((folder / "runs/tuned/results/geometry/estimates.json").read_text())
    assert record["base"].keys() == record["tuned"].keys() == record["tuned_delta"].keys()
    change = record["tuned_delta"]
    assert record["tuned"]["linear_probe/planted/features_changed"]["value"] == 0
    for still in ("linear_probe/planted/top1", "geometry/planted/drift/pictures"):
        assert {change[still][end] for end in ("value", "low", "high")} == {0}
    for moves in ("drift/prompts", "comparison/text_cosine", "analogy/offset_cosine", "linearity/cosine"):
        assert change[f"geometry/planted/{moves}"]["value"] != 0
    assert record["base"]["geometry/planted/drift/prompts"]["value"] == 1
    assert record["tuned"]["geometry/planted/drift/prompts"]["value"] < 0.999
    assert record["notes"]["tuned"]["planted"]["linear_probe/planted"]["pictures of train"] == COUNTS["train"]
