"""Makes what smoke runs work on: stand-ins for the sets and for most texts, and a tiny model for ViT-L/14.

python -m tests.smoke.make FOLDER
"""

import shutil
import sys
from pathlib import Path

from pcclip.data.class_texts import TEXTS_FILE, ClassText, ClassTexts
from pcclip.evaluation.sources.words import Words
from pcclip.model.checkpoint import save_folder
from tests.arithmetic.arithmetic_world import save_scorer
from tests.arithmetic.tiny_sdxl import random_towers, save_pipeline
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
    for part in ("sets", "model", "data", "sdxl", "scorer"):  # of a stopped run
        shutil.rmtree(place / part, ignore_errors=True)
    standins.make(place / "sets")
    for name in ("cifar100", "cub", "flowers102", "sun397"):  # EuroSAT's few are written
        pair_texts(place / "data/paper/class-pairs" / name, name)
    save_folder(random_towers(place / "configs"), place / "model")
    save_pipeline(place / "sdxl", place / "model")
    save_scorer(place / "scorer")
