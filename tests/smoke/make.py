"""Makes what smoke runs work on: stand-ins for the sets, and a tiny model in place of ViT-L/14.

python -m tests.smoke.make FOLDER
"""

import shutil
import sys
from pathlib import Path

import torch

from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import load_towers
from tests.smoke import standins

if __name__ == "__main__":
    place = Path(sys.argv[1])
    for part in ("sets", "model"):  # of a stopped run
        shutil.rmtree(place / part, ignore_errors=True)
    standins.make(place / "sets")
    torch.manual_seed(0)
    save_folder(load_towers("pcclip-tiny", random_init=True), place / "model")
