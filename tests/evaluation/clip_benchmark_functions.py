"""Run by the interpreter of CLIP_benchmark's own environment: its metrics on given embeddings.

Reads `given.npz` (images, texts, labels, classes x prompts as rows of texts, captions per image) from the
folder that it is told, writes `found.json` there.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval

folder = Path(sys.argv[1])
given = dict(np.load(folder / "given.npz"))
images, texts = torch.from_numpy(given["images"]), torch.from_numpy(given["texts"])
model = SimpleNamespace(encode_image=lambda rows: images[rows], encode_text=lambda rows: texts[rows])


class Loader(list):
    """Batches, with the `dataset.classes` that CLIP_benchmark looks at."""

    dataset = SimpleNamespace(classes=range(int(given["classes"])))


def tokenizer(words):
    return torch.tensor([int(word) for word in words])


def batches(other):
    return Loader(
        (torch.arange(at, min(at + 16, len(images))), other(at)) for at in range(0, len(images), 16)
    )


labels = torch.from_numpy(given["labels"])
prompts = given["prompts"].tolist()
found = zeroshot_classification.evaluate(
    model,
    batches(lambda at: labels[at : at + 16]),
    tokenizer,
    [str(number) for number in range(len(prompts))],
    {str(number): [str(row) for row in rows] for number, rows in enumerate(prompts)},
    "cpu",
    amp=False,
)
captions = [[str(row) for row in rows if row >= 0] for rows in given["captions"].tolist()]
found |= zeroshot_retrieval.evaluate(
    model, batches(lambda at: captions[at : at + 16]), tokenizer, "cpu", amp=False, recall_k_list=[1, 5, 10]
)
(folder / "found.json").write_text(json.dumps(found))
