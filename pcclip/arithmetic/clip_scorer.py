"""Pictures measured by a CLIP that has no part in drawing them: CLIPScore, attribute and class apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pcclip.arithmetic.cases import Case
from pcclip.arithmetic.scorers import PictureScorer, Scores
from pcclip.errors import PcclipError

if TYPE_CHECKING:
    from torch import Tensor

    from pcclip.arithmetic.clip_models import ScorerModel
    from pcclip.model.towers import Towers


@dataclass
class ClipScorer(PictureScorer):
    """Scores by a CLIP.

    - `clip_score`: CLIPScore (Hessel et al. 2021) by torchmetrics of picture and `target` (subject and
      attribute in words), as a fraction: max(cosine, 0). torchmetrics itself says 100 times that, Hessel et
      al. 2.5 times; the paper's 0.532 and 0.542 (second hand) would fit the latter.
    - `attribute_gained`: 1 where the picture prefers `target` over the plain prompt by more than the picture
      without change does; the plain prompt is subtracted so that losing the subject is no gain.
    - `attribute_over_opposite`: 1 where `target` fits better than `against`.
    - `class_kept`: 1 where the subject's plain prompt fits better than those of all other subjects.
    - `attribute_and_class`: 1 where the attribute is gained and the class kept.

    Attributes:
        model: folder in transformers' or open_clip's format, hub tag ORG/NAME in transformers' format, or
            name of open_clip's.
        pretrained: open_clip's pretrained tag; null for folders and hubs.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`.
        allow_same_tower: also score with a model that is one of the towers that draw.
    """

    model: str
    pretrained: str | None = None
    device: str = "auto"
    allow_same_tower: bool = False

    @cached_property
    def _loaded(self) -> ScorerModel:
        from pcclip.arithmetic.clip_models import load_scorer_model  # torch, transformers, open_clip

        return load_scorer_model(self.model, self.pretrained)

    def check(self, towers: Mapping[str, Towers]) -> None:
        """Refuses a tower whose texts are this model's.

        Raises:
            PcclipError: One of them is; both are named.
        """
        for name, tower in towers.items():
            if not self.allow_same_tower and self._loaded.is_tower(tower):
                raise PcclipError(
                    f"the scorer {self.model!r} reads texts as the {name} tower does, so it would judge "
                    "pictures by what drew them. Name another model, or set allow_same_tower: true."
                )

    def score(
        self,
        pictures: Sequence[Image.Image],
        cases: Sequence[Case],
        base_pictures: Sequence[Image.Image] | None,
    ) -> dict[str, Scores]:
        """See the class; subjects are told apart among those of `cases`."""
        subjects = {case.subject: case.base for case in cases}
        places = {subject: place for place, subject in enumerate(subjects)}
        with self._loaded.on(self.device):
            plain = self._loaded.texts(list(subjects.values()))
            rows = [
                self._one(picture, case, None if base_pictures is None else base_pictures[at], plain, places)
                for at, (picture, case) in enumerate(zip(pictures, cases, strict=True))
            ]
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}

    def _one(
        self,
        picture: Image.Image,
        case: Case,
        base_picture: Image.Image | None,
        plain: Scores,
        places: Mapping[str, int],
    ) -> dict[str, float]:
        pixels = _pixels(picture)
        image = self._loaded.image(pixels)
        target, own = self._loaded.texts([case.target])[0], plain[places[case.subject]]
        against = None if case.against is None else self._loaded.texts([case.against])[0]
        kept = float(np.argmax(plain @ image) == places[case.subject])
        gained = float("nan")
        if base_picture is not None:
            before = self._loaded.image(_pixels(base_picture))
            gained = float((target - own) @ image > (target - own) @ before)
        return {
            "clip_score": self._clip_score(pixels, case.target),
            "attribute_gained": gained,
            "attribute_over_opposite": float("nan")
            if against is None
            else float(target @ image > against @ image),
            "class_kept": kept,
            "attribute_and_class": gained * kept,
        }

    def _clip_score(self, pixels: Tensor, text: str) -> float:
        from torchmetrics.functional.multimodal import clip_score

        loaded = self._loaded
        score = clip_score(
            pixels.to(loaded.device), text, model_name_or_path=lambda: (loaded.model, loaded.processor)
        )
        return float(score) / 100


def _pixels(picture: Image.Image) -> Tensor:
    """(3, H, W) bytes, as torchmetrics takes a picture."""
    import torch

    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
