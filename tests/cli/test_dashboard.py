"""What a fit writes for TensorBoard, as TensorBoard reads it; a stop doubles and loses nothing."""

import io
import json
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from fitting import STEPS, experiment, fit_words
from lightning.pytorch import Callback
from PIL import Image
from ranked import full
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pcclip.callbacks.dashboard.hparams import METRICS
from pcclip.callbacks.dashboard.projector import FOLDER
from pcclip.cli import main
from pcclip.data.shards import ShardIndex
from pcclip.errors import PcclipError
from pcclip.evaluation.exhibits.files import read_exhibits, read_vectors
from pcclip.evaluation.measured import RESULTS, VALIDATION, Measured

VALIDATIONS = [0, 6, 12]
HEADLINES = {
    "zero_shot/shapes/top1",
    "zero_shot/shapes-unseen/top1",
    "zero_shot/shapes-unseen-combinations/top1",
    "difference/shapes-mean/two_alternative",
    "difference/shapes-mean-unseen/two_alternative",
}


class Crash(Callback):
    """Ends a fit before some steps, once before each."""

    def __init__(self, steps: list[int], folder: str) -> None:
        self.steps, self.folder = steps, Path(folder)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        marker = self.folder / f"crashed-{trainer.global_step}"
        if trainer.global_step in self.steps and not marker.exists():
            marker.touch()
            raise PcclipError("a crash")


class Stop(Callback):
    """Sends SIGTERM to its own process at some hooks (HOOK, STEP); each process at the next one."""

    def __init__(self, at: list[tuple[str, int]], folder: str) -> None:
        self.folder = Path(folder)
        done = len(list(self.folder.glob("stopped-*")))
        self.number, self.next = done, tuple(at[done]) if done < len(at) else None

    def _reached(self, hook: str, trainer) -> None:
        if (hook, trainer.global_step) == self.next:
            (self.folder / f"stopped-{self.number}").touch()
            self.next = None
            os.kill(os.getpid(), signal.SIGTERM)

    def on_train_batch_end(self, trainer, *others):
        self._reached("step", trainer)

    def on_validation_batch_start(self, trainer, *others):
        self._reached("losses", trainer)

    def on_validation_end(self, trainer, pl_module):
        self._reached("evaluation", trainer)


def read(run: Path) -> EventAccumulator:
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    return events


def steps(run: Path) -> dict[str, list[int]]:
    """Steps of every tag, of whichever kind, as TensorBoard's own pages read them."""
    events = plugin_event_accumulator.EventAccumulator(
        str(run),
        tensor_size_guidance=dict.fromkeys(("scalars", "images", "text", "hparams", "custom_scalars"), 0),
    )
    events.Reload()
    found = {tag: [e.step for e in events.Tensors(tag)] for tag in events.Tags()["tensors"]}
    return {tag: at for tag, at in found.items() if at}


def values(run: Path, prefix: str) -> dict[str, list[tuple[int, float]]]:
    events = read(run)
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith(prefix)]
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags}


def test_every_chart_of_the_page_has_its_points(whole):
    from tensorboard.plugins.custom_scalar import layout_pb2

    events = read(whole)
    (config,) = events.Tensors("custom_scalars__config__")
    page = layout_pb2.Layout.FromString(config.tensor_proto.string_val[0])
    assert [category.title[:10] for category in page.category] == ["1. Trainin", "2. What im", "3. What it"]
    tags = events.Tags()["scalars"]
    margins = []
    for category in page.category:
        for chart in category.chart:
            for pattern in chart.multiline.tag:
                assert any(re.match(pattern, tag) for tag in tags), pattern
            for series in chart.margin.series:
                assert {series.value, series.lower, series.upper} <= set(tags)
                margins.append(series.value)
    assert sorted(margins) == sorted(f"change/{name}" for name in HEADLINES)


def test_changes_are_those_of_the_results_with_their_intervals(whole):
    folder = whole / RESULTS / VALIDATION
    found = Measured.load(folder / "tuned").minus(Measured.load(folder / "base")).estimates()
    changes, intervals = values(whole, "change/"), values(whole, "interval/")
    assert {tag.removeprefix("change/") for tag in changes} == HEADLINES
    for name in HEADLINES:
        of = changes[f"change/{name}"], *(intervals[f"interval/{name}/{end}"] for end in ("low", "high"))
        for points, field in zip(of, ("value", "low", "high"), strict=True):
            assert [step for step, _ in points] == VALIDATIONS
            assert points[0][1] == 0
            assert points[-1][1] == pytest.approx(found[name][field], abs=1e-6)
        for (_, value), (_, low), (_, high) in zip(*of, strict=True):
            assert low <= value <= high


