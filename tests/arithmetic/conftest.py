"""A tiny Stable Diffusion XL and towers for it, made once."""

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.arithmetic.tiny_sdxl import save_pipeline, save_towers


class TinySDXL(NamedTuple):
    """Folders of a pipeline, of the tower that is its first text encoder, and of that one finetuned."""

    pipeline: Path
    base: Path
    tuned: Path


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> TinySDXL:
    folder = tmp_path_factory.mktemp("tiny_sdxl")
    base, tuned = save_towers(folder)
    return TinySDXL(save_pipeline(folder / "sdxl", base), base, tuned)
