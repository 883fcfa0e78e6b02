from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted import (
    COLOURS,
    PlantedEncoders,
    evaluation_json,
    load_prepared,
    pictures,
    planted_features,
    subject,
    write,
)

from pcclip.cli import main
from pcclip.data.records import Triple
from pcclip.data.shards import ShardSetWriter
from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import CachedEncoders
from pcclip.evaluation.measured import Measured
from pcclip.evaluation.protocol import Results, Subject
from pcclip.evaluation.protocols.difference_retrieval import DifferenceRetrieval
from pcclip.evaluation.sets import EvaluationSet
from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import load_towers

FIXED = DifferenceRetrieval(lambdas=(1000.0,), pairs=60)
"""The text decides alone."""
S = "difference_retrieval/planted"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSet:
    return load_prepared(write(tmp_path_factory.mktemp("planted"), pictures()), "test")


def run(protocol: DifferenceRetrieval, data: EvaluationSet, statements: str = "perfect") -> Results:
    return protocol.run(subject(PlantedEncoders(data, statements), data, planted_features(data)))


def test_the_names_are_those_of_the_contract(planted: EvaluationSet):
    scores = [f"recall_at_{k}" for k in (1, 5, 10)] + [f"precision_at_{k}" for k in (1, 5, 10)]
    methods = {"to-picture": ("text", "text_difference", "nearest", "chance")}
    methods["to-text"] = ("text", "text_difference", "chance")
    expected = set()
    for task, names in methods.items():
        for method, suffix in [*((name, "") for name in names), ("text", "-unseen")]:
            expected |= {f"{S}-{task}{suffix}/{method}_{score}" for score in [*scores, "median_rank"]}
            expected |= {
                f"{S}-{task}-{attribute}{suffix}/{method}_precision_at_10" for attribute in ("size", "colour")
            }
    results = run(FIXED, planted)
    assert results.values().keys() == expected == results.estimates(100).keys()


@pytest.mark.parametrize(("statements", "precision"), [("perfect", 1.0), ("inverted", 0.0)])
def test_planted_differences_are_found(planted: EvaluationSet, statements: str, precision: float):
    # All pairs of colours: the text that is right about a pair is among the candidates.
    values = run(replace(FIXED, pairs=3000), planted, statements).values()
    for suffix in ("", "-unseen"):
        assert values[f"{S}-to-picture-colour{suffix}/text_precision_at_10"] == precision
        assert values[f"{S}-to-text{suffix}/text_precision_at_1"] == precision
        if statements == "perfect":
            assert values[f"{S}-to-picture{suffix}/text_precision_at_5"] > 0.999
            assert values[f"{S}-to-picture{suffix}/text_median_rank"] < 60
        else:
            assert values[f"{S}-to-text{suffix}/text_recall_at_1"] == 0
            assert values[f"{S}-to-picture{suffix}/text_median_rank"] > 60
    assert values[f"{S}-to-picture/text_difference_precision_at_5"] > 0.999  # the phrases are always right
    assert values[f"{S}-to-text/text_difference_precision_at_1"] == 1


def test_a_model_that_reads_no_direction_cannot_tell_a_text_from_its_reverse(planted: EvaluationSet):
    sizes = replace(planted, questions=planted.questions[:1])
    values = run(FIXED, sizes, "blind").values()
    # Two wordings of two claims: all of one wording tie, half of them are true.
    for task, score in (("to-text", "recall"), ("to-text", "precision")):
        assert values[f"{S}-{task}/text_{score}_at_1"] == pytest.approx(0.5)
    assert values[f"{S}-to-text/chance_recall_at_1"] == pytest.approx(0.5)


