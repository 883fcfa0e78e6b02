"""A small model, and the mark that code ran."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A folder with a model, as pcclip saves it."""
    import torch

    from pcclip.model.checkpoint import save_folder
    from pcclip.model.towers import load_towers

    torch.manual_seed(0)
    return save_folder(
        load_towers("pcclip-tiny", random_init=True), tmp_path_factory.mktemp("tiny") / "model"
    )


@pytest.fixture
def mark(tmp_path) -> Path:
    """A file that hostile code makes; its absence is asserted at the end."""
    place = tmp_path / "CODE-RAN"
    yield place
    assert not place.exists(), "hostile code ran"
