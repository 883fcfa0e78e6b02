"""CLIP models as torchmetrics takes them, from transformers or open_clip, for scoring pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pcclip.errors import PcclipError
from pcclip.evaluation.statistics import Floats
from pcclip.model.fingerprints import PROBES
from pcclip.model.towers import Towers, load_towers

_SAME = 0.999
"""Cosine of two models' texts from which on they count as one: the base, or hardly tuned from it."""

Processor = Callable[..., dict[str, Tensor]]


class Remembering(nn.Module):
    """A model with torchmetrics' two functions that does not encode the same text or picture twice.

    Args:
        images: Pixels (B, 3, H, W) to embeddings (B, D).
        texts: Token ids and attention mask (B, L) to embeddings (B, D).
        model: What computes them, so that it moves along.
    """

    def __init__(
        self, images: Callable[[Tensor], Tensor], texts: Callable[[Tensor, Tensor], Tensor], model: nn.Module
    ) -> None:
        """See the class."""
        super().__init__()
        self.config = (
            SimpleNamespace()
        )  # torchmetrics asks it for the longest text; ours cut texts themselves
        self._model = model
        self._images, self._texts = images, texts
        self._known: dict[bytes, Tensor] = {}

    @torch.no_grad()
    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """Embeddings (B, D) of pixels."""
        return self._rows(pixel_values, lambda row: self._images(pixel_values[row : row + 1]))

    @torch.no_grad()
    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embeddings (B, D) of tokens."""
        return self._rows(
            input_ids, lambda row: self._texts(input_ids[row : row + 1], attention_mask[row : row + 1])
        )

    def _rows(self, inputs: Tensor, encode: Callable[[int], Tensor]) -> Tensor:
        found = []
        for row, one in enumerate(inputs):
            key = _digest(one)
            if key not in self._known:
                self._known[key] = encode(row)[0].float().cpu()
            found.append(self._known[key])
        return torch.stack(found).to(inputs.device)


class ScorerModel:
    """A model and its processor.

    Args:
        model: For torchmetrics.
        processor: For torchmetrics: `images=` or `text=` to tensors.

    Attributes:
        device: Where the model is.
    """

    def __init__(self, model: Remembering, processor: Processor) -> None:
        """See the class."""
        self.model, self.processor, self.device = model.eval(), processor, "cpu"
        self._seen: dict[bytes, Floats] = {}

    @contextmanager
    def on(self, device: str) -> Iterator[None]:
        """On a device for a while, which others need before and after; then back on the CPU."""
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = device
        self.model.to(device)
        try:
            yield
        finally:
            self.device = "cpu"
            self.model.to("cpu")

    def image(self, picture: Tensor) -> Floats:
        """Unit embedding (D,) of a picture (3, H, W) of bytes."""
        key = _digest(picture)
        if key not in self._seen:
            pixels = self.processor(images=[picture], return_tensors="pt", padding=True)["pixel_values"]
            self._seen[key] = _unit(self.model.get_image_features(pixels.to(self.device)))[0]
        return self._seen[key]

    def texts(self, texts: Sequence[str]) -> Floats:
        """Unit embeddings (N, D)."""
        found = [self.processor(text=[text], return_tensors="pt", padding=True) for text in texts]
        rows = [
            self.model.get_text_features(
                one["input_ids"].to(self.device), one["attention_mask"].to(self.device)
            )
            for one in found
        ]
        return _unit(torch.cat(rows))

    def is_tower(self, towers: Towers) -> bool:
        """Whether its text tower is that of `towers`, in whatever format, or hardly differs from it."""
        from pcclip.evaluation.encoding.encoders import TowerEncoders

        probes = [text for text in PROBES if text and len(text) < 100]
        device = next(towers.parameters()).device
        theirs = TowerEncoders(towers, device).encode_texts(probes).numpy()
        ours = self.texts(probes)
        return ours.shape == theirs.shape and bool(((ours * theirs).sum(axis=1) > _SAME).all())


def load_scorer_model(name: str, pretrained: str | None) -> ScorerModel:
    """Loads a CLIP, on the CPU.

    Args:
        name: Folder in transformers' or open_clip's format; a hub tag ORG/NAME in transformers' format; or a
            name of open_clip's (`hf-hub:ORG/NAME`, or a tag with `pretrained`).
        pretrained: open_clip's pretrained tag, or a checkpoint file.

    Raises:
        PcclipError: It cannot be loaded, or is no CLIP.
    """
    folder = Path(name)
    if (folder / "open_clip_config.json").is_file():
        return _of_open_clip(load_towers(f"local-dir:{name}", pretrained))
    if folder.is_dir() or (pretrained is None and "/" in name and ":" not in name):
        return _of_transformers(name)
    return _of_open_clip(load_towers(name, pretrained))


def _of_transformers(name: str) -> ScorerModel:
    from transformers import AutoConfig, CLIPModel, CLIPProcessor

    try:
        kind = AutoConfig.from_pretrained(name, trust_remote_code=False).model_type
        if kind != "clip":
            raise PcclipError(f"{name}: is a model of type {kind!r}; scoring needs one of type 'clip'")
        clip = CLIPModel.from_pretrained(name, dtype=torch.float32)
        processor = CLIPProcessor.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise PcclipError(
            f"{name}: cannot be loaded as a CLIP of transformers ({str(error).splitlines()[0]}). Give a hub "
            "tag ORG/NAME, a folder with config.json, weights, tokenizer and preprocessor_config.json, or a "
            "folder or tag of open_clip."
        ) from error
    longest = clip.config.text_config.max_position_embeddings

    def process(**given: Any) -> Any:
        more = {"truncation": True, "max_length": longest} if "text" in given else {}
        return processor(**given, **more)

    model = Remembering(
        lambda pixels: _tensor(clip.get_image_features(pixel_values=pixels)),
        lambda ids, mask: _tensor(clip.get_text_features(input_ids=ids, attention_mask=mask)),
        clip,
    )
    return ScorerModel(model, process)


def _of_open_clip(towers: Towers) -> ScorerModel:
    from torchvision.transforms.functional import to_pil_image

    def process(text: list[str] | None = None, images: Any = None, **_: Any) -> dict[str, Tensor]:
        if text is not None:
            ids = towers.tokenizer(text)
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        return {"pixel_values": torch.stack([towers.preprocess(to_pil_image(one)) for one in images])}

    model = Remembering(towers.encode_images, lambda ids, mask: towers.encode_texts(ids), towers)
    return ScorerModel(model, process)


def _tensor(output: Any) -> Tensor:
    """The features, which newer versions of transformers wrap."""
    return output if isinstance(output, Tensor) else output.pooler_output


def _unit(rows: Tensor) -> Floats:
    return torch.nn.functional.normalize(rows, dim=-1).cpu().numpy().astype(np.float32)


def _digest(tensor: Tensor) -> bytes:
    content = np.ascontiguousarray(tensor.cpu().numpy())
    return hashlib.blake2b(content.tobytes() + repr(content.shape).encode(), digest_size=16).digest()
