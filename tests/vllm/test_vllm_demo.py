"""`make demo-vllm` in small: a language model is trained, and the real engine writes with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jobs import records

from pcclip.data.inspect import inspect_shards

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "data_recipes" / "shapes" / "small_lm.yaml"
PROMPT = ROOT / "data_recipes" / "prompts" / "shapes_captions.yaml"
PICTURES, ROWS = 60, 100
TINY = [
    "--pictures",
    "40",
    "--steps",
    "20",
    "--lessons",
    "4",
    "--answers",
    "4",
    "--width",
    "32",
    "--layers",
    "1",
]


def run(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_a_small_language_model_writes_by_the_real_engine(tmp_path: Path) -> None:
    writer, out = tmp_path / "writer", tmp_path / "written"
    run("pcclip.demos.small_writer", "--out", str(writer), "--prompt", str(PROMPT), *TINY)
    world = {
        "class_path": "pcclip.data.sources.shapes.Shapes",
        "init_args": {"train": PICTURES, "validation": 2, "test": 2},
    }
    (tmp_path / "pictures.yaml").write_text(
        yaml.safe_dump({"source": world, "out": str(tmp_path / "shapes")})
    )
    run("pcclip", "prepare", "--config", str(tmp_path / "pictures.yaml"))
    overlay = {
        "rows": {
            "class_path": "pcclip.generation.picture_pairs.PicturePairs",
            "init_args": {
                "pictures": str(tmp_path / "shapes" / "pictures" / "train"),
                "plan": {"pictures": PICTURES, "pairs": ROWS},
            },
        },
        "writer": {
            "class_path": "pcclip.generation.writers.vllm_engine.VllmEngine",
            "init_args": {"model": str(writer / "model"), "python": sys.executable},
        },
        # A model that has learnt next to nothing babbles: what it writes is kept, to be judged.
        "check": None,
        "out": str(out),
    }
    (tmp_path / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    run("pcclip", "write", "--config", str(RECIPE), "--config", str(tmp_path / "overlay.yaml"))
    told = records(out)
    assert [r["row"] for r in told] == list(range(ROWS))
    assert all(r["error"] is None for r in told)
    assert inspect_shards(str(out / "triples")).fault_count == 0
    _same_tokens_as_in_training(writer / "model", told, tmp_path / "shapes" / "pictures" / "train")


def _same_tokens_as_in_training(model: Path, told: list[dict], pictures: Path) -> None:
    """The engine's prompts have as many tokens as training's, which another test compares one by one."""
    from transformers import AutoTokenizer

    from pcclip.demos.language_model import encode_prompts
    from pcclip.generation.pairs import PairPlan
    from pcclip.generation.picture_pairs import PicturePairs
    from pcclip.generation.prompts import PromptTemplate

    template = PromptTemplate(**yaml.safe_load(PROMPT.read_text()))
    rows = PicturePairs(str(pictures), PairPlan(PICTURES, ROWS), "shapes").rows()
    chats = [template.render(row).messages for row in rows]
    lengths = [len(prompt) for prompt in encode_prompts(AutoTokenizer.from_pretrained(model), chats)]
    assert [r["tokens"][0] for r in told] == lengths
