"""Texts about single pairs: planted truths, what is known and what is not, tables and triples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from planted import DIM, load_prepared, pictures, random_row, subject, write
from torch import Tensor

from pcclip.data.records import Triple
from pcclip.data.shards import ShardSetWriter
from pcclip.errors import PcclipError
from pcclip.evaluation.protocol import Results
from pcclip.evaluation.protocols.difference_texts import DifferenceTexts
from pcclip.evaluation.sets import EvaluationSet

COUNT = 40


class Told:
    """Texts are `a>b` (how a differs from b) or `cap a`; each is embedded as it truly is, or turned round."""

    def __init__(self, features: np.ndarray, kind: str) -> None:
        self.features, self.kind = features, kind

    def encode_images(self, pixels: Tensor) -> Tensor:
        raise AssertionError("image embeddings are given")

    def encode_texts(self, texts: list[str]) -> Tensor:
        return torch.from_numpy(np.stack([self._row(text) for text in texts])).float()

    def _row(self, text: str) -> np.ndarray:
        if text.startswith("cap "):
            return self.features[int(text.split()[1])]
        a, b = map(int, text.split(">"))
        right = self.features[a] - self.features[b]
        common = random_row(f"{min(a, b)}-{max(a, b)}")
        return {
            "perfect": right,
            "inverted": -right,
            "sign-blind": 1e-4 * right + common,
            "random": random_row(text),
        }[self.kind]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSet:
    found = load_prepared(write(tmp_path_factory.mktemp("told"), pictures(COUNT)), "test")
    return replace(found, captions=tuple((f"cap {n}", f"cap {n} again") for n in range(COUNT)))


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(COUNT, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def rows(count: int = 300, back: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    pairs = [tuple(rng.permutation(COUNT)[:2].tolist()) for _ in range(count)]
    pairs = list(dict.fromkeys(tuple(sorted(pair)) for pair in pairs))
    frame = pd.DataFrame({
        "image1": [f"p{a:04d}" for a, _ in pairs],
        "image2": [f"p{b:04d}" for _, b in pairs],
        "text": [f"{a}>{b}" for a, b in pairs],
    })  # fmt: skip
    return frame.assign(reversed=[f"{b}>{a}" for a, b in pairs]) if back else frame


def run(
    data: EvaluationSet, features: np.ndarray, folder: Path, kind: str, frame: Any = None, **more
) -> Results:
    path = folder / "texts.csv"
    (rows() if frame is None else frame).to_csv(path, index=False)
    return DifferenceTexts(str(path), **more).run(subject(Told(features, kind), data, features))


@pytest.mark.parametrize(
    ("kind", "sign", "two"),
    [("perfect", 1, 1), ("inverted", 0, 0), ("sign-blind", 0.5, 1), ("random", 0.5, 0.5)],
)
def test_planted_truths(data, features, tmp_path: Path, kind: str, sign: float, two: float):
    found = run(data, features, tmp_path, kind).estimates(300)
    assert found.keys() == {
        f"difference_texts/planted/{score}"
        for score in ("sign", "two_alternative", "text_difference", "absolute")
    }
    for score, truth in {"sign": sign, "two_alternative": two, "text_difference": 1, "absolute": 1}.items():
        one = found[f"difference_texts/planted/{score}"]
        assert one.low <= truth <= one.high, score
        assert truth == 0.5 or one.value == truth
        assert one.n == len(rows())


def test_a_reversed_text_that_nobody_wrote_is_not_made_up(data, features, tmp_path: Path):
    frame = rows(back=False)
    assert (
        "difference_texts/planted/two_alternative"
        not in run(data, features, tmp_path, "perfect", frame).values()
    )
    turned = pd.DataFrame([{"image1": frame.image2[4], "image2": frame.image1[4],
                            "text": ">".join(reversed(frame.text[4].split(">")))}])  # fmt: skip
    results = run(data, features, tmp_path, "sign-blind", pd.concat([frame, turned]))
    # Both rows of that pair have one another as their reverse.
    assert results.notes["difference_texts/planted"]["pairs"]["two_alternative"] == 2
    assert results.values()["difference_texts/planted/two_alternative"] == 1
    some = replace(data, captions=tuple(of if n < 20 else () for n, of in enumerate(data.captions)))
    pairs = run(some, features, tmp_path, "perfect", frame).notes["difference_texts/planted"]["pairs"]
    both = frame[(frame.image1 < "p0020") & (frame.image2 < "p0020")]
    assert pairs == {"sign": len(frame), "text_difference": len(both), "absolute": len(both)}
    bare = run(replace(data, captions=()), features, tmp_path, "perfect", frame)
    assert bare.values() == {"difference_texts/planted/sign": 1.0}


def test_draws_and_orders(data, features, tmp_path: Path):
    found = run(data, features, tmp_path, "random", pairs=50, seeds=5)
    spread = found.notes["difference_texts/planted"]["by_seed"]["difference_texts/planted/sign"]
    assert len(spread["values"]) == 5
    assert np.mean(spread["values"]) == pytest.approx(found.values()["difference_texts/planted/sign"])
    assert found.estimates(100)["difference_texts/planted/sign"].n == 250
    mixed = rows().sample(frac=1, random_state=1)
    again = run(data, features, tmp_path, "random", mixed, pairs=50, seeds=5)
    assert again.values() == found.values()
    assert again.minus(found).values() == dict.fromkeys(found.values(), 0.0)


def test_triples_are_texts_too(data, features, tmp_path: Path):
    with ShardSetWriter(tmp_path / "triples", kind="triples", records_per_shard=100) as writer:
        for number, row in enumerate(rows().itertuples()):
            writer.write_triple(Triple(f"t{number:04d}", row.image1, row.image2, row.text))
    protocol = DifferenceTexts(str(tmp_path / "triples"))
    found = protocol.run(subject(Told(features, "perfect"), data, features)).values()
    expected = run(data, features, tmp_path, "perfect", rows(back=False)).values()
    assert found == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image1,image2,text\np0001,q1,x\n", r"texts.csv: row 2: .*evaluation.json has no key 'q1'"),
        ("image1,image2,text\np0001,p0001,x\n", r"row 2: compares 'p0001' with 'p0001'"),
        ("image1,image2,text\np0001,p0002,\n", r"row 2: .* a text that is not empty"),
        ("image1,text\np0001,x\n", r"has the columns image1, text. A table of texts has"),
        ("image1,image2,text,split\np0001,p0002,x,train\n", r"no texts about pictures of the split 'test'"),
    ],
)
def test_texts_that_do_not_fit_are_refused(data, features, tmp_path: Path, text: str, message: str):
    (tmp_path / "texts.csv").write_text(text)
    with pytest.raises(PcclipError, match=message):
        DifferenceTexts(str(tmp_path / "texts.csv")).run(subject(Told(features, "random"), data, features))


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(PcclipError, match="all pairs are the same for each of 5 seeds"):
        DifferenceTexts("x.csv", seeds=5)
    with pytest.raises(PcclipError, match="at least one pair and one seed"):
        DifferenceTexts("x.csv", pairs=0)