def test_validation_losses_stand_at_the_steps_of_the_evaluations(whole):
    found = steps(whole)
    assert found["validation/loss"] == VALIDATIONS[1:]
    assert found["validation/zero_shot/shapes/top1"] == VALIDATIONS
    assert found["train/loss"] == found["train/learning_rate"] == list(range(STEPS))


def test_figures_are_pictures(whole):
    events = read(whole)
    found = {tag: [e.step for e in events.Images(tag)] for tag in events.Tags()["images"]}
    attributes = {ranked.attribute for one in read_exhibits(whole) for ranked in one.rankings}
    assert found == {
        "confusion/shapes": [STEPS],
        "hardest/pairs": VALIDATIONS[1:],
        "interpolation": [STEPS],
        **{f"ranked/shapes/{attribute}": [STEPS] for attribute in attributes},
    }
    for tag in found:
        for event in events.Images(tag):
            with Image.open(io.BytesIO(event.encoded_image_string)) as picture:
                assert picture.format == "PNG"
                assert len(picture.convert("L").getcolors()) > 20, f"{tag} is nearly blank"


def test_texts_of_the_training_data_are_shown_with_their_pictures_keys(place, whole):
    (event,) = read(whole).Tensors("samples/differences/text_summary")
    rows = event.tensor_proto.string_val[0].decode().splitlines()[2:]
    told = [tuple(cell.strip() for cell in row.strip("|").split("|"))[:3] for row in rows]
    indexes = [ShardIndex.load(p) for p in sorted((place / "data/triples/train").glob("*.tar"))]
    stored = [json.loads(index.read(i, "json")) for index in indexes for i in range(len(index))]
    assert len(told) == 40
    assert set(told) <= {(t["difference"], t["image1"], t["image2"]) for t in stored}


def test_the_projector_finds_the_vectors_of_both_models(whole):
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    (exhibits,) = read_exhibits(whole)
    vectors = read_vectors(whole, exhibits)
    config = text_format.Parse((whole / "projector_config.pbtxt").read_text(), ProjectorConfig())
    assert [one.tensor_name for one in config.embeddings] == [
        "shapes-test: base text tower",
        "shapes-test: tuned text tower",
    ]
    for one, other in zip(config.embeddings, ("tuned", "base"), strict=True):
        rows = np.loadtxt(whole / one.tensor_path, delimiter="\t")
        header, *labels = (whole / one.metadata_path).read_text().splitlines()
        kept = [number for number, label in enumerate(vectors.labels) if label[0] != other]
        assert np.abs(rows - vectors.rows[kept]).max() < 1e-4
        assert header == "text\tattribute\tkind\tmodel"
        assert [tuple(label.split("\t")[::-1]) for label in labels] == [vectors.labels[n] for n in kept]
    assert sum(file.stat().st_size for file in (whole / FOLDER).iterdir()) < 2**20


def test_the_table_of_runs_has_settings_and_outcome(whole):
    from tensorboard.plugins.hparams import api_pb2, metadata

    events = read(whole)
    content = events.PluginTagToContent("hparams")
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["model.optimizer.lr"].number_value == 1e-3
    assert start.hparams["model.objective"].string_value == "DifferenceInfoNCE"
    assert start.hparams["data.batch_size"].number_value == 16
    assert start.hparams["experiment"].string_value == "small"
    end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
    assert end.status == api_pb2.STATUS_SUCCESS
    columns = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    assert {one.name for one in columns.hparam_infos} == set(start.hparams)
    assert [one.name.tag for one in columns.metric_infos] == list(METRICS)
    final = {tag: dict(points)[STEPS] for tag, points in values(whole, "final/").items()}
    assert final.keys() == METRICS.keys()
    first, *_, last = json.loads((whole / "interpolation.json").read_text())["points"]
    for name in ("difference", "zero_shot"):
        change = pytest.approx(last[name] - first[name], abs=1e-6)
        assert final[f"final/validation_{name}_change"] == change
    summary = json.loads((whole / "summary.json").read_text())
    assert final["final/interpolation_alpha"] == summary["alpha"]
    means = [
        summary["delta"][f"difference/shapes-{m}/two_alternative"]["value"] for m in ("mean", "mean-unseen")
    ]
    assert final["final/test_difference_change"] == pytest.approx(np.mean(means), abs=1e-6)


