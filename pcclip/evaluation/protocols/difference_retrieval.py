"""Difference retrieval: from a picture and a difference to the other, from two pictures to the text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import CachedEncoders, unit
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject
from pcclip.evaluation.protocols.difference_cases import (
    QuestionCases,
    draw_pictures,
    question_cases,
    triple_cases,
)
from pcclip.evaluation.protocols.difference_tasks import (
    Found,
    Gallery,
    PictureSearch,
    TextSearch,
    fitting_pictures,
    phrase_differences,
)
from pcclip.evaluation.protocols.found_tables import UNSEEN, FoundTable
from pcclip.evaluation.protocols.places import Items
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Doubles, Floats, Indices

Strengths = dict[str, float]


@dataclass(frozen=True)
class DifferenceRetrieval(EvaluationProtocol):
    """Retrieves by a text t that says how picture 1 differs from picture 2.

    `to-picture`: picture 2 is looked for among N pictures (picture 1 left out) by the query
    g(picture 1) - lambda * f(t). Many pictures differ from picture 1 as t says, so that beside the recall of
    the one there is `precision_at_K`: the share of the first K for which t is true (by attribute and
    margin). `to-text`: the texts of all pairs, each once, are ranked by cos(f(t), g(picture 1) - g(picture
    2)); a text is right if it says what the pair's own says, in whatever words, and counts for
    `precision_at_K` if it is true, whatever it speaks of.

    Methods, side by side: `text`; `text_difference` (training-free), with f(phrase of 1) - f(phrase of 2)
    instead of f(t); `nearest`, with lambda 0; `chance`, a random order. Scores: `recall_at_K`,
    `precision_at_K`, `median_rank` (from 1). What ties comes in a fair order.

    Metrics, S being the set's name: `difference_retrieval/S-to-picture/METHOD_SCORE` and `S-to-text` as means
    over questions; `S-to-picture-ATTRIBUTE/METHOD_precision_at_K` (and to-text) with the largest K for one
    question; with `-unseen` after those, `text` in held-out wordings. With triples: `S-triples-to-picture`
    and `S-triples-to-text`, where no attributes are known and a text is right if it equals the pair's own.

    Attributes:
        pairs: Pairs per question; all, where there are fewer.
        candidates: N, pictures of which pairs are made and among which is searched.
        recall_at: K; those that are not below the number of candidates are left out.
        lambdas: Strengths to choose from, by the median rank with the seen wordings, for each method apart.
        chosen_on: Split on which they are chosen; not needed where there is one.
        triples: Folders of triple shards by the split whose pictures they are of; a split that is not named
            is measured without.
        triple_pairs: Triples that are taken; their pictures are the candidates.
        seed: Of all draws, which depend on it and on the pictures' keys, not on their order.
    """

    name: ClassVar[str] = "difference_retrieval"

    pairs: int = 500
    candidates: int = 1000
    recall_at: tuple[int, ...] = (1, 5, 10)
    lambdas: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
    chosen_on: str = "validation"
    triples: dict[str, str] = field(default_factory=dict)
    triple_pairs: int = 1000
    seed: int = 0

    def run(self, subject: Subject) -> Results:
        """Retrieves pictures and texts.

        Raises:
            PcclipError: The set has neither questions nor triples, or there is nothing to choose lambda on.
        """
        data = subject.data
        if not data.questions and data.split not in self.triples:
            raise PcclipError(
                f"{data.path}: has no 'questions', and 'triples' names none of split {data.split!r}, so "
                "difference retrieval does not apply to it. Give one of them, or leave this evaluation out."
            )
        strengths, curve = self._choose(subject)
        tables: list[FoundTable] = []
        notes: dict[str, Any] = {"lambda": strengths, "chosen on": self.chosen_on, "median ranks": curve}
        if data.questions:
            tables += self._by_questions(subject, strengths)
        if data.split in self.triples:
            found, absent = self._by_triples(subject, strengths["text"])
            tables += found
            notes["triples left out, a picture being absent"] = absent
        whole = Results(data.evaluated, len(data), {}, {}, notes={self.name: notes})
        for table in tables:
            whole = whole.merged(table.results(data))
        return whole

    def _cases(self, data: EvaluationSet) -> tuple[Indices, list[QuestionCases]]:
        pictures = draw_pictures(data, self.candidates, self.seed)
        return pictures, [
            question_cases(data, one, pictures, self.pairs, self.seed) for one in data.questions
        ]

    def _table(self, task: str) -> FoundTable:
        return FoundTable(self.name, task, "_precision_at_")

    def _ks(self, candidates: int) -> list[int]:
        return [k for k in self.recall_at if k < candidates]

    def _choose(self, subject: Subject) -> tuple[Strengths, dict[str, dict[str, float]]]:
        """Lambda by method, and the median rank of each that was tried."""
        methods = ("text", "text_difference")
        if len(self.lambdas) == 1:
            return dict.fromkeys(methods, self.lambdas[0]), {}
        there = subject.split(self.chosen_on) if subject.data.questions else subject
        if not there.data.questions:
            raise PcclipError(
                f"{there.data.path}: has no 'questions' to choose one of {len(self.lambdas)} lambdas on. "
                "Give a single one."
            )
        pictures, cases = self._cases(there.data)
        gallery = Gallery.of(pictures, there.features)
        ranks: dict[tuple[str, float], list[Doubles]] = {}
        for one in cases:
            search = PictureSearch.of(gallery, there.features, one.first, one.second, None)
            texts = _texts(one, there.encoders)
            for method in methods:
                likeness = search.likeness(texts[method] if method in texts else texts[method + UNSEEN])
                for strength in self.lambdas:
                    found = search.find(likeness, strength, ()).places.ranks()
                    ranks.setdefault((method, strength), []).append(found)
        medians = {case: float(np.median(np.concatenate(found))) for case, found in ranks.items()}
        curve = {method: {str(s): m for (of, s), m in medians.items() if of == method} for method in methods}
        chosen = {
            method: min((median, s) for (of, s), median in medians.items() if of == method)[1]
            for method in methods
        }
        return chosen, curve

    def _by_questions(self, subject: Subject, strengths: Strengths) -> list[FoundTable]:
        pictures, cases = self._cases(subject.data)
        gallery = Gallery.of(pictures, subject.features)
        searches = {held_out: TextSearch.of(cases, held_out) for held_out in (False, True)}
        to_picture, to_text = self._table("to-picture"), self._table("to-text")
        ks = self._ks(len(pictures) - 1)
        for one in cases:
            fits = fitting_pictures(one, pictures)
            search = PictureSearch.of(gallery, subject.features, one.first, one.second, fits)
            found = {
                "nearest": search.find(np.zeros_like(search.nearness), 0.0, ks),
                "chance": search.chance(ks),
            }
            for method, rows in _texts(one, subject.encoders).items():
                strength = strengths[method.removesuffix(UNSEEN)]
                found[method] = search.find(search.likeness(rows), strength, ks)
            to_picture.add(one.question.attribute, one.first, one.second, found, ks)
            found = {}
            for held_out, texts in searches.items():
                if one.texts[held_out]:
                    for method, what in texts.find(
                        one, subject.features, subject.encoders, self._ks(len(texts.texts))
                    ).items():
                        if not held_out or method == "text":
                            found[method + UNSEEN * held_out] = what
            to_text.add(
                one.question.attribute, one.first, one.second, found, self._ks(len(searches[False].texts))
            )
        return [to_picture, to_text]

    def _by_triples(self, subject: Subject, strength: float) -> tuple[list[FoundTable], int]:
        data, features = subject.data, subject.features
        cases = triple_cases(data, self.triples[data.split], self.triple_pairs, self.seed)
        gallery = Gallery.of(np.unique(np.concatenate([cases.first, cases.second])), features)
        search = PictureSearch.of(gallery, features, cases.first, cases.second, None)
        ks = self._ks(len(gallery.pictures) - 1)
        likeness = search.likeness(subject.encoders.texts(cases.texts))
        found = {
            "text": search.find(likeness, strength, ks),
            "nearest": search.find(likeness, 0.0, ks),
            "chance": search.chance(ks),
        }
        to_picture, to_text = self._table("triples-to-picture"), self._table("triples-to-text")
        to_picture.add("", cases.first, cases.second, found, ks)
        texts, own = np.unique(cases.texts, return_inverse=True)
        everything, ks = np.arange(len(own)), self._ks(len(texts))
        rows = Items.distinct(subject.encoders.texts(texts.tolist()))
        scores = rows.scores(unit(features[cases.first] - features[cases.second]))
        found = {
            "text": Found.by_scores(scores, everything, own.reshape(-1), None, ks),
            "chance": Found.by_chance(len(texts), np.ones_like(everything), None, ks),
        }
        to_text.add("", cases.first, cases.second, found, ks)
        return [to_picture, to_text], cases.absent


def _texts(cases: QuestionCases, encoders: CachedEncoders) -> dict[str, Floats]:
    """(P, D) what is taken off the first picture, by method."""
    rows = {"text_difference": phrase_differences(cases.claims, encoders)[cases.claim]}
    for held_out, texts in cases.texts.items():
        if texts:
            rows["text" + UNSEEN * held_out] = encoders.texts(texts)
    return rows
