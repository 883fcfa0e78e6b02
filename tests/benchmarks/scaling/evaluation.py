"""Evaluations on synthetic embeddings, intervals included, against pictures, classes and pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pcclip.evaluation.encoding.encoders import CachedEncoders
from pcclip.evaluation.protocol import EvaluationProtocol, Subject
from pcclip.evaluation.protocols.difference import DifferenceClassification
from pcclip.evaluation.protocols.zero_shot import ZeroShot
from pcclip.evaluation.questions import Question, Wording
from pcclip.evaluation.sets import EvaluationSet
from tests.benchmarks.scaling.measuring import Curve, Peak, timed

WIDTH = 512
GROWS = {
    "zero-shot: pictures": {"classes": 100},
    "zero-shot: classes": {"pictures": 5000},
    "difference: pictures": {"pairs": 2000},
    "difference: pairs": {"pictures": 5000},
    "difference: pictures, all pairs": {"pairs": "all"},
}


def curve(sizes: list[int], largest_all_pairs: int = 10_000) -> Curve:
    """What grows is named by the series, the rest stays as in `GROWS`."""
    settings = [
        {"size": size, "grows": grows}
        for grows in GROWS
        for size in sizes
        if not (grows.endswith("all pairs") and size > largest_all_pairs)
        and not (grows.endswith("classes") and size > 10_000)
    ]
    measures = {"scores": "s", "intervals": "s", "peak": "MiB"}
    return Curve("evaluation", measure, "size", measures, settings, "grows")


def measure(size: int, grows: str) -> dict[str, float]:

    grown: dict[str, Any] = GROWS[grows] | {grows.split(": ")[1].split(",")[0]: size}
    pictures, classes, pairs = (
        grown.get(n, d) for n, d in (("pictures", 5000), ("classes", 10), ("pairs", 1))
    )

    class Texts:
        def encode_images(self, pixels: torch.Tensor) -> torch.Tensor:
            raise AssertionError("image embeddings are given")

        def encode_texts(self, texts: list[str]) -> torch.Tensor:
            return torch.nn.functional.normalize(torch.randn(len(texts), WIDTH), dim=-1)

    features = np.random.default_rng(0).standard_normal((pictures, WIDTH), np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    subject = Subject(CachedEncoders(Texts()), _set(pictures, classes), features)
    protocol: EvaluationProtocol = DifferenceClassification(pairs=pairs)
    if grows.startswith("zero-shot"):
        protocol = ZeroShot()
    peak = Peak()
    scores, results = timed(lambda: protocol.run(subject))
    intervals, _ = timed(results.estimates)
    return {"scores": scores, "intervals": intervals, "peak": peak.grown()}


def _set(pictures: int, classes: int) -> Any:

    rng = np.random.default_rng(1)
    wordings = (
        Wording("seen", False, "the first thing is {more} than the second"),
        Wording("held", True, "{more} is what picture one shows"),
    )
    phrases = {"positive": "a large thing", "negative": "a small thing"}
    return EvaluationSet(
        name="synthetic",
        split="test",
        path=Path("synthetic"),
        keys=tuple(f"p{i:07d}" for i in range(pictures)),
        pictures=None,  # type: ignore[arg-type]  # never read: embeddings are given
        classes=tuple(f"kind {i}" for i in range(classes)),
        labels=np.arange(pictures, dtype=np.int64) % classes,
        prompts=("a picture of {}", "one {}"),
        questions=(Question("size", "degree", wordings, "larger", "smaller", phrases, 0.02),),
        attributes=tuple({"size": size} for size in rng.uniform(0.1, 1, pictures).tolist()),
    )
