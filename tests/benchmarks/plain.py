"""Scripts with open_clip and nothing of ours: `python -m tests.benchmarks.plain step|evaluate ...`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def step(model: str, batch: str, device: str) -> None:
    """Imports, model, one training step of the text tower; prints when it was done."""
    import open_clip
    import torch

    clip = open_clip.create_model(model, precision="fp32", device=device)
    tokenizer = open_clip.get_tokenizer(model)
    clip.lock_image_tower()
    optimizer = torch.optim.AdamW([p for p in clip.parameters() if p.requires_grad], lr=1e-8)
    tokens = tokenizer(["the first picture is larger and darker than the second"] * int(batch)).to(device)
    text = clip.encode_text(tokens, normalize=True)
    shown = torch.nn.functional.normalize(torch.randn_like(text), dim=-1)
    loss = open_clip.loss.ClipLoss()(shown, text, clip.logit_scale.exp())
    loss.backward()
    optimizer.step()
    print(time.time())


def evaluate(model: str, task: str, device: str) -> None:
    """Zero-shot classification and difference-based classification of a task's pictures, from files."""
    import numpy as np
    import open_clip
    import torch
    from PIL import Image

    given = json.loads(Path(task).read_bytes())
    clip, _, preprocess = open_clip.create_model_and_transforms(model, precision="fp32", device=device)
    clip.eval()
    tokenizer = open_clip.get_tokenizer(model)

    class Files(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(given["files"])

        def __getitem__(self, i: int) -> Any:
            return preprocess(Image.open(given["files"][i]).convert("RGB"))

    def encoded(texts: list[str]) -> Any:
        parts = [texts[i : i + 256] for i in range(0, len(texts), 256)]
        rows = [clip.encode_text(tokenizer(part).to(device), normalize=True).cpu() for part in parts]
        return torch.cat(rows).numpy()

    with torch.no_grad():
        loader = torch.utils.data.DataLoader(Files(), 64, num_workers=2)
        rows = [clip.encode_image(pixels.to(device), normalize=True).cpu() for pixels in loader]
        features = torch.cat(rows).numpy()
        classes = []
        for prompts in given["classes"]:
            mean = encoded(prompts).mean(0)
            classes.append(mean / np.linalg.norm(mean))
        found = {"zero-shot": float(((features @ np.stack(classes).T).argmax(1) == given["labels"]).mean())}
        scores: dict[str, list[float]] = {}
        for question in given["questions"]:
            first, second, kind = np.array(question["pairs"]).T
            d = features[first] - features[second]
            d /= np.linalg.norm(d, axis=1, keepdims=True)
            phrases = [encoded(texts) for texts in question["phrases"]]
            along = np.einsum("pd,pd->p", d, (phrases[0] - phrases[1])[kind])
            scores.setdefault("text difference", []).append(float((along > 0).mean()))
            for forward, reverse in question["wordings"]:
                t, r = encoded(forward), encoded(reverse)
                along = np.einsum("pd,pd->p", d, (t - r)[kind])
                scores.setdefault("two-alternative", []).append(float((along > 0).mean()))
                scores.setdefault("sign", []).append(float((np.einsum("pd,pd->p", d, t[kind]) > 0).mean()))
    print(json.dumps(found | {name: float(np.mean(values)) for name, values in scores.items()}))


if __name__ == "__main__":
    {"step": step, "evaluate": evaluate}[sys.argv[1]](*sys.argv[2:])
