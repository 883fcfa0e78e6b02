from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
import pytest
from change_world import COLOURS, KINDS, QUERIES, WorldEncoders, features, world

from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import CachedEncoders
from pcclip.evaluation.protocol import Results, Subject
from pcclip.evaluation.protocols.change_retrieval import ChangeRetrieval
from pcclip.evaluation.sets import EvaluationSet

FIXED = ChangeRetrieval(weight=1.0, weights=(0.5, 1.0), learned_on="test", recall_at=(1, 5, 10))
S = "change_retrieval/world"


def subject(data: EvaluationSet, encoders: WorldEncoders, rows: np.ndarray | None = None) -> Subject:
    cached = CachedEncoders(encoders)
    of = {split: replace(data, split=split) for split in ("train", "validation")}
    rows = features(data) if rows is None else rows
    return Subject(cached, data, rows, lambda split: Subject(cached, of[split], rows))


def run(protocol: ChangeRetrieval, seen: int = 1, held_out: int = 1) -> Results:
    data = world()
    return protocol.run(subject(data, WorldEncoders(seen, held_out)))


def test_a_perfect_model_finds_every_changed_picture_and_nothing_else_does():
    results = run(FIXED)
    values = results.values()
    for method in ("sentence", "direction", "text_difference", "word_delta", "image_direction"):
        assert values[f"{S}-mean/{method}_recall_at_1"] == 1
        assert values[f"{S}-mean/{method}_median_rank"] == 1
    for method in ("sentence", "direction"):
        assert values[f"{S}-mean-unseen/{method}_recall_at_1"] == 1
    # A caption says the kind and the colour; only where the size changes it says that too, else two tie.
    assert values[f"{S}-mean/caption_alone_recall_at_1"] == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    # Five pictures differ in one attribute and tie as the nearest, one of them as asked.
    assert values[f"{S}-mean/nearest_recall_at_1"] == pytest.approx(1 / 5)
    assert values[f"{S}-mean/nearest_recall_at_5"] == 1
    assert values[f"{S}-mean/nearest_median_rank"] == 3
    for k in (1, 5, 10):
        assert values[f"{S}-mean/chance_recall_at_{k}"] == pytest.approx(k / 17)
    assert values[f"{S}-mean/chance_median_rank"] == 9
    assert {len(one.first) for one in results.groups.values()} == {18, 36}
    assert sum(len(one.first) for one in results.groups.values()) == QUERIES


def test_the_sentence_alone_finds_the_value_and_forgets_the_picture():
    values = run(FIXED).values()
    # Of 6 pictures of the named kind or colour (9 of the named size) one is right; they tie.
    assert values[f"{S}-mean/sentence_alone_recall_at_1"] == pytest.approx((1 / 6 + 1 / 6 + 1 / 9) / 3)
    assert values[f"{S}-mean/sentence_alone_recall_at_5"] == pytest.approx((5 / 6 + 5 / 6 + 5 / 9) / 3)


def test_a_model_with_the_sign_turned_finds_what_was_not_meant():
    values = run(FIXED, seen=-1).values()
    assert values[f"{S}-mean/sentence_recall_at_1"] == 0 == values[f"{S}-mean/sentence_recall_at_5"]
    assert values[f"{S}-mean/direction_recall_at_5"] == 0
    # By hand: 5 pictures keep the kind, 4 with the third kind share more than the target's score; of size 8.
    assert values[f"{S}-mean/sentence_median_rank"] == 10
    assert values[f"{S}-mean-unseen/sentence_recall_at_1"] == 1
    assert values[f"{S}-mean/text_difference_recall_at_1"] == 1


def test_a_model_that_reads_no_direction_is_no_better_than_the_picture_alone():
    values = run(FIXED, seen=0).values()
    for method in ("sentence", "direction"):
        for score in ("recall_at_1", "recall_at_5", "median_rank"):
            nearest = values[f"{S}-mean/nearest_{score}"]
            assert values[f"{S}-mean/{method}_{score}"] == pytest.approx(nearest, abs=0.21)
    assert values[f"{S}-mean/direction_recall_at_1"] == pytest.approx(
        1 / 5
    )  # a sentence less itself: exact ties


