"""All pairs by ranks against all pairs by hand, planted truths, and what the intervals are worth."""

from __future__ import annotations

import itertools
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
    random_row,
    subject,
    write,
)

from pcclip.errors import PcclipError
from pcclip.evaluation.bootstrap import bootstrap
from pcclip.evaluation.encoding.encoders import CachedEncoders
from pcclip.evaluation.protocol import Results
from pcclip.evaluation.protocols.all_pairs import ordered_wins, pseudo_values
from pcclip.evaluation.protocols.difference import DifferenceClassification, PublishedDifference
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Observations

ALL = DifferenceClassification(pairs="all")
PUBLISHED = PublishedDifference(pictures=30)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSet:
    return load_prepared(write(tmp_path_factory.mktemp("planted"), pictures()), "test")


def noise(count: int, seed: int = 5) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def by_hand(data: EvaluationSet, encoders: PlantedEncoders, features: np.ndarray) -> dict[str, float]:
    """Two of the scores of every pair in both orders, one pair after the other."""
    found = {}
    for question in data.questions:
        scores: dict[str, list[float]] = {"sign": [], "two_alternative": []}
        values = [attributes[question.attribute] for attributes in data.attributes]
        for a, b in itertools.permutations(range(len(data)), 2):
            if question.kind == "degree":
                if max(values[a], values[b]) <= min(values[a], values[b]) + question.margin:
                    continue
                sides = ("positive", "negative") if values[a] > values[b] else ("negative", "positive")
            elif values[a] == values[b]:
                continue
            else:
                sides = (values[a], values[b])
            d = features[a].astype(float) - features[b]
            for wording in question.wordings:
                if not wording.held_out:
                    forward = encoders.known[question.statement(wording, *sides)]
                    back = encoders.known[question.statement(wording, *sides[::-1])]
                    scores["sign"].append(float(np.heaviside(forward @ d, 0.5)))
                    scores["two_alternative"].append(float(np.heaviside((forward - back) @ d, 0.5)))
        found |= {
            f"difference/planted-{question.attribute}/{score}": float(np.mean(of))
            for score, of in scores.items()
        }
    return found


