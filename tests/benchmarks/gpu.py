"""`make bench-gpu`: training steps and the image tower on one GPU, ours beside the baselines, in one run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from pcclip.model.towers import load_towers
from tests.benchmarks.steps import bench_steps, matmul_peak, row, seconds


def bench_pictures(model: str, batch: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Pictures per second through the image tower, decoded before: bf16 beside open_clip's fp32."""
    towers = load_towers(model, random_init=True).to("cuda")
    pixels = torch.randn(batch, 3, 224, 224, device="cuda")

    def encode(bf16: bool) -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
            towers.encode_images(pixels)

    ours, theirs = (batch / seconds(lambda bf16=bf16: encode(bf16), repeats) for bf16 in (True, False))
    return {f"image tower/{model}/{batch}": row(ours, theirs)}


def run(
    out: str = "runs/bench", model: str = "ViT-L-14", batches: list[int] | None = None, repeats: int = 10
) -> None:
    """Runs all benchmarks of the GPU.

    Args:
        out: Folder of `gpu.json`.
        model: Whose towers.
        batches: Texts per step.
        repeats: Timed steps, whose median counts.
    """
    results: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "matmul peak TFLOP/s": {
            "bf16": round(matmul_peak("cuda", True) / 1e12, 1),
            "fp32": round(matmul_peak("cuda", False) / 1e12, 1),
        },
    }
    rows: dict[str, dict[str, Any]] = {}
    for batch in batches or [512, 1024, 2048]:
        rows |= bench_steps(model, batch, repeats, "cuda")
    rows |= bench_pictures(model, 256, repeats)
    table = Table("what", "ours", "baseline", "ratio", "unit")
    for name, one in rows.items():
        table.add_row(name, *(str(one[column]) for column in ("ours", "baseline", "ratio", "unit")))
    console = Console()
    console.print(results)
    console.print(table)
    Path(out).mkdir(parents=True, exist_ok=True)
    (Path(out) / "gpu.json").write_text(json.dumps(results | {"rows": rows}, indent=1))


if __name__ == "__main__":
    auto_cli(run, as_positional=False)
