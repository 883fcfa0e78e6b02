import json
from pathlib import Path

import pytest
import torch

from tests.smoke.standins import write_picture

SMALL = {
    "dashboard": {"enabled": False},  # its figures take seconds
    "data": {"class_path": "pcclip.data.datamodule.DifferenceData",
             "init_args": {"batch_size": 16, "caption_batch_size": 8, "num_workers": 0}},
    "trainer": {"accelerator": "cpu", "max_steps": 4, "val_check_interval": 2, "enable_progress_bar": False},
}  # fmt: skip

ZERO_SHOT = {"class_path": "pcclip.evaluation.protocols.zero_shot.ZeroShot"}
DIFFERENCES = {
    "class_path": "pcclip.evaluation.protocols.difference.DifferenceClassification",
    "init_args": {"pairs": 50},
}


def suite(*protocols: dict) -> dict:
    """Callbacks that measure the shapes world by so much."""
    one = {
        "class_path": "pcclip.callbacks.evaluation.EvaluationSuite",
        "init_args": {
            "evaluations": [{"data": "data/shapes", "protocols": list(protocols)}],
            "interpolation": {"alphas": [0.5]} if len(protocols) > 1 else None,
        },
    }
    return {"trainer": {"callbacks": [one]}}


@pytest.fixture(scope="session")
def docs_world(tmp_path_factory) -> Path:
    """A small model, small stand-ins of sets, and the overlays that make the pages' commands small."""
    from pcclip.model.checkpoint import save_folder
    from pcclip.model.towers import load_towers

    folder = tmp_path_factory.mktemp("docs")
    torch.manual_seed(0)
    save_folder(load_towers("pcclip-tiny", random_init=True), folder / "base")
    for part in ("train", "val"):
        coco(folder / "coco", part)
    (folder / "fit.yaml").write_text(json.dumps(SMALL))
    (folder / "zero_shot.yaml").write_text(json.dumps(suite(ZERO_SHOT)))
    (folder / "both.yaml").write_text(json.dumps(suite(ZERO_SHOT, DIFFERENCES)))
    pairs = {"train": {"pictures": 0, "pairs": 100}, "validation": {"pictures": 0, "pairs": 10}}
    (folder / "pairs.yaml").write_text(json.dumps({"differences": pairs}))
    return folder


def coco(root: Path, part: str) -> None:
    """Eighty pictures in the layout of COCO, two captions each."""
    names = [f"{number:012d}" for number in range(1, 81)]
    notes = []
    for number, name in enumerate(names, 1):
        write_picture(root / f"{part}2017/{name}.jpg", number, number)
        for what in ("wall", "sheet"):
            text = f"A {('red', 'green', 'blue', 'bright')[number % 4]} {what} with {number} spots."
            notes.append({"id": len(notes), "image_id": number, "caption": text})
    images = [{"id": number, "file_name": f"{name}.jpg"} for number, name in enumerate(names, 1)]
    file = root / f"annotations/captions_{part}2017.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"images": images, "annotations": notes}))
