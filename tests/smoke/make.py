"""Makes what smoke runs work on: stand-ins for the sets and for most texts, and a tiny model for ViT-L/14.

python -m tests.smoke.make FOLDER
"""

import shutil
import sys
from pathlib import Path

import torch

from pcclip.data.class_texts import TEXTS_FILE, ClassText, ClassTexts
from pcclip.evaluation.sources.words import Words
from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import load_towers
from tests.smoke import standins


def pair_texts(folder: Path, name: str) -> None:
    """What `pcclip write` would take a minute for: texts on all ordered pairs of classes."""
    classes = list(Words.of(name).names.values())
    entries = [ClassText(a, b, (f"{a} rather than {b}",)) for a in classes for b in classes if a != b]
    folder.mkdir(parents=True)
    ClassTexts("pair texts", entries, {"licence": "stand-in"}).write(folder / TEXTS_FILE)
    (folder / "CARD.md").write_text("A stand-in for smoke runs.\n")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for part in ("sets", "model", "data"):  # of a stopped run
        shutil.rmtree(place / part, ignore_errors=True)
    standins.make(place / "sets")
    for name in ("cifar100", "cub", "flowers102", "sun397"):  # EuroSAT's few are written
        pair_texts(place / "data/paper/class-pairs" / name, name)
    torch.manual_seed(0)
    save_folder(load_towers("pcclip-tiny", random_init=True), place / "model")
