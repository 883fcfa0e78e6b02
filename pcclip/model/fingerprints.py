"""Fingerprints: sha256 over what decides an embedding; cached embeddings are not used with another model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

# Enough to tell vocabularies, cleaning, special tokens and padding apart.
PROBES = (
    "",
    "a photo of a cat",
    "The FIRST picture shows  a larger, redder circle!",
    "naïve café — 東京 🙂",
    "1234567890 it's 3.5% under_scored",
    "word " * 100,
)


def weights_digest(tensors: Mapping[str, Tensor], extra: Any = None) -> str:
    """Hex sha256 over tensors in the order of their names, and over `extra` as JSON.

    Floating point tensors are hashed as fp32, so that the digest does not depend on the device or on how the
    weights were stored.
    """
    digest = hashlib.sha256(json.dumps(extra, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def tokenizer_digest(tokenizer: Callable[[list[str]], Tensor]) -> str:
    """Hex sha256 over the tokens of some probing texts, on which other tokenizers differ."""
    tokens = tokenizer(list(PROBES)).long()
    return hashlib.sha256(repr(tokens.tolist()).encode()).hexdigest()
