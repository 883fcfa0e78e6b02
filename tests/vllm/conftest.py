"""The real engine, started as few times as can be; skipped where vLLM is not installed."""

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_settings import ENGINE, ENVIRONMENT

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "generation" / "writing"))  # jobs.py


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.vllm)


@pytest.fixture(scope="session", autouse=True)
def _vllm() -> None:
    # Not "vllm": this folder itself can be imported under that name.
    pytest.importorskip(
        "vllm.version", reason="vLLM is not installed here: run by the python of `make vllm-env`"
    )


@pytest.fixture(scope="session")
def captions(real_data: Path, _vllm: None) -> dict[int, list[str]]:
    from tiny import coco_captions

    return coco_captions(real_data / "coco" / "annotations" / "captions_val2017.json")


@pytest.fixture(scope="session")
def model(captions: dict[int, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny import make_model

    texts = [caption for several in captions.values() for caption in several]
    return make_model(tmp_path_factory.mktemp("model") / "tiny-llama", texts)


@pytest.fixture(scope="module")
def writer(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """One engine for all tests of a module that ask it directly."""
    from pcclip.generation.writers.vllm_engine import VllmEngine

    log = tmp_path_factory.mktemp("log") / "engine.log"
    writer = VllmEngine(str(model), dict(ENGINE), environment=dict(ENVIRONMENT), window=48, log=str(log))
    yield writer
    writer.close()


@pytest.fixture
def row_lines(captions: dict[int, list[str]]):
    """Rows of random pairs of COCO's pictures, as a row file holds them."""

    def make(count: int, pictures: int) -> list[dict]:
        rng = random.Random(0)
        pool = rng.sample(sorted(captions), pictures)
        lines = []
        for number in range(count):
            one, two = rng.sample(pool, 2)
            lines.append(
                {
                    "key": f"coco-{number:06d}",
                    "image1": f"{one:012d}",
                    "image2": f"{two:012d}",
                    "captions1": captions[one],
                    "captions2": captions[two],
                }
            )
        return lines

    return make


os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
