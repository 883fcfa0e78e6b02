from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted import (
    COLOURS,
    DIM,
    PlantedEncoders,
    evaluation_json,
    load_prepared,
    pictures,
    planted_features,
    subject,
    write,
)

from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import CachedEncoders
from pcclip.evaluation.protocol import Results, evaluate
from pcclip.evaluation.protocols.difference import DifferenceClassification
from pcclip.evaluation.protocols.pair_draws import sample_pairs
from pcclip.evaluation.protocols.zero_shot import ZeroShot
from pcclip.evaluation.sets import EvaluationSet

SCORES = ("sign", "two_alternative", "text_difference", "absolute")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSet:
    return load_prepared(write(tmp_path_factory.mktemp("planted"), pictures()), "test")


def test_the_names_are_those_of_the_contract(planted: EvaluationSet):
    results = DifferenceClassification(pairs=50).run(
        subject(PlantedEncoders(planted), planted, planted_features(planted))
    )
    expected = {
        f"difference/planted-{group}{suffix}/{score}"
        for group in ("size", "colour", "mean")
        for suffix in ("", "-unseen")
        for score in (SCORES if not suffix else SCORES[:2])
    }
    wordings = ("d1", "d2", "c1", "d3-unseen", "c2-unseen")
    expected |= {f"difference/planted-wording-{wording}/two_alternative" for wording in wordings}
    assert results.values().keys() == expected == results.estimates(100).keys()


@pytest.mark.parametrize(
    ("statements", "sign", "two_alternative"),
    [("perfect", 1.0, 1.0), ("inverted", 0.0, 0.0), ("blind", None, 0.5)],
)
def test_planted_answers_are_found(
    planted: EvaluationSet, statements: str, sign: float | None, two_alternative: float
):
    encoders = PlantedEncoders(planted, statements)
    results = DifferenceClassification().run(subject(encoders, planted, planted_features(planted)))
    for name, value in results.values().items():
        score = name.rsplit("/", 1)[1]
        if score == "sign" and sign is None:
            # Every sentence is as often true as false, whatever its one vector is.
            assert 0.4 < value < 0.6, name
        else:
            expected = {"sign": sign, "two_alternative": two_alternative}.get(score, 1.0)
            assert value == expected, name


def test_pictures_that_hold_nothing_give_chance_within_the_interval(planted: EvaluationSet):
    noise = np.random.default_rng(5).normal(size=(len(planted), DIM)).astype(np.float32)
    features = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    results = DifferenceClassification().run(subject(PlantedEncoders(planted), planted, features))
    estimates = results.estimates()
    assert all(0.3 < estimate.value < 0.7 for estimate in estimates.values())
    for score in SCORES:
        mean = estimates[f"difference/planted-mean/{score}"]
        assert mean.low < 0.5 < mean.high
        assert mean.n == 4000


def test_one_backward_wording_is_seen_by_itself(planted: EvaluationSet):
    encoders = PlantedEncoders(planted)
    backward = PlantedEncoders(planted, "inverted")
    for text, row in backward.known.items():
        if text.startswith("picture two holds"):
            encoders.known[text] = row
    values = DifferenceClassification().run(subject(encoders, planted, planted_features(planted))).values()
    assert values["difference/planted-wording-d2/two_alternative"] == 0
    assert values["difference/planted-wording-d1/two_alternative"] == 1
    assert values["difference/planted-size/two_alternative"] == 0.5
    assert values["difference/planted-mean/two_alternative"] == 0.75
    assert values["difference/planted-mean-unseen/two_alternative"] == 1


def test_absolute_and_text_difference_part_where_the_negative_phrase_misleads(planted: EvaluationSet):
    encoders = PlantedEncoders(planted)
    # 'a small thing' overshoots in the direction of large: the difference of phrases turns round.
    encoders.known["a small thing"] = 2 * encoders.known["a large thing"]
    values = DifferenceClassification().run(subject(encoders, planted, planted_features(planted))).values()
    assert values["difference/planted-size/absolute"] == 1
    assert values["difference/planted-size/text_difference"] == 0
    assert values["difference/planted-size/two_alternative"] == 1


def test_order_of_pictures_and_batches_of_texts_change_nothing(planted: EvaluationSet, tmp_path: Path):
    shuffled = [pictures()[index] for index in np.random.default_rng(1).permutation(120)]
    other = load_prepared(write(tmp_path, shuffled), "test")
    protocol = DifferenceClassification(pairs=300)
    blind = PlantedEncoders(planted, "blind")
    values = protocol.run(subject(blind, planted, planted_features(planted))).values()
    assert protocol.run(subject(blind, other, planted_features(other))).values() == values
    small = CachedEncoders(blind, batch_size=3)
    assert protocol.run(subject(small, planted, planted_features(planted))).values() == values


def test_each_text_is_encoded_once(planted: EvaluationSet):
    encoders = PlantedEncoders(planted)
    protocols = [ZeroShot(), DifferenceClassification()]
    evaluate(protocols, subject(encoders, planted, planted_features(planted)))
    encoded = [text for call in encoders.calls for text in call]
    assert len(encoded) == len(set(encoded))
    assert len(encoders.calls) <= 3


