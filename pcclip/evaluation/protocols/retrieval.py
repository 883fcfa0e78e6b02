"""Retrieval: which caption belongs to a picture, and which picture to a caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject
from pcclip.evaluation.protocols.places import Items, Places, median_rank, places_in_blocks
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Indices, Observations, Parts, Statistic


@dataclass(frozen=True)
class Retrieval(EvaluationProtocol):
    """Image-to-text and text-to-image retrieval over all pictures and captions of the set.

    `image_to_text_recall_at_K` is the share of pictures with any of their captions among the K closest
    captions; `text_to_image_recall_at_K` the share of captions whose picture is among the K closest pictures
    (the definitions of CLIP_benchmark's `zeroshot_retrieval`). `..._median_rank` is the median rank of the
    first right one, from 1. Captions, or pictures, that are equally close come in a fair order: a recall is
    then the chance to be among the first K. CLIP_benchmark takes them in an order that nothing tells
    beforehand, so that the two agree where none is "decided by the order of ties" (`notes`).

    Metrics, S being the set's name: `retrieval/S/SCORE`. Intervals resample pictures, each with its captions.

    Attributes:
        recall_at: K; those that are not below the number of candidates are left out.
        same_text: What a caption that several pictures have means. `distinct`, as published: each occurrence
            is right for its own picture only, so that pictures with the same captions limit each other.
            `shared`: the text is one candidate, and right for all pictures that have it.
    """

    name: ClassVar[str] = "retrieval"

    recall_at: tuple[int, ...] = (1, 5, 10)
    same_text: Literal["distinct", "shared"] = "distinct"

    def run(self, subject: Subject) -> Results:
        """Retrieves every caption and every picture.

        Raises:
            PcclipError: A picture has no caption.
        """
        data = subject.data
        _check(data)
        texts = list(dict.fromkeys(text for own in data.captions for text in own))
        numbers = {text: number for number, text in enumerate(texts)}
        text = np.array([numbers[one] for own in data.captions for one in own], np.int64)
        picture = np.repeat(np.arange(len(data)), [len(own) for own in data.captions])
        pictures, rows = Items.distinct(subject.features), Items.distinct(subject.encoders.texts(texts))
        find = _shared if self.same_text == "shared" else _distinct
        found = dict(
            zip(("image_to_text", "text_to_image"), find(pictures, rows, picture, text), strict=True)
        )
        candidates = {
            "image_to_text": len(texts) if self.same_text == "shared" else len(text),
            "text_to_image": len(data),
        }
        units = {"image_to_text": np.arange(len(data)), "text_to_image": picture}
        groups: dict[str, Observations] = {}
        metrics: dict[str, Parts] = {}
        medians: dict[str, Statistic] = {}
        for name, places in found.items():
            group = f"{self.name} {name}"
            ks = [k for k in self.recall_at if k < candidates[name]]
            recalls = {f"recall_at_{k}": places.recall(k) for k in ks}
            if recalls:
                groups[group] = Observations(units[name], None, recalls)
            metrics |= {f"retrieval/{data.name}/{name}_{score}": ((group, score),) for score in recalls}
            medians[f"retrieval/{data.name}/{name}_median_rank"] = median_rank(
                places.ranks(), units[name], None, len(data)
            )
        undecided = {
            f"{group.removeprefix('retrieval ')}_{score}": int(
                np.count_nonzero((chances > 0) & (chances < 1))
            )
            for group, seen in groups.items()
            for score, chances in seen.scores.items()
        }
        notes = {
            "captions": len(text),
            "distinct captions": len(texts),
            "same_text": self.same_text,
            "decided by the order of ties": undecided,
        }
        return Results(
            data.evaluated, len(data), groups, metrics, statistics=medians, notes={self.name: notes}
        )


def _check(data: EvaluationSet) -> None:
    if not any(data.captions):
        raise PcclipError(
            f"{data.path}: its pictures have no captions, so retrieval does not apply to it. "
            "Leave this evaluation out."
        )
    for key, own in zip(data.keys, data.captions, strict=True):
        if not own:
            raise PcclipError(
                f"{data.path}: picture {key!r} of split {data.split!r} has no caption. "
                "Give it one, or take it out of the split."
            )


def _distinct(pictures: Items, texts: Items, picture: Indices, text: Indices) -> Sequence[Places]:
    """Places of the captions for each picture, and of the picture for each caption."""
    everything, occurrences = np.arange(len(picture)), texts[text]
    return (
        places_in_blocks(pictures, occurrences, picture, everything),
        places_in_blocks(occurrences, pictures, everything, picture),
    )


def _shared(pictures: Items, texts: Items, picture: Indices, text: Indices) -> Sequence[Places]:
    """The same where a text is one candidate, and right for all pictures that have it."""
    by_picture = np.unique(np.stack([picture, text]), axis=1)
    by_text = np.unique(np.stack([text, picture]), axis=1)
    return (
        places_in_blocks(pictures, texts, *by_picture),
        places_in_blocks(texts, pictures, *by_text)[text],
    )
