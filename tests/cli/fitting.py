"""A small fit on prepared shapes data, for the tests of this folder."""

import sys
from pathlib import Path

from pcclip.cli import main

STEPS = 12
SPLITS = {"": "train", "validation_": "validation"}
PROTOCOLS = [
    "pcclip.evaluation.protocols.zero_shot.ZeroShot",
    "pcclip.evaluation.protocols.difference.DifferenceClassification",
    "pcclip.evaluation.protocols.embedding_geometry.EmbeddingGeometry",
]


def experiment(data: Path, base: Path, **trainer) -> dict:
    suite = {
        "class_path": "pcclip.callbacks.evaluation.EvaluationSuite",
        "init_args": {
            "evaluations": [{"data": str(data), "protocols": [{"class_path": p} for p in PROTOCOLS]}],
            "interpolation": {"alphas": [0.5]},
            "cache_dir": None,
        },
    }
    return {
        "experiment": "small",
        "model": {
            "class_path": "pcclip.training.DifferenceTraining",
            "init_args": {
                "name": f"local-dir:{base}",
                "trainable": "text_no_embeddings",
                "objective": {"class_path": "pcclip.objective.DifferenceInfoNCE"},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}},
                "lr_scheduler": {
                    "class_path": "torch.optim.lr_scheduler.OneCycleLR",
                    "init_args": {
                        "max_lr": 1e-3,
                        "total_steps": "${trainer.max_steps}",
                    },
                },
            },
        },
        "data": {
            "class_path": "pcclip.data.datamodule.DifferenceData",
            "init_args": {
                "triples": str(data / "triples/train"),
                "validation_triples": str(data / "triples/validation"),
                "payload": "pixels",
                "batch_size": 16,
                "num_workers": 1,
            },
        },
        "checkpoint": {"every_n_train_steps": 2},
        "dashboard": {"enabled": False},  # its figures take seconds; tests of it put it on
        "trainer": {
            "accelerator": "cpu",
            "max_steps": STEPS,
            "max_epochs": -1,
            "check_val_every_n_epoch": None,
            "val_check_interval": 6,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "callbacks": [suite],
            **trainer,
        },
    }


def prepare(out: Path, payload: str) -> None:
    recipe = ["--config", "data_recipes/shapes/demo.yaml", "--config", "data_recipes/shapes/smoke.yaml"]
    more = ["--out", str(out), "--differences.payload", payload, "--progress", "false"]
    more += ["--differences.validation.pairs", "56"]  # 7 batches of 8: two ranks hold different numbers
    assert main(["prepare", *recipe, *more]) == 0


def command(place: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "pcclip", *words]


def fit_words(place: Path, version: str, *more: str) -> list[str]:
    return [
        "fit",
        f"--config={place / 'fit.yaml'}",
        f"--runs={place / 'runs'}",
        f"--version={version}",
        *more,
    ]


def unmeasured(place: Path, version: str, *more: str) -> list[str]:
    """A fit without evaluations, which take most of its time: where only its training is looked at."""
    return fit_words(place, version, "--trainer.callbacks=[]", *more)


def losses(run: Path) -> dict[int, float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run))
    events.Reload()
    return {e.step: e.value for e in events.Scalars("train/loss")}
