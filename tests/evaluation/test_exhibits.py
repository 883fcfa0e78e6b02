"""Exhibits of a planted model: what they show is what is known of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from planted import PlantedEncoders, load_prepared, pictures, planted_features, subject, write

from pcclip.checksums import seal
from pcclip.errors import PcclipError
from pcclip.evaluation.bench import Bench, Evaluation
from pcclip.evaluation.encoding.encoders import CachedEncoders
from pcclip.evaluation.encoding.features import FeatureCache
from pcclip.evaluation.encoding.models import Model
from pcclip.evaluation.exhibits.files import check_exhibits, read_exhibits, read_vectors, write_exhibits
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


DAMAGES: list[tuple[tuple[str | int, ...], Any]] = [
    (("sets",), {"a": 1}),
    (("sets", 0), "planted"),
    (("sets", 0, "pictures"), ["a"]),
    (("sets", 0, "pictures", "x"), 3),
    (("sets", 0, "confusions"), None),
    (("sets", 0, "confusions", 0, "classes"), []),
    (("sets", 0, "confusions", 0, "base"), [[1.0, 2.0], [3.0]]),
    (("sets", 0, "confusions", 0, "tuned", 0, 0), -1.0),
    (("sets", 0, "confusions", 0, "tuned", 0, 0), float("nan")),
    (("sets", 0, "confusions", 0, "tuned", 0, 0), 10**400),
    (("sets", 0, "rankings", 0, "text"), None),
    (("sets", 0, "rankings", 0, "base", "top"), {}),
    (("sets", 0, "rankings", 0, "base", "top", 0, "rank"), "first"),
    (("sets", 0, "rankings", 0, "base", "top", 0, "value"), [1]),
    (("sets", 0, "rankings", 0, "tuned", "spearman"), "high"),
    (("sets", 0, "classes"), []),
    (("sets", 0, "classes", "asked"), "many"),
    (("sets", 0, "classes", "lost"), True),
    (("sets", 0, "pairs"), [1]),
    (("sets", 0, "pairs", "size", "won_examples", 0, "first"), 1),
    (("sets", 0, "pairs", "size", "won_examples", 0, "later"), 1),
    (("schema",), 2),
    (("schema",), [1]),
]


@pytest.mark.parametrize(("path", "value"), DAMAGES, ids=range(len(DAMAGES)))
def test_exhibits_that_were_edited_are_told_with_the_remedy(run: Path, tmp_path: Path, path, value):
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    file = copied / "exhibits" / "exhibits.json"
    record = json.loads(file.read_text())
    del record["sha256"]
    at = record
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    for stored in (record, seal(record)):
        file.write_text(json.dumps(stored))
        with pytest.raises(PcclipError, match=r"exhibits\.json: no exhibits of a run .* Delete"):
            read_exhibits(copied)


def test_exhibits_that_were_cut_off_or_lack_a_field_are_told_with_the_remedy(run: Path, tmp_path: Path):
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    file = copied / "exhibits" / "exhibits.json"
    whole = file.read_bytes()
    record = json.loads(whole)
    cuts = [whole[: len(whole) * tenth // 10] for tenth in range(10)]
    lacking = [
        json.dumps(seal({"schema": 1, "sets": [{k: v for k, v in record["sets"][0].items() if k != name}]}))
        for name in record["sets"][0]
    ]
    for damaged in [*cuts, *(one.encode() for one in lacking), b"[]", b"null", b"[" * 100_000]:
        file.write_bytes(damaged)
        with pytest.raises(PcclipError, match=r"exhibits\.json: no exhibits of a run .* Delete"):
            read_exhibits(copied)


def test_thumbnails_and_vectors_are_compared_with_what_was_written(run: Path, tmp_path: Path):
    assert check_exhibits(run) == 1
    for number, name in enumerate(("pictures/*.jpg", "*.npz")):
        copied = tmp_path / f"run{number}"
        shutil.copytree(run, copied)
        file = next((copied / "exhibits").glob(name))
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        with pytest.raises(PcclipError, match=r"exhibits are damaged .* Delete it"):
            check_exhibits(copied)