@full
@pytest.mark.slow
def test_a_fit_that_crashed_twice_has_every_point_once(place, whole):
    """Before its first checkpoint; and after a checkpoint, the validation that followed it and one step."""
    fit = experiment(place / "data", place / "base") | {"dashboard": {"enabled": True}}
    words = {"steps": [1, 7], "folder": str(place)}
    fit["trainer"]["callbacks"].append({"class_path": "test_dashboard.Crash", "init_args": words})
    (place / "crash.yaml").write_text(json.dumps(fit))
    run = place / "runs/small/crashed"
    more = [f"--config={place / 'crash.yaml'}", f"--runs={place / 'runs'}", "--version=crashed"]
    assert main(["fit", *more]) == 1
    assert not (run / "checkpoints/last.ckpt").exists()
    assert main(["resume", str(run)]) == 1
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 6
    assert main(["resume", str(run)]) == 0
    assert len(list(run.glob("events.out.*"))) == 3
    assert steps(run) == steps(whole)
    for prefix in ("train/loss", "change/", "validation/loss"):
        ours, theirs = values(run, prefix), values(whole, prefix)
        assert {tag: dict(points) for tag, points in ours.items()} == {
            tag: pytest.approx(dict(points), abs=1e-6) for tag, points in theirs.items()
        }


@full
@pytest.mark.slow
def test_a_fit_that_was_stopped_amidst_validations_has_every_point_once(place, whole):
    """Before one, amidst its losses, amidst its evaluations; and amidst the one after the last step."""
    at = [("step", 6), ("losses", 6), ("evaluation", 6), ("losses", STEPS)]
    fit = experiment(place / "data", place / "base") | {"dashboard": {"enabled": True}}
    words = {"at": at, "folder": str(place)}
    fit["trainer"]["callbacks"].insert(0, {"class_path": "test_dashboard.Stop", "init_args": words})
    (place / "stop.yaml").write_text(json.dumps(fit))
    run = place / "runs/small/stopped"
    begin = ["fit", f"--config={place / 'stop.yaml'}", f"--runs={place / 'runs'}", "--version=stopped"]
    for number, (_, step) in enumerate(at):
        with pytest.raises(SystemExit, match=str(128 + signal.SIGTERM)):
            main(["resume", str(run)] if number else begin)
        assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == step
    assert main(["resume", str(run)]) == 0
    expected = steps(whole)
    del expected["final/fit_seconds"]  # the process that finishes has trained nothing
    assert steps(run) == expected
    for prefix in ("train/loss", "change/", "validation/", "in_batch/"):
        ours, theirs = values(run, prefix), values(whole, prefix)
        assert {tag: dict(points) for tag, points in ours.items()} == {
            tag: pytest.approx(dict(points), abs=1e-6) for tag, points in theirs.items()
        }


@pytest.mark.slow
def test_a_fit_that_was_killed_while_it_finished_has_every_point_once(place, whole):
    run = place / "runs/small/unfinished"
    shutil.copytree(whole, run)
    (run / "summary.json").unlink()
    assert main(["resume", str(run)]) == 0
    expected = steps(whole)
    del expected["final/fit_seconds"]  # the process that finishes has trained nothing
    assert steps(run) == expected


@pytest.mark.slow
def test_it_can_be_switched_off(place):
    short = ["--trainer.max_steps=2", "--trainer.val_check_interval=2", "--dashboard.enabled=false"]
    assert main(fit_words(place, "plain", *short, "--model.lr_scheduler=null")) == 0
    tags = read(place / "runs/small/plain").Tags()
    assert tags["images"] == ["interpolation"]
    assert tags["tensors"] == []
    assert "train/loss" in tags["scalars"]
    assert "validation/zero_shot/shapes/top1" in tags["scalars"]
    assert not [tag for tag in tags["scalars"] if tag.startswith(("change/", "final/"))]
    assert not (place / "runs/small/plain/projector_config.pbtxt").exists()