@pytest.mark.parametrize("seen", ["noise", "planted", "ties"])
def test_all_pairs_are_those_counted_by_hand(tmp_path: Path, seen: str):
    raw = evaluation_json()
    raw["questions"][0]["margin"] = 0.25
    data = load_prepared(write(tmp_path, pictures(42), raw), "test")
    encoders = PlantedEncoders(data)
    rng = np.random.default_rng(2)
    for text in encoders.known:  # in no way consistent between a sentence and its reverse
        encoders.known[text] = rng.normal(size=DIM)
    features = planted_features(data) if seen == "planted" else noise(42)
    if seen == "ties":
        features = features[np.arange(42) // 3]
    results = ALL.run(subject(encoders, data, features))
    expected = by_hand(data, encoders, features)
    values = results.values()
    assert len(expected) == 4
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=1e-7)
    assert results.groups["size"].second is None
    counts = results.notes["difference/planted"]["attributes"]["colour"]
    assert counts == {"pictures": 42, "pictures_without": 0, "pairs_that_qualify": 42 * 35 // 2}


def test_drawn_pairs_are_about_all_pairs(planted: EvaluationSet):
    encoders, features = PlantedEncoders(planted, "blind"), noise(120)
    exact = ALL.run(subject(encoders, planted, features)).values()
    for protocol in (DifferenceClassification(pairs=300, seeds=40), PublishedDifference(seeds=60)):
        drawn = protocol.run(subject(encoders, planted, features)).values()
        for name in exact:
            of = name.replace("difference/", f"{protocol.name}/")
            assert drawn[of] == pytest.approx(exact[name], abs=0.02), of


@pytest.mark.parametrize("protocol", [ALL, PUBLISHED, DifferenceClassification(pairs=300)])
@pytest.mark.parametrize(
    ("kind", "sign", "two_alternative"), [("perfect", 1, 1), ("inverted", 0, 0), ("sign-blind", 0.5, 1)]
)
def test_planted_truths(
    planted: EvaluationSet,
    protocol: DifferenceClassification,
    kind: str,
    sign: float,
    two_alternative: float,
):
    encoders = PlantedEncoders(planted, "inverted" if kind == "inverted" else "perfect")
    if kind == "sign-blind":  # what a sentence is about drowns the way round in which it says so
        for question in planted.questions:
            for wording in question.wordings:
                for sides in itertools.permutations(question.phrases, 2):
                    text = question.statement(wording, *sides)
                    encoders.known[text] = 1e-4 * encoders.known[text] + random_row(wording.id)
    results = protocol.run(subject(encoders, planted, planted_features(planted)))
    for name, found in results.estimates(300).items():
        score = name.rsplit("/", 1)[1]
        truth = {"sign": sign, "two_alternative": two_alternative}.get(score, 1)
        # In both orders a blind sentence is right exactly once; in a drawn order it is as chance has it.
        loose = score == "sign" and kind == "sign-blind" and protocol is not ALL
        assert found.value == pytest.approx(truth, abs=0.06 if loose else 1e-7), name
        assert found.low - 1e-3 <= truth <= found.high + 1e-3, name


def test_chance_lies_inside_the_interval(planted: EvaluationSet):
    found = ALL.run(subject(PlantedEncoders(planted), planted, noise(120))).estimates()
    for score in ("sign", "two_alternative", "text_difference", "absolute"):
        mean = found[f"difference/planted-mean/{score}"]
        assert mean.low < 0.5 < mean.high < mean.low + 0.25
        assert mean.n == 240


@pytest.mark.parametrize("protocol", [ALL, PUBLISHED, DifferenceClassification(pairs=200, seeds=2)])
def test_order_and_batches_change_nothing(
    planted: EvaluationSet, tmp_path: Path, protocol: DifferenceClassification
):
    order = np.random.default_rng(1).permutation(120)
    raw = evaluation_json()
    raw["classes"] = raw["classes"][::-1]
    raw["questions"][1]["values"] = dict(reversed(raw["questions"][1]["values"].items()))
    raw["questions"].reverse()
    other = load_prepared(write(tmp_path, [pictures()[index] for index in order], raw), "test")
    encoders, features = PlantedEncoders(planted, "blind"), noise(120)
    values = protocol.run(subject(encoders, planted, features)).values()
    turned = protocol.run(subject(CachedEncoders(encoders, batch_size=3), other, features[order])).values()
    assert turned == pytest.approx(values, abs=1e-12)


def test_change_between_models_is_paired(planted: EvaluationSet, tmp_path: Path):
    features = noise(120)
    base = ALL.run(subject(PlantedEncoders(planted), planted, features))
    still = base.minus(base).estimates()["difference/planted-mean/sign"]
    assert (still.value, still.low, still.high) == (0, 0, 0)
    nearly = features + 0.05 * planted_features(planted)
    tuned = ALL.run(
        subject(PlantedEncoders(planted), planted, nearly / np.linalg.norm(nearly, axis=1)[:, None])
    )
    name = "difference/planted-colour/two_alternative"
    change, alone = tuned.minus(base).estimates()[name], tuned.estimates()[name]
    assert 0 < change.low < change.value < change.high
    assert change.high - change.low < 0.5 * (alone.high - alone.low)
    tuned.save(tmp_path / "tuned.npz")
    assert Results.load(tmp_path / "tuned.npz").minus(base).values() == tuned.minus(base).values()
    drawn = DifferenceClassification().run(subject(PlantedEncoders(planted), planted, features))
    with pytest.raises(PcclipError, match="cannot be compared pair by pair"):
        drawn.minus(base)


def test_intervals_of_all_pairs_cover_the_truth():
    rng = np.random.default_rng(0)

    def sample(count: int) -> tuple[np.ndarray, np.ndarray]:
        values = rng.random(count)
        return values, (values + rng.normal(size=count) * 0.4)[None]

    values, scores = sample(40_000)
    right, pairs = ordered_wins(scores, values, 0.1)
    truth = right.sum() / pairs.sum()
    covered, widths, estimates = 0, [], []
    for _ in range(300):
        values, scores = sample(60)
        of = pseudo_values(*ordered_wins(scores, values, 0.1))[0].astype(np.float32)
        groups = {"g": Observations(np.arange(60), None, {"s": of})}
        found = bootstrap(groups, {"m": (("g", "s"),)}, 60, resamples=300)["m"]
        covered += found.low <= truth <= found.high
        widths.append(found.high - found.low)
        estimates.append(found.value)
    assert 0.90 <= covered / 300 <= 0.99
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(estimates), rel=0.2)


