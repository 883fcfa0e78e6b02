"""The two ways of retrieving by a difference: the other picture, and the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pcclip.evaluation.encoding.encoders import CachedEncoders, unit
from pcclip.evaluation.protocols.difference_cases import Claim, QuestionCases, Truth
from pcclip.evaluation.protocols.places import Items, Places, places, precision
from pcclip.evaluation.statistics import Doubles, Floats, Indices


@dataclass(frozen=True)
class Found:
    """What one method found for P pairs.

    Attributes:
        places: Of the right item.
        precision: (P,) share of the first K that fit the description, by K; empty where that is not known.
    """

    places: Places
    precision: dict[int, Floats]

    def columns(self, method: str, ks: Sequence[int]) -> dict[str, Floats]:
        """The scores by name."""
        recalls = {f"{method}_recall_at_{k}": self.places.recall(k) for k in ks}
        return recalls | {f"{method}_precision_at_{k}": share for k, share in self.precision.items()}

    @classmethod
    def by_scores(
        cls, scores: Floats, query: Indices, item: Indices, fits: Truth | None, ks: Sequence[int]
    ) -> Found:
        """By a matrix of scores (P, I), and whether an item fits (P, I)."""
        shares = {} if fits is None else {k: precision(scores, fits, k) for k in ks}
        return cls(places(scores, query, item), shares)

    @classmethod
    def by_chance(cls, candidates: int, right: Indices, fits: Truth | None, ks: Sequence[int]) -> Found:
        """In a random order of so many candidates, of which `right` (P,) are right."""
        every = Places(np.zeros_like(right), np.full_like(right, candidates), right)
        shares = {} if fits is None else dict.fromkeys(
            ks, (np.count_nonzero(fits, axis=1) / candidates).astype(np.float32)
        )  # fmt: skip
        return cls(every, shares)


@dataclass(frozen=True)
class Gallery:
    """The pictures among which the other one is looked for.

    Attributes:
        pictures: (G,) index in the set.
        items: Their embeddings.
    """

    pictures: Indices
    items: Items

    @classmethod
    def of(cls, pictures: Indices, features: Floats) -> Gallery:
        """Some pictures of a set, by the embeddings of all."""
        return cls(pictures, Items.distinct(features[pictures]))

    def positions(self, pictures: Indices) -> Indices:
        """Where pictures of the gallery lie in it."""
        order = np.argsort(self.pictures)
        return order[np.searchsorted(self.pictures, pictures, sorter=order)]


@dataclass(frozen=True)
class PictureSearch:
    """Looks for other pictures by P queries g(picture) - strength * text, that picture being no candidate.

    Attributes:
        gallery: G candidates, among them the queries' pictures.
        nearness: (P, G) closeness of each candidate to the query's picture; -inf for that itself.
        query: (R,) query of each right candidate, ascending; every query has one.
        item: (R,) place of the right candidate in the gallery.
        fits: (P, G) whether a candidate differs from the first picture as the text says; None if not known.
    """

    gallery: Gallery
    nearness: Floats
    query: Indices
    item: Indices
    fits: Truth | None

    @classmethod
    def of(
        cls, gallery: Gallery, features: Floats, first: Indices, second: Indices, fits: Truth | None
    ) -> PictureSearch:
        """For pairs of pictures, from the first to the second, by the embeddings of the set's pictures."""
        places = gallery.positions(second)
        return cls(gallery, _nearness(gallery, features, first), np.arange(len(first)), places, fits)

    @classmethod
    def for_any(cls, gallery: Gallery, features: Floats, first: Indices, right: Truth) -> PictureSearch:
        """For pictures (P,) and which candidates (P, G) are right, at least one for each."""
        query, item = np.nonzero(right)
        return cls(gallery, _nearness(gallery, features, first), query, item, None)

    def likeness(self, texts_PD: Floats) -> Floats:
        """(P, G) closeness of each candidate to the text of each pair, which its strength then multiplies."""
        return self.gallery.items.scores(texts_PD)

    def find(self, likeness: Floats, strength: float, ks: Sequence[int]) -> Found:
        """By `likeness` with a strength (lambda); the length of the query changes no order."""
        return self._found(self.nearness - np.float32(strength) * likeness, ks)

    def find_alone(self, likeness: Floats, ks: Sequence[int]) -> Found:
        """By `likeness` without regard to the query's picture, which is still no candidate."""
        return self._found(np.where(np.isneginf(self.nearness), self.nearness, likeness), ks)

    def chance(self, ks: Sequence[int]) -> Found:
        """In a random order."""
        right = np.bincount(self.query, minlength=len(self.nearness))
        return Found.by_chance(len(self.gallery.pictures) - 1, right, self.fits, ks)

    def _found(self, scores: Floats, ks: Sequence[int]) -> Found:
        return Found.by_scores(scores, self.query, self.item, self.fits, ks)