def test_paired_change(planted: EvaluationSet, tmp_path: Path):
    features = planted_features(planted)
    protocols = [ZeroShot(), DifferenceClassification()]
    base = evaluate(protocols, subject(PlantedEncoders(planted, "blind"), planted, features))
    tuned = evaluate(protocols, subject(PlantedEncoders(planted), planted, features))
    change = tuned.minus(base)
    values = change.values()
    assert values["difference/planted-mean/two_alternative"] == 0.5
    assert values["zero_shot/planted/top1"] == 0
    estimates = change.estimates()
    # Every pair gained exactly a half: paired, there is nothing left to chance.
    gained = estimates["difference/planted-mean/two_alternative"]
    assert (gained.low, gained.high) == (0.5, 0.5)
    sign = estimates["difference/planted-mean/sign"]
    assert sign.low < sign.value < sign.high
    assert sign.value == pytest.approx(1 - base.values()["difference/planted-mean/sign"])
    tuned.save(tmp_path / "run" / "tuned.npz")
    kept = Results.load(tmp_path / "run" / "tuned.npz")
    assert kept.estimates(100) == tuned.estimates(100)
    assert kept.minus(base).values() == values


def test_results_of_other_pairs_are_not_compared(planted: EvaluationSet, tmp_path: Path):
    encoders, features = PlantedEncoders(planted), planted_features(planted)
    one = DifferenceClassification(seed=0).run(subject(encoders, planted, features))
    two = DifferenceClassification(seed=1).run(subject(encoders, planted, features))
    with pytest.raises(PcclipError, match=r"cannot be compared pair by pair.*same set with the same seed"):
        one.minus(two)
    with pytest.raises(ValueError, match="both results hold"):
        one.merged(two)
    (tmp_path / "x.npz").write_bytes(b"PK")
    with pytest.raises(PcclipError, match=r"x\.npz: no results of an evaluation"):
        Results.load(tmp_path / "x.npz")


@pytest.mark.parametrize("count", [20, 10_000])
def test_pairs_are_all_and_only_those_beyond_the_margin(count: int):
    values = np.random.default_rng(0).permutation(np.repeat(np.arange(12), 2)) / 10
    first, second = sample_pairs(values, 0.25, count, np.random.default_rng(0))
    pairs = {frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}
    every = {
        frozenset((a, b)) for a in range(24) for b in range(a) if abs(values[a] - values[b]) > 0.25
    }  # fmt: skip
    assert len(pairs) == len(first) == min(count, len(every))
    assert pairs <= every
    assert (values[first] > values[second]).any()
    assert (values[first] < values[second]).any()


def test_sampled_pairs_are_a_fair_draw():
    values = np.arange(10.0)
    counts = np.zeros((10, 10))
    for seed in range(2000):
        first, second = sample_pairs(values, 0, 9, np.random.default_rng(seed))
        np.add.at(counts, (first, second), 1)
    off = counts[~np.eye(10, dtype=bool)]  # 90 ordered pairs, 200 expected of each
    assert counts.trace() == 0
    assert ((off - 200) ** 2 / 200).sum() < 150


def test_a_set_without_questions_or_differences_is_refused(planted: EvaluationSet, tmp_path: Path):
    features = planted_features(planted)
    with pytest.raises(PcclipError, match=r"evaluation.json: has no 'questions'"):
        DifferenceClassification().run(
            subject(PlantedEncoders(planted), replace(planted, questions=()), features)
        )
    raw = evaluation_json()
    raw["questions"][0]["margin"] = 5
    folder = write(tmp_path, pictures(12), raw)
    other = load_prepared(folder, "test")
    with pytest.raises(PcclipError, match=r"no two pictures of split 'test' differ in 'size' by more than 5"):
        DifferenceClassification().run(subject(PlantedEncoders(other), other, planted_features(other)))


def test_a_diverged_text_tower_is_named(planted: EvaluationSet):
    encoders = PlantedEncoders(planted)
    encoders.known["a large thing"] = np.full(DIM, np.nan)
    with pytest.raises(PcclipError, match=r"embedding of 'a large thing' is not finite"):
        DifferenceClassification().run(subject(encoders, planted, planted_features(planted)))


def test_values_without_a_picture_need_no_picture(tmp_path: Path):
    raw = evaluation_json()
    raw["questions"] = raw["questions"][1:]
    raw["classes"] = list(COLOURS[:2])
    (tmp_path / "evaluation.json").write_text(json.dumps(raw))
    two = [picture for picture in pictures(30) if picture.class_name in COLOURS[:2]]
    found = load_prepared(write(tmp_path, two, raw), "test")
    values = (
        DifferenceClassification()
        .run(subject(PlantedEncoders(found), found, planted_features(found)))
        .values()
    )
    assert values["difference/planted-colour/two_alternative"] == 1