def test_numbers_are_those_of_the_definition(planted: EvaluationSet):
    features, encoders = planted_features(planted), PlantedEncoders(planted)
    results = DifferenceRetrieval(lambdas=(0.7,), pairs=80).run(subject(encoders, planted, features))
    sizes = np.array([float(one["size"]) for one in planted.attributes])
    colours = np.array([one["colour"] for one in planted.attributes])
    values = results.values()
    recalls, precisions, ranks = {"nearest": [], "text": []}, {"nearest": [], "text": []}, []
    for attribute in ("size", "colour"):
        seen = results.groups[f"difference_retrieval to-picture {attribute}"]
        for method, strength in (("nearest", 0.0), ("text", 0.7)):
            recall, share = [], []
            for a, b in zip(seen.first, seen.second, strict=True):
                if attribute == "size":
                    more = "larger" if sizes[a] > sizes[b] else "smaller"
                    text = encoders.known[f"the first thing is {more} than the second"]
                    fits = (sizes[a] - sizes if sizes[a] > sizes[b] else sizes - sizes[a]) > 0.02
                else:
                    text = encoders.known[f"a {colours[a]} thing instead of a {colours[b]} one"]
                    fits = colours == colours[b]
                scores = features.astype(np.float64) @ (features[a] - strength * text)
                order = [i for i in np.argsort(-scores) if i != a]
                recall.append(b in order[:10])
                share.append(np.mean(fits[order[:10]]))
                if method == "text":
                    ranks.append(order.index(b) + 1)
            recalls[method].append(np.mean(recall))
            precisions[method].append(np.mean(share))
    for method in recalls:
        assert values[f"{S}-to-picture/{method}_recall_at_10"] == pytest.approx(
            np.mean(recalls[method]), abs=1e-6
        )
        assert values[f"{S}-to-picture/{method}_precision_at_10"] == pytest.approx(
            np.mean(precisions[method]), abs=1e-6
        )
    assert values[f"{S}-to-picture/text_median_rank"] == np.median(ranks)
    assert values[f"{S}-to-picture/chance_recall_at_10"] == pytest.approx(10 / 119)
    assert values[f"{S}-to-picture/chance_median_rank"] == 60


def test_lambda_is_chosen_on_the_other_split(planted: EvaluationSet, tmp_path: Path):
    other = load_prepared(write(tmp_path, pictures(90)), "test")
    encoders = CachedEncoders(PlantedEncoders(planted))
    asked = []

    def split(name: str) -> Subject:
        asked.append(name)
        return Subject(encoders, other, planted_features(other))

    whole = Subject(encoders, planted, planted_features(planted), split)
    protocol = DifferenceRetrieval(lambdas=(0.0, 0.5, 1.0, 100.0), pairs=60, chosen_on="held aside")
    results = protocol.run(whole)
    assert asked == ["held aside"]
    notes = results.notes["difference_retrieval"]
    for method in ("text", "text_difference"):
        curve = notes["median ranks"][method]
        assert curve[str(notes["lambda"][method])] == min(curve.values()) < curve["0.0"]
    chosen = notes["lambda"]["text"]
    alone = replace(protocol, lambdas=(chosen,)).run(whole).values()
    assert results.values()[f"{S}-to-picture/text_recall_at_10"] == alone[f"{S}-to-picture/text_recall_at_10"]


def test_the_order_of_pictures_changes_nothing(planted: EvaluationSet):
    order = np.random.default_rng(3).permutation(len(planted))
    turned = replace(
        planted,
        keys=tuple(planted.keys[i] for i in order),
        attributes=tuple(planted.attributes[i] for i in order),
        labels=planted.labels[order],
    )
    protocol = replace(FIXED, candidates=70, lambdas=(0.7,))
    assert run(protocol, turned).values() == pytest.approx(run(protocol, planted).values(), abs=1e-6)


def write_triples(folder: Path, data: EvaluationSet, absent: int = 0) -> Path:
    rng = np.random.default_rng(0)
    colours = [str(one["colour"]) for one in data.attributes]
    with ShardSetWriter(folder, kind="triples", records_per_shard=40) as writer:
        for number in range(100):
            a, b = rng.choice(len(data), 2, replace=False)
            while colours[a] == colours[b]:
                a, b = rng.choice(len(data), 2, replace=False)
            text = f"a {colours[a]} thing instead of a {colours[b]} one"
            one = "elsewhere" if number < absent else data.keys[a]
            writer.write_triple(Triple(f"t{number:03d}", one, data.keys[b], text))
    return folder


