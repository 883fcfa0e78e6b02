import json
from pathlib import Path

import pytest
import torch
from fitting import experiment, fit_words, prepare

from pcclip.cli import main


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Path:
    """A folder with small data, a small base model and a configuration."""
    from pcclip.model.checkpoint import save_folder
    from pcclip.model.towers import load_towers

    folder = tmp_path_factory.mktemp("cli")
    prepare(folder / "data", "pixels")
    torch.manual_seed(0)
    save_folder(load_towers("pcclip-tiny", random_init=True), folder / "base")
    (folder / "fit.yaml").write_text(json.dumps(experiment(folder / "data", folder / "base")))
    return folder


@pytest.fixture(scope="session")
def whole(place: Path) -> Path:
    """A run that nobody disturbed."""
    assert main(fit_words(place, "whole")) == 0
    return place / "runs" / "small" / "whole"
