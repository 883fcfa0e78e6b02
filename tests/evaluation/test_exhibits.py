"""Exhibits of a planted model: what they show is what is known of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planted import PlantedEncoders, load_prepared, pictures, planted_features, subject, write

from pcclip.errors import PcclipError
from pcclip.evaluation.bench import Bench, Evaluation
from pcclip.evaluation.encoding.encoders import CachedEncoders
from pcclip.evaluation.encoding.features import FeatureCache
from pcclip.evaluation.encoding.models import Model
from pcclip.evaluation.exhibits.files import read_exhibits, read_vectors, write_exhibits
from pcclip.evaluation.exhibits.making import Both, question_exhibits
from pcclip.evaluation.protocols.difference import DifferenceClassification
from pcclip.evaluation.sets import EvaluationSet


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("planted"), pictures())


@pytest.fixture(scope="module")
def data(place: Path) -> EvaluationSet:
    return load_prepared(place, "test")


class GivenFeatures(FeatureCache):
    """The planted embeddings, whichever tower is asked."""

    def get(self, evaluation_set, *more, **others):
        return planted_features(evaluation_set)


@pytest.fixture(scope="module")
def run(place: Path, data: EvaluationSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    models = [
        Model(CachedEncoders(PlantedEncoders(data, statements)), lambda picture: picture, "planted")
        for statements in ("blind", "perfect")
    ]
    evaluations = [Evaluation(str(place), [DifferenceClassification(pairs=50)])] * 2
    for _ in range(2):  # again: an earlier attempt's are replaced
        write_exhibits(folder, evaluations, Bench(GivenFeatures(None)), *models)
    return folder


def test_a_perfect_sentence_ranks_by_the_attribute(run: Path, data: EvaluationSet):
    (shown,) = read_exhibits(run)  # of one split once
    assert (shown.name, shown.split) == ("planted", "test")
    size, colour = shown.rankings
    assert (size.attribute, size.text) == ("size", "the first thing is larger than the second")
    sizes = {key: attributes["size"] for key, attributes in zip(data.keys, data.attributes, strict=True)}
    for ends in (size.base, size.tuned):
        placed = ends.top + ends.middle + ends.bottom
        assert [one.value for one in placed] == [sizes[one.key] for one in placed]
        assert [one.rank for one in ends.top] == [1, 2, 3, 4, 5, 6]
        assert [one.rank for one in ends.bottom] == [115, 116, 117, 118, 119, 120]
    assert size.tuned.spearman == pytest.approx(1.0)
    assert abs(size.base.spearman) < 0.5
    assert min(one.value for one in size.tuned.top) > max(one.value for one in size.tuned.middle)
    assert colour.tuned.spearman is None


def test_answers_that_changed_are_counted_and_shown(run: Path):
    (shown,) = read_exhibits(run)
    for attribute in ("size", "colour"):
        answers = shown.pairs[attribute]
        assert (answers.asked, answers.lost, answers.won) == (2000, 0, 2000)  # a tie is not right
        assert not answers.lost_examples
        assert len(answers.won_examples) == 6
        assert all(one.base == 0 < one.tuned for one in answers.won_examples)
    assert shown.classes is not None
    assert (shown.classes.lost, shown.classes.won) == (0, 0)


def test_the_pairs_are_those_that_the_protocol_scores(data: EvaluationSet, place: Path):
    both = Both(
        *(subject(PlantedEncoders(data, s), data, planted_features(data)) for s in ("inverted", "perfect"))
    )
    question = data.questions[0]
    asked = question_exhibits(both, question)
    assert asked is not None
    scores = [
        DifferenceClassification().run(one).groups["size"].scores["wording-d1"] for one in both.subjects()
    ]
    answers = asked[1]
    assert answers.asked == len(scores[0])
    assert answers.won == int(((scores[0] == 0) & (scores[1] == 1)).sum())


def test_confusions_are_counts_of_all_pictures(run: Path, data: EvaluationSet):
    (confusion,) = read_exhibits(run)[0].confusions
    assert np.array_equal(np.sum(confusion.base, axis=1), np.bincount(data.labels))
    assert np.array_equal(confusion.tuned, np.diag(np.bincount(data.labels)))


def test_every_picture_that_is_named_has_its_thumbnail(run: Path):
    (shown,) = read_exhibits(run)
    named = {one.key for ranking in shown.rankings for one in ranking.tuned.top + ranking.base.bottom}
    assert named <= shown.pictures.keys()
    for file in shown.pictures.values():
        with Image.open(run / "exhibits" / file) as picture:
            assert picture.size == (24, 20)


def test_vectors_have_their_labels(run: Path, data: EvaluationSet):
    (shown,) = read_exhibits(run)
    vectors = read_vectors(run, shown)
    assert len(vectors.rows) == len(vectors.labels)
    by_label = dict(zip(vectors.labels, vectors.rows, strict=True))
    sentence = by_label[("tuned", "sentence", "size", "the first thing is larger than the second")]
    mean = by_label[("pictures", "mean of pairs", "size", "size: more")]
    assert float(sentence @ mean) > 0.9
    assert sum(label[1] == "class" for label in vectors.labels) == 2 * len(data.classes)


def test_damaged_exhibits_are_told_with_the_remedy(run: Path):
    file = run / "exhibits" / "exhibits.json"
    whole = file.read_text()
    file.write_text(whole.replace('"lost": 0', '"lost": 1', 1))
    try:
        with pytest.raises(PcclipError, match="Delete"):
            read_exhibits(run)
    finally:
        file.write_text(whole)
    assert read_exhibits(run.parent / "none") == []
