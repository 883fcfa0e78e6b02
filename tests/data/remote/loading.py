"""What a loader of the tests is made of; workers find it by the module's full name."""

import os

import pytest
import torch

from pcclip.data.stream import ResumableLoader

full = pytest.mark.skipif(
    os.environ.get("PCCLIP_FAULTS") != "full", reason="slow starts: PCCLIP_FAULTS=full runs them"
)


class Padded:
    """A tokenizer: one id per word, its length."""

    def __call__(self, texts: list[str]) -> torch.Tensor:
        ids = torch.zeros(len(texts), 12, dtype=torch.long)
        for row, text in zip(ids, texts, strict=True):
            words = [len(word) for word in text.split()[:11]] + [99]
            row[: len(words)] = torch.tensor(words)
        return ids


def plain(picture: object) -> torch.Tensor:
    """A preprocessing that costs nothing."""
    return torch.zeros(1)


def keys_of(loader: ResumableLoader, epochs: int = 1) -> list[list[str]]:
    """The keys of every batch."""
    return [batch["differences"]["keys"].tolist() for _ in range(epochs) for batch in loader]
