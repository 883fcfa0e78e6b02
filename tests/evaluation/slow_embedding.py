"""Embeds the planted set in a process of its own, slowly; prints how many pictures it encoded."""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from planted import load_prepared

from pcclip.evaluation.encoding.features import FeatureCache


def slow_features(folder: Path, cache: Path, seconds: float) -> tuple[np.ndarray, int]:
    """Embeddings that depend on each picture, and the number that had to be made."""
    made = 0

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        nonlocal made
        time.sleep(seconds)
        made += len(pixels)
        return torch.nn.functional.normalize(pixels, dim=-1)

    def preprocess(picture) -> torch.Tensor:
        return torch.from_numpy(np.asarray(picture)[:4, 0, :].astype(np.float32).reshape(-1) + 1)

    features = FeatureCache(cache, batch_size=10, progress=False).get(
        load_prepared(folder, "test"), encode, preprocess, "slow"
    )
    return np.array(features), made


if __name__ == "__main__":
    print(slow_features(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))[1])