def test_the_published_sampling(planted: EvaluationSet):
    results = PUBLISHED.run(subject(PlantedEncoders(planted, "blind"), planted, noise(120)))
    drawn = {}
    for name, seen in results.groups.items():
        seed = name.rsplit(" ", 1)[1]
        assert seen.second is not None
        drawn.setdefault(seed, set()).update(seen.first.tolist(), seen.second.tolist())
        pairs = {frozenset(pair) for pair in zip(seen.first.tolist(), seen.second.tolist(), strict=True)}
        assert len(pairs) == len(seen.first)
    assert sorted(drawn) == ["0", "1", "2", "3", "4"]
    assert all(len(of) == 30 for of in drawn.values())
    colours = [planted.attributes[index]["colour"] for index in sorted(drawn["2"])]
    expected = sum(a != b for a, b in itertools.combinations(colours, 2))
    assert len(results.groups["difference_published colour seed 2"].first) == expected
    by_seed = results.notes["difference_published/planted"]["by_seed"]
    for name in ("difference_published/planted-mean/sign", "difference_published/planted-size/absolute"):
        spread = by_seed[name]
        assert len(set(spread["values"])) == 5
        assert np.mean(spread["values"]) == pytest.approx(results.values()[name])
        assert spread["low"] < spread["value"] < spread["high"]
    json.dumps(results.notes)
    again = results.merged(ALL.run(subject(PlantedEncoders(planted, "blind"), planted, noise(120))))
    assert len(again.notes) == 2


def test_few_pictures_may_miss_an_attribute_in_one_seed_but_not_in_all(tmp_path: Path):
    made = [
        replace(one, attributes={"size": 0.5, "colour": one.attributes["colour"]}) for one in pictures(60)
    ]
    made[7] = replace(made[7], attributes={"size": 0.9, "colour": "red"})
    data = load_prepared(write(tmp_path, made), "test")
    on = subject(PlantedEncoders(data), data, planted_features(data))
    results = PublishedDifference(pictures=20).run(on)
    sizes = [name for name in results.groups if " size " in name]
    assert 0 < len(sizes) < 5
    assert len(results.notes["difference_published/planted"]["by_seed"][
        "difference_published/planted-size/sign"]["values"]) == len(sizes)  # fmt: skip
    with pytest.raises(PcclipError, match=r"among 2 pictures .* no two differ in 'size'. Draw more"):
        PublishedDifference(pictures=2).run(on)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pairs": "all", "seeds": 5}, "all pairs of all pictures are the same for each of 5 seeds"),
        ({"pairs": 0}, "leave nothing to compare"),
        ({"seeds": 0}, "leave nothing to compare"),
        ({"pictures": 1}, "leave nothing to compare"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, object], message: str):
    with pytest.raises(PcclipError, match=message):
        DifferenceClassification(**settings)


def test_values_without_pictures_are_not_asked_of_all_pairs(tmp_path: Path):
    two = [picture for picture in pictures(30) if picture.class_name in COLOURS[:2]]
    data = replace(load_prepared(write(tmp_path, two), "test", True))
    encoders = PlantedEncoders(data)
    ALL.run(subject(encoders, data, planted_features(data)))
    assert not any("white" in text for call in encoders.calls for text in call)
