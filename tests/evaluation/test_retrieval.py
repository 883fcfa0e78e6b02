from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import subject
from torchmetrics.functional.retrieval import retrieval_hit_rate

from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import unit
from pcclip.evaluation.protocol import Results
from pcclip.evaluation.protocols.places import Items, median_rank, places_in_blocks
from pcclip.evaluation.protocols.retrieval import Retrieval
from pcclip.evaluation.sets import EvaluationSet

KS = (1, 5, 10)


class Table:
    """Text embeddings from a table."""

    def __init__(self, rows: dict[str, np.ndarray]) -> None:
        self.rows = rows

    def encode_images(self, pixels: torch.Tensor) -> torch.Tensor:
        raise AssertionError("image embeddings are given")

    def encode_texts(self, texts: list[str]) -> torch.Tensor:
        return torch.from_numpy(np.stack([self.rows[text] for text in texts])).float()


def captioned(captions: list[tuple[str, ...]]) -> EvaluationSet:
    keys = tuple(f"p{number:03d}" for number in range(len(captions)))
    nothing = np.full(len(keys), -1, np.int64)
    return EvaluationSet("told", "test", Path("told"), keys, None, (), nothing, captions=tuple(captions))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def told() -> tuple[EvaluationSet, np.ndarray, Table]:
    """60 pictures with one to five captions, each somewhere near its picture."""
    rng = np.random.default_rng(0)
    features = unit(rng.normal(size=(60, 12)).astype(np.float32))
    captions = [tuple(f"{number} {n}" for n in range(rng.integers(1, 6))) for number in range(60)]
    rows = {
        text: unit(features[number] + 0.4 * rng.normal(size=12).astype(np.float32))
        for number, own in enumerate(captions)
        for text in own
    }
    return captioned(captions), features, Table(rows)


def run(data: EvaluationSet, features: np.ndarray, table: Table, **settings: object) -> Results:
    return Retrieval(**settings).run(subject(table, data, features))  # type: ignore[arg-type]


def hit_rates(scores: np.ndarray, right: np.ndarray, k: int) -> float:
    rows = [
        retrieval_hit_rate(torch.from_numpy(s), torch.from_numpy(r), top_k=k)
        for s, r in zip(scores, right, strict=True)
    ]
    return float(torch.stack(rows).mean())


def test_recalls_are_torchmetrics_hit_rates(told: tuple[EvaluationSet, np.ndarray, Table]):
    data, features, table = told
    texts = [(number, text) for number, own in enumerate(data.captions) for text in own]
    scores = features @ np.stack([table.rows[text] for _, text in texts]).T
    right = np.array([number for number, _ in texts]) == np.arange(60)[:, None]
    values = run(data, features, table).values()
    for k in KS:
        found = {
            name: values[f"retrieval/told/{name}_recall_at_{k}"]
            for name in ("image_to_text", "text_to_image")
        }
        assert found["image_to_text"] == pytest.approx(hit_rates(scores, right, k), abs=1e-6)
        assert found["text_to_image"] == pytest.approx(hit_rates(scores.T, right.T, k), abs=1e-6)
        assert 0 < found["image_to_text"] < 1
    ranks = 1 + (scores > np.where(right, scores, -np.inf).max(axis=1, keepdims=True)).sum(axis=1)
    assert values["retrieval/told/image_to_text_median_rank"] == np.median(ranks)


@pytest.mark.parametrize(("sign", "recall", "rank"), [(1, 1.0, 1.0), (-1, 0.0, 60.0)])
def test_perfect_and_inverted_captions(sign: int, recall: float, rank: float):
    features = unit(np.random.default_rng(1).normal(size=(60, 80)).astype(np.float32))
    features = np.linalg.qr(features.T)[0].T.astype(np.float32)  # all at right angles: the own one stands out
    data = captioned([(f"{n} a", f"{n} b") for n in range(60)])
    table = Table({text: sign * features[n] for n, own in enumerate(data.captions) for text in own})
    values = run(data, features, table).values()
    for k in KS:
        assert values[f"retrieval/told/text_to_image_recall_at_{k}"] == recall
        assert values[f"retrieval/told/image_to_text_recall_at_{k}"] == recall
    assert values["retrieval/told/text_to_image_median_rank"] == rank