def test_random_pictures_are_found_as_often_as_by_chance():
    found = []
    for seed in range(12):
        rows = np.random.default_rng(seed).normal(size=(18, 8)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        values = FIXED.run(subject(world(), WorldEncoders(), rows)).values()
        found.append([values[f"{S}-mean/sentence_recall_at_{k}"] for k in (1, 5, 10)])
    assert np.mean(found, axis=0) == pytest.approx([1 / 17, 5 / 17, 10 / 17], abs=0.06)


def test_numbers_are_those_of_the_definition():
    data, encoders = world(sizes=(0.2, 0.25, 0.5, 0.8)), WorldEncoders()
    rows = features(data) + np.random.default_rng(5).normal(0, 0.15, (36, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    protocol = replace(FIXED, weight=0.4, tolerance=0.7)
    results = protocol.run(subject(data, encoders, rows))
    recalls, ranks, rights = [], [], []
    for name, values in (("kind", KINDS), ("colour", COLOURS), ("size", ("smaller", "larger"))):
        of_question = []
        for a, one in enumerate(data.attributes):
            for value in values:
                if value == one.get(name):
                    continue
                right = []
                for b, other in enumerate(data.attributes):
                    same = {k: one[k] == other[k] for k in ("kind", "colour")}
                    same["size"] = abs(one["size"] - other["size"]) <= 0.07
                    sign = 1 if value == "larger" else -1
                    as_said = (
                        sign * (other["size"] - one["size"]) > 0.1 if name == "size" else other[name] == value
                    )
                    if as_said and all(same[k] for k in same if k != name):
                        right.append(b)
                if not right:
                    continue
                text = f"the first is {value}" if name == "size" else f"{value} instead of {one[name]}"
                along = encoders.encode_texts([text]).numpy()[0]
                scores = rows.astype(np.float64) @ (rows[a] + 0.4 * along)
                order = [i for i in np.argsort(-scores) if i != a]
                rank = 1 + min(order.index(b) for b in right)
                of_question.append(rank <= 5)
                ranks.append(rank)
                rights.append(len(right))
        recalls.append(np.mean(of_question))
    values = results.values()
    assert values[f"{S}-mean/sentence_recall_at_5"] == pytest.approx(np.mean(recalls), abs=1e-6)
    assert values[f"{S}-mean/sentence_median_rank"] == np.median(ranks)
    assert max(rights) == 3  # 0.2 and 0.25 are the same size, so that several pictures may be right
    by_chance = [1 - comb(35 - right, 5) / comb(35, 5) for right in rights]
    sizes = results.groups["change_retrieval size"]
    notes = results.notes["change_retrieval"]
    assert sum(notes["queries"].values()) == len(rights)
    assert sizes.scores["chance_recall_at_5"].mean() == pytest.approx(
        np.mean(by_chance[-len(sizes.first) :]), abs=1e-6
    )


def test_the_weight_is_the_models_own_choice_on_the_other_split():
    data = world()
    noise = np.random.default_rng(1).normal(0, 0.12, (18, 8)).astype(np.float32)
    protocol = ChangeRetrieval(weights=(0.05, 0.4, 0.6, 3.0), recall_at=(1,), learned_on=None)
    there = subject(replace(data, split="validation"), WorldEncoders(), features(data) + noise)
    curve = protocol.run(there).notes["change_retrieval"]["curve"]
    asked = []

    def split(name: str) -> Subject:
        asked.append(name)
        return there

    for seen in (1, -1):
        here = Subject(CachedEncoders(WorldEncoders(seen)), data, features(data), split)
        notes = protocol.run(here).notes["change_retrieval"]
        for method in ("sentence", "direction", "text_difference", "word_delta"):
            of = {weight: recall for weight, recall, *_ in curve[method]["recall_at_1"] if weight}
            best = max(of.values())
            assert notes["weights"][method] == min(w for w, recall in of.items() if recall == best)
    assert set(asked) == {"validation"}
    assert len({round(r, 3) for _, r, *_ in curve["sentence"]["recall_at_1"]}) > 2  # there was a choice


def test_the_curve_begins_at_the_picture_alone_and_ends_at_the_text_alone():
    results = run(FIXED)
    values, notes = results.values(), results.notes["change_retrieval"]
    curve = notes["curve"]["sentence"]["recall_at_1"]
    assert [point[0] for point in curve] == [0.0, 0.5, 1.0, None]
    assert curve[0][1] == pytest.approx(values[f"{S}-mean/nearest_recall_at_1"])
    assert curve[2][1] == values[f"{S}-mean/sentence_recall_at_1"]
    assert curve[3][1] == pytest.approx(values[f"{S}-mean/sentence_alone_recall_at_1"])
    for _, recall, low, high in curve:
        assert low <= recall <= high
    assert notes["weights chosen on"] == "fixed"
    assert "recall_at_10" in notes["curve"]["direction-unseen"]


def test_the_change_from_one_model_to_another_is_paired_over_pictures():
    change = run(FIXED).minus(run(FIXED, seen=-1)).estimates(200)
    found = change[f"{S}-mean/sentence_recall_at_1"]
    assert (found.value, found.n) == (1, QUERIES)
    assert found.low > 0.5
    same = change[f"{S}-mean/text_difference_recall_at_1"]
    assert same.value == 0
    kinds = run(FIXED).groups["change_retrieval kind"]
    assert kinds.second is None  # a picture's queries are resampled together
    assert np.bincount(kinds.first).tolist() == [2] * 18


def test_the_order_of_pictures_and_of_values_changes_nothing():
    data, order = world(), np.random.default_rng(3).permutation(18)
    rows = features(data) + np.random.default_rng(4).normal(0, 0.1, (18, 8)).astype(np.float32)
    turned = replace(
        data,
        keys=tuple(data.keys[i] for i in order),
        attributes=tuple(data.attributes[i] for i in order),
    )
    protocol = replace(FIXED, queries=10, candidates=14)
    here = protocol.run(subject(data, WorldEncoders(), rows)).values()
    there = protocol.run(subject(turned, WorldEncoders(), rows[order])).values()
    assert here == pytest.approx(there, abs=1e-6)
    assert here[f"{S}-mean/chance_recall_at_1"] == pytest.approx(1 / 13)


def test_pictures_with_an_unknown_attribute_are_left_out():
    data = world()
    attributes = ({"kind": "circle", "colour": "red"}, *data.attributes[1:])
    results = FIXED.run(subject(replace(data, attributes=attributes), WorldEncoders(), features(data)))
    for one in results.groups.values():
        assert 0 not in one.first
    # Each of the five neighbours loses the question that this picture answered; it loses its own five.
    assert sum(len(one.first) for one in results.groups.values()) == QUERIES - 10


def test_what_cannot_be_asked_is_refused():
    data = world()
    alone = replace(data, questions=())
    cases = (
        (FIXED, alone, "has no 'questions'"),
        (replace(FIXED, candidates=1), data, "no two of 1 pictures"),
        (replace(FIXED, weight=0.0), data, "above 0"),
        (replace(FIXED, weights=(), weight=None), data, "above 0"),
        (replace(FIXED, caption="a {shape}"), data, "cannot be filled in.*kind, colour"),
        (replace(FIXED, recall_at=(20,)), data, "too few"),
    )
    for protocol, of, problem in cases:
        with pytest.raises(PcclipError, match=problem):
            protocol.run(subject(of, WorldEncoders()))


def test_a_caption_template_words_the_delta():
    plain = run(FIXED).values()
    worded = run(replace(FIXED, caption="{colour} {kind}")).values()
    assert worded[f"{S}-mean/word_delta_recall_at_1"] == 1
    assert worded[f"{S}-mean/caption_alone_recall_at_1"] == pytest.approx(
        plain[f"{S}-mean/caption_alone_recall_at_1"]
    )