def test_triples_are_retrieved(planted: EvaluationSet, tmp_path: Path):
    folder = write_triples(tmp_path / "triples", planted, absent=7)
    protocol = replace(FIXED, triples={"test": str(folder)})
    values, results = run(protocol, planted).values(), run(protocol, planted)
    assert results.notes["difference_retrieval"]["triples left out, a picture being absent"] == 7
    # Axes of two colours: no other text lies closer to a pair of pictures of these colours.
    assert values[f"{S}-triples-to-text/text_recall_at_1"] == 1
    assert values[f"{S}-triples-to-text/text_median_rank"] == 1
    assert len(COLOURS) < values[f"{S}-triples-to-text/chance_median_rank"] <= 15.5  # 30 ordered pairs
    assert (
        values[f"{S}-triples-to-picture/text_recall_at_10"]
        > values[f"{S}-triples-to-picture/chance_recall_at_10"]
    )
    assert values[f"{S}-triples-to-picture/nearest_recall_at_10"] == 0
    assert {one.n for name, one in results.estimates(50).items() if "triples" in name} == {93}
    assert run(replace(protocol, triples={"validation": str(folder)}), planted).values().keys() == {
        name for name in values if "triples" not in name
    }


def test_sets_and_triples_that_do_not_fit_are_refused(planted: EvaluationSet, tmp_path: Path):
    bare = replace(planted, questions=())
    folder = write_triples(tmp_path / "triples", planted)
    elsewhere = write_triples(tmp_path / "absent", planted, absent=100)
    cases = (
        (FIXED, bare, "has no 'questions'"),
        (DifferenceRetrieval(triples={"test": str(folder)}), bare, "Give a single one"),
        (DifferenceRetrieval(), planted, "only its split 'test' is at hand, not 'validation'"),
        (replace(FIXED, triples={"test": str(elsewhere)}), planted, "none of its 100 triples"),
        (replace(FIXED, candidates=1), planted, "no two of 1 pictures"),
    )
    for protocol, data, problem in cases:
        with pytest.raises(PcclipError, match=problem):
            protocol.run(subject(PlantedEncoders(planted), data, planted_features(planted)))


def test_all_three_run_from_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    made = [replace(p, captions=(f"a {p.class_name} thing", f"{p.key} up close")) for p in pictures(40)]
    description = evaluation_json()
    description["splits"]["validation"] = "pictures/test"
    data = write(tmp_path / "data", made, description)
    save_folder(load_towers("pcclip-tiny", random_init=True), tmp_path / "model", {})
    triples = write_triples(tmp_path / "triples", load_prepared(data, "test"))
    protocols = {
        "ranking.AttributeRanking": {"resamples": 20},
        "retrieval.Retrieval": {"recall_at": [1, 3], "same_text": "shared"},
        "difference_retrieval.DifferenceRetrieval": {
            "lambdas": [1.0, 4.0],
            "triples": {"test": str(triples)},
        },
    }
    listed = [
        {"class_path": f"pcclip.evaluation.protocols.{name}", "init_args": settings}
        for name, settings in protocols.items()
    ]
    config = {
        "suite": "search",
        "out": str(tmp_path / "out"),
        "models": [{"name": f"local-dir:{tmp_path / 'model'}", "label": "tiny"}],
        "evaluations": [{"data": str(data), "protocols": listed}],
    }
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    assert main(["evaluate", "--config", str(tmp_path / "config.yaml"), "--cache_dir", str(tmp_path)]) == 0
    assert "retrieval/planted/text_to_image_recall_at_3" in capsys.readouterr().out
    stored = Measured.load(tmp_path / "out" / "search" / "tiny" / "base")["planted"]
    assert set(stored.notes) == {"ranking", "retrieval", "difference_retrieval"}
    assert stored.notes["difference_retrieval"]["lambda"]["text"] in (1, 4)
    assert "ranking/planted-mean/direction_kendall" in stored.estimates(20)