def test_equal_embeddings_are_in_a_fair_order():
    data = captioned([(f"{n} a", f"{n} b", f"{n} c") for n in range(30)])
    row = unit(np.ones((1, 8), np.float32))[0]
    table = Table({text: row for own in data.captions for text in own})
    results = run(data, np.tile(row, (30, 1)), table)
    values = results.values()
    for k in KS:
        assert values[f"retrieval/told/text_to_image_recall_at_{k}"] == pytest.approx(k / 30)
        missed = np.prod([(87 - i) / (90 - i) for i in range(k)])  # no draw is one of one's own three
        assert values[f"retrieval/told/image_to_text_recall_at_{k}"] == pytest.approx(1 - missed, rel=1e-5)
    assert values["retrieval/told/text_to_image_median_rank"] == 15.5
    assert results.notes["retrieval"]["decided by the order of ties"]["text_to_image_recall_at_1"] == 90


def test_orders_change_nothing(told: tuple[EvaluationSet, np.ndarray, Table]):
    data, features, table = told
    order = np.random.default_rng(5).permutation(60)
    turned = replace(
        data,
        keys=tuple(data.keys[i] for i in order),
        captions=tuple(data.captions[i][::-1] for i in order),
    )
    expected = run(data, features, table).values()
    assert run(turned, features[order], table).values() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("block", [1, 100, 777])
def test_blocks_change_nothing(block: int):
    rng = np.random.default_rng(2)
    rows = rng.integers(-2, 3, (40, 4)).astype(np.float32)  # many ties and equal rows
    queries, items = Items.distinct(rows), Items.distinct(rows[::-1])
    query, item = np.nonzero(rng.random((40, 40)) < 0.1 + np.eye(40))
    whole, parts = (places_in_blocks(queries, items, query, item, size) for size in (2**20, block))
    for name in ("closer", "tied", "right"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    scores = rows @ rows[::-1].T
    best = np.array([scores[q, item[query == q]].max() for q in range(40)])
    np.testing.assert_array_equal(whole.closer, (scores > best[:, None]).sum(axis=1))
    np.testing.assert_array_equal(whole.tied, (scores == best[:, None]).sum(axis=1))


def test_a_text_of_several_pictures():
    data = captioned([("a lake",), ("a lake",), ("a road",), ("a wood",)])
    features = np.eye(4, dtype=np.float32)
    features[1] = unit(np.array([0.9, 0.1, 0, 0], np.float32))
    rows = {"a lake": features[0], "a road": features[2], "a wood": features[3]}
    prefix = "retrieval/told"
    distinct = run(data, features, Table(rows), recall_at=(1, 2)).values()
    assert distinct[f"{prefix}/image_to_text_recall_at_1"] == (0.5 + 0.5 + 1 + 1) / 4
    assert distinct[f"{prefix}/text_to_image_recall_at_1"] == (1 + 0 + 1 + 1) / 4
    shared = run(data, features, Table(rows), recall_at=(1, 2), same_text="shared").values()
    assert shared[f"{prefix}/image_to_text_recall_at_1"] == 1
    assert shared[f"{prefix}/text_to_image_recall_at_1"] == 1
    assert shared.keys() == distinct.keys()


def test_captions_of_one_picture_are_no_more_evidence_than_one():
    rng = np.random.default_rng(4)
    features = unit(rng.normal(size=(80, 6)).astype(np.float32))
    near = unit(features + 0.5 * rng.normal(size=features.shape).astype(np.float32))
    widths = []
    for copies in (1, 6):
        data = captioned([tuple(f"{n} {c}" for c in range(copies)) for n in range(80)])
        table = Table({text: near[n] for n, own in enumerate(data.captions) for text in own})
        found = run(data, features, table).estimates()["retrieval/told/text_to_image_recall_at_1"]
        widths.append(found.high - found.low)
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_medians_of_resampled_pairs_cover_the_truth():
    rng = np.random.default_rng(6)
    covered = 0
    for seed in range(150):
        ease = rng.normal(size=120)
        first, second = (rng.permutation(240) % 120 for _ in range(2))
        ranks = np.exp(ease[first] + ease[second] + rng.normal(size=240))
        interval = median_rank(ranks, first, second, 120, 300, seed).estimate()
        covered += interval.low <= 1 <= interval.high
    assert 0.88 <= covered / 150 <= 0.99


def test_pictures_without_captions_are_refused(told: tuple[EvaluationSet, np.ndarray, Table]):
    data, features, table = told
    with pytest.raises(PcclipError, match="have no captions"):
        run(replace(data, captions=((),) * 60), features, table)
    with pytest.raises(PcclipError, match="picture 'p001' of split 'test' has no caption"):
        run(replace(data, captions=(data.captions[0], (), *data.captions[2:])), features, table)
