"""Small towers to test on."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import Towers, load_towers

TEXTS = [
    "a cat",
    "the first picture shows a larger, redder circle than the second one",
    "",
    "the second picture is much darker and holds three small squares in its upper left corner",
    "snow " * 100,
]


@pytest.fixture
def tiny() -> Towers:
    torch.manual_seed(0)
    return load_towers("pcclip-tiny", random_init=True)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    towers = load_towers("pcclip-tiny", random_init=True)
    return save_folder(towers, tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def stir() -> Callable[[torch.nn.Module], None]:
    """Move every weight a little, so that no norm or adapter is an identity."""

    @torch.no_grad()
    def move(module: torch.nn.Module) -> None:
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)

    return move
