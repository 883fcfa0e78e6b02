"""Models for the bench; one whose embeddings are all kept need not even be loaded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcclip.checksums import check_seal, seal
from pcclip.crew import Crew
from pcclip.data.files import write_atomically
from pcclip.evaluation.encoding.embedding import LoadedLater, Transform
from pcclip.evaluation.encoding.encoders import CachedEncoders, Encoders, TowerEncoders
from pcclip.evaluation.encoding.named import Named
from pcclip.evaluation.encoding.text_cache import TextCache
from pcclip.untrusted import parse_json

if TYPE_CHECKING:
    from torch import Tensor

    from pcclip.model.towers import Towers


@dataclass(frozen=True)
class Fingerprints:
    """What decides a model's embeddings.

    Attributes:
        image: Of the image tower's weights, preprocessing and architecture.
        text: Of the text tower's weights, architecture and tokenizer.
    """

    image: str
    text: str


@dataclass(frozen=True)
class Model:
    """A model as the bench sees it, in one state of its weights.

    Attributes:
        encoders: Its two functions.
        preprocess: RGB picture to pixels (3, H, W).
        image_fingerprint: Of the image tower's weights, preprocessing and architecture.
        name: By which the other processes of a crew find the same model.
        crew: Who encodes; this process alone if None.
    """

    encoders: CachedEncoders
    preprocess: Transform
    image_fingerprint: str
    name: Any = None
    crew: Crew | None = None

    @classmethod
    def of(cls, towers: Towers, encoders: Encoders, name: Any = None, crew: Crew | None = None) -> Model:
        """The model of `towers` with their weights as they are now."""
        cached = CachedEncoders(encoders, crew=crew, order=partial(TextOrder, name))
        return cls(cached, towers.preprocess, image_fingerprint(towers), name, crew)


@dataclass(frozen=True)
class TextOrder:
    """What the other processes of a crew are told of texts that are to be encoded.

    Attributes:
        model: Name of the model.
        batches: The texts.
    """

    model: Any
    batches: list[list[str]]


class NamedModel:
    """A model by its name: its towers are loaded when something is to be encoded.

    Args:
        named: The model.
        device: Where its towers are to be; `auto` takes a GPU where there is one.
        cache: Folder of its texts' embeddings and of its fingerprints; None keeps neither.
        crew: Who encodes; this process alone if None.
    """

    def __init__(self, named: Named, device: str, cache: Path | None, crew: Crew | None = None) -> None:
        self._named = named
        self._crew = crew
        self._device = device
        self._cache = cache

    @cached_property
    def towers(self) -> Towers:
        """The towers.

        Raises:
            ModelError: They cannot be loaded.
        """
        import torch

        from pcclip.model.towers import load_towers

        place = self._device
        if place == "auto":
            place = "cuda" if torch.cuda.is_available() else "cpu"
        return load_towers(self._named.name, self._named.pretrained).to(place)

    @cached_property
    def _encoders(self) -> TowerEncoders:
        return TowerEncoders(self.towers, next(self.towers.parameters()).device)

    @property
    def preprocess(self) -> Transform:
        """Looked up when the first picture needs it."""
        return LoadedLater(lambda: self.towers.preprocess)

    @cached_property
    def fingerprints(self) -> Fingerprints:
        """From a note of an earlier run, where no file of the model has changed since; else of its towers."""
        note = self._note()
        if note is not None:
            try:
                kept = parse_json(note.read_bytes())
                check_seal(kept)
                return Fingerprints(kept["image"], kept["text"])
            except (OSError, ValueError, TypeError, KeyError):
                pass  # none yet, or damaged: written anew
        found = Fingerprints(image_fingerprint(self.towers), text_fingerprint(self.towers))
        if note is not None and note == self._note():  # no file was changed while it was read
            note.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(note, json.dumps(seal(asdict(found))).encode())
        return found

    def encode_images(self, pixels: Tensor) -> Tensor:
        """An `ImageEncoder`."""
        return self._encoders.encode_images(pixels)

    def encode_texts(self, texts: list[str]) -> Tensor:
        """A `TextEncoder`."""
        return self._encoders.encode_texts(texts)

    def model(self) -> Model:
        """For the bench."""
        kept = None if self._cache is None else TextCache(self._cache, self.fingerprints.text)
        order = partial(TextOrder, self._named)
        encoders = CachedEncoders(self, kept=kept, crew=self._crew, order=order)
        return Model(encoders, self.preprocess, self.fingerprints.image, self._named, self._crew)

    def share(self) -> Model:
        """For the bench of a process that is led: it asks for no fingerprints and keeps nothing."""
        return Model(CachedEncoders(self), self.preprocess, "", self._named)

    def _note(self) -> Path | None:
        files = self._named.files()
        if self._cache is None or not files:
            return None
        digest = hashlib.sha256(f"{self._named.name}\n{self._named.pretrained}".encode())
        digest.update("\n".join(map(version, ("pcclip", "open_clip_torch"))).encode())
        for file in files:
            status = file.stat()
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            digest.update(f"\n{file.resolve()} {stamp}".encode())
        return self._cache / f"model-{digest.hexdigest()[:32]}.json"


def image_fingerprint(towers: Towers) -> str:
    """Hex sha256 of the image tower's weights, preprocessing and architecture (which says the activation)."""
    return _digest(towers.image_fingerprint(), towers.architecture())


def text_fingerprint(towers: Towers) -> str:
    """Hex sha256 of the text tower's weights, tokenizer and architecture."""
    return _digest(towers.text_fingerprint(), towers.tokenizer_fingerprint(), towers.architecture())


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
