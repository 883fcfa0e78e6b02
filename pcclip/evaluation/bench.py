"""Models on evaluation sets: sets are read, and their pictures embedded, once for all protocols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pcclip.crew import Job
from pcclip.data.progress import progress_bar
from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.features import FeatureCache, PictureBatches
from pcclip.evaluation.encoding.models import Model, TextOrder
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject, evaluate
from pcclip.evaluation.sets import EvaluationSet, SetSource
from pcclip.evaluation.sources.prepared import Prepared


@dataclass
class Evaluation:
    """Protocols on one set.

    Attributes:
        data: folder made by `pcclip prepare`, or a source of `pcclip.evaluation.sources`.
        protocols: what is measured.
        every_n_validations: cadence during a fit; step 0 and the end are always measured.
        split: the split that is reported.
        validation: the split that is measured during a fit, and by which an interpolation is chosen.
    """

    data: str | SetSource
    protocols: list[EvaluationProtocol]
    every_n_validations: int = 1
    split: str = "test"
    validation: str = "validation"

    def source(self) -> SetSource:
        """Where the set comes from."""
        if isinstance(self.data, SetSource):
            return self.data
        # A split may lack classes: combinations that it holds out, or a sample.
        return Prepared(self.data, allow_empty_classes=True)


@dataclass(frozen=True)
class PictureOrder:
    """What the other processes of a crew are told of pictures that are to be embedded.

    Attributes:
        model: Name of the model.
        source: Of the set.
        split: Of the set.
        fingerprint: Of the split's pictures.
        batches: How they are cut.
    """

    model: Any
    source: SetSource
    split: str
    fingerprint: str
    batches: PictureBatches


class Bench:
    """Evaluation sets by source and split, and models on them.

    Args:
        cache: Of image embeddings.
    """

    def __init__(self, cache: FeatureCache) -> None:
        self._cache = cache
        self._sets: dict[str, dict[str, EvaluationSet]] = {}

    def data(self, source: SetSource, split: str) -> EvaluationSet:
        """The split of the set, read once.

        Raises:
            PcclipError: As `SetSource.load`.
        """
        splits = self._splits(source)
        if split not in splits:
            splits[split] = source.load(split)
        return splits[split]

    def read(self, source: SetSource) -> dict[str, EvaluationSet]:
        """The splits of a set that were read so far, by name."""
        return dict(self._splits(source))

    def _splits(self, source: SetSource) -> dict[str, EvaluationSet]:
        return self._sets.setdefault(f"{type(source).__qualname__}{vars(source)!r}", {})

    def subject(self, source: SetSource, split: str, model: Model, base: Model | None = None) -> Subject:
        """A model on a split.

        Args:
            source: Of the set.
            split: Of the set.
            model: The model.
            base: What it was before its finetuning; None where this is that.
        """
        data = self.data(source, split)

        def order(batches: PictureBatches) -> PictureOrder:
            return PictureOrder(model.name, source, split, data.fingerprint(), batches)

        return Subject(
            model.encoders,
            data,
            self._cache.get(
                data,
                model.encoders.encode_images,
                model.preprocess,
                model.image_fingerprint,
                model.crew,
                order,
            ),
            lambda other: self.subject(source, other, model, base),
            None if base is None else lambda: self.subject(source, split, base),
        )

    def job(self, order: PictureOrder | TextOrder, model: Model) -> Job[Any]:
        """The job that an order of the crew's first process is about.

        Args:
            order: Says which.
            model: That it names.

        Raises:
            PcclipError: The set cannot be read here, or has other pictures here.
        """
        if isinstance(order, TextOrder):
            return model.encoders.job(order.batches)
        data = self.data(order.source, order.split)
        if data.fingerprint() != order.fingerprint:
            raise PcclipError(
                f"{data.path}: the pictures of split {order.split!r} are not those that the first process "
                "has. Give all machines the same files."
            )
        return self._cache.job(data, model.encoders.encode_images, model.preprocess, order.batches)

    def measure(self, evaluation: Evaluation, split: str, model: Model, base: Model | None = None) -> Results:
        """All protocols of an evaluation on one split.

        Args:
            evaluation: What is measured.
            split: Of its set.
            model: The model.
            base: As in `subject`.
        """
        subject = self.subject(evaluation.source(), split, model, base)
        with progress_bar(transient=True) as bar:
            task = bar.add_task(f"evaluating {subject.data.evaluated}", total=len(evaluation.protocols))
            return evaluate(evaluation.protocols, subject, lambda: bar.advance(task))