def _nearness(gallery: Gallery, features: Floats, first: Indices) -> Floats:
    nearness = gallery.items.scores(features[first])
    nearness[np.arange(len(first)), gallery.positions(first)] = -np.inf
    return nearness


def fitting_pictures(cases: QuestionCases, pictures: Indices) -> Truth:
    """(P, G) whether each picture differs from a pair's first one as the pair's text says."""
    fits = np.empty((len(cases.first), len(pictures)), np.bool_)
    for number, claim in enumerate(cases.claims):
        rows = cases.claim == number
        fits[rows] = claim.holds(cases.values[cases.first[rows], None], cases.values[pictures])
    return fits


@dataclass(frozen=True)
class TextSearch:
    """Looks for a true text among the texts of all pairs of all questions.

    A text is right for a pair if it makes the pair's own claim, in whatever words: pictures cannot tell the
    wording. It is true if its claim holds of the pair, whatever it speaks of.

    Attributes:
        texts: T candidates, each once.
        claims: C claims of all questions.
        makes: (T, C) whether a text makes a claim.
        values: The attribute of all pictures, by attribute.
    """

    texts: tuple[str, ...]
    claims: tuple[Claim, ...]
    makes: Truth
    values: Mapping[str, Doubles]

    @classmethod
    def of(cls, cases: Sequence[QuestionCases], held_out: bool) -> TextSearch:
        """Over the pairs' texts in the seen, or in the held-out wordings."""
        claims = tuple(claim for one in cases for claim in one.claims)
        starts = np.cumsum([0] + [len(one.claims) for one in cases])
        said = [
            (text, start + claim)
            for one, start in zip(cases, starts, strict=False)
            for text, claim in zip(one.texts[held_out], one.claim, strict=False)
        ]
        texts = sorted({text for text, _ in said})
        numbers = {text: number for number, text in enumerate(texts)}
        makes = np.zeros((len(texts), len(claims)), np.bool_)
        for text, claim in said:
            makes[numbers[text], claim] = True
        values = {one.question.attribute: one.values for one in cases}
        return cls(tuple(texts), claims, makes, values)

    def find(
        self, cases: QuestionCases, features: Floats, encoders: CachedEncoders, ks: Sequence[int]
    ) -> dict[str, Found]:
        """By the texts, by the differences of the phrases in their place, and by chance."""
        direction = unit(features[cases.first] - features[cases.second])
        start = next(number for number, claim in enumerate(self.claims) if claim.question is cases.question)
        own = self.makes.T[start + cases.claim]
        values = [self.values[claim.question.attribute] for claim in self.claims]
        holds = np.stack([
            claim.holds(of[cases.first], of[cases.second])
            for claim, of in zip(self.claims, values, strict=True)
        ], axis=1)  # fmt: skip
        fits = holds.astype(np.float32) @ self.makes.T.astype(np.float32) > 0
        query, item = np.nonzero(own)
        differences = phrase_differences(self.claims, encoders)[self.makes.argmax(axis=1)]
        rows = {"text": encoders.texts(self.texts), "text_difference": differences}
        found = {
            method: Found.by_scores(Items.distinct(vectors).scores(direction), query, item, fits, ks)
            for method, vectors in rows.items()
        }
        right = np.count_nonzero(own, axis=1)
        return found | {"chance": Found.by_chance(len(self.texts), right, fits, ks)}


def phrase_differences(claims: Sequence[Claim], encoders: CachedEncoders) -> Floats:
    """(C, D) unit difference of the phrases for the first and for the second picture: training-free."""
    first, second = zip(*(claim.phrases() for claim in claims), strict=True)
    return unit(encoders.texts(first) - encoders.texts(second))
