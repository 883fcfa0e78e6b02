"""The pair of towers: an open_clip model with its tokenizer, preprocessing and fingerprints."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor, nn

from pcclip.model.custom_code import refuse_code_of
from pcclip.model.errors import ModelError
from pcclip.model.fingerprints import tokenizer_digest, weights_digest
from pcclip.model.lora import merged_state
from pcclip.model.packing import Lengths
from pcclip.model.saved import check_as_saved
from pcclip.model.sources import Source, find_source
from pcclip.model.text import TextEncoder
from pcclip.model.weights import mismatch, resized_weights, weight_shapes

__all__ = ["BaseWeights", "ModelError", "Towers", "load_towers"]

# What open_clip raises at names, weights and pickles.
_TROUBLES = (
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    AssertionError,
    OSError,
    UnpicklingError,
)
Transform = Callable[[Image.Image], Tensor]


@dataclass(frozen=True)
class BaseWeights:
    """The weights that towers were loaded with."""

    name: str
    pretrained: str | None
    random_init: bool
    image_fingerprint: str
    text_fingerprint: str


class Towers(nn.Module):
    """An image and a text tower of open_clip.

    Args:
        clip: the open_clip model, in fp32.
        name: what it was loaded as.
        model_config: its `model_cfg`.
        tokenizer: open_clip's tokenizer: N texts to (N, context_length) token ids.

    Attributes:
        clip: the open_clip model.
        name: what it was loaded as.
        tokenizer: N texts to (N, context_length) int64 token ids.
        preprocess: picture to (3, H, W) pixels, for evaluation.
        preprocess_train: the same with open_clip's default augmentation.
        text_encoder: how texts are encoded, and whether trimmed tokens are enough for it.
        embed_dim: length of an embedding.
        context_length: tokens of a text at most.
        base: which weights were loaded; None until `load_towers` has set it.
    """

    def __init__(
        self,
        clip: nn.Module,
        name: str,
        model_config: dict[str, Any],
        tokenizer: Callable[[list[str]], Tensor],
    ) -> None:
        """See the class."""
        super().__init__()
        self.clip = clip
        self.name = name
        self.model_config = model_config
        self.tokenizer = tokenizer
        config = PreprocessCfg(**open_clip.get_model_preprocess_cfg(clip))
        self.preprocess: Transform = image_transform_v2(config, is_train=False)
        self.preprocess_train: Transform = image_transform_v2(config, is_train=True)
        self.text_encoder = TextEncoder(clip)
        self.embed_dim: int = model_config["embed_dim"]
        self.context_length: int = model_config["text_cfg"].get("context_length", 77)
        self.base: BaseWeights | None = None
        self._image_fingerprint: tuple[tuple[int, ...], str] | None = None

    @property
    def visual(self) -> nn.Module:
        """The image tower."""
        visual: nn.Module = self.clip.visual  # type: ignore[assignment]
        return visual

    @property
    def image_frozen(self) -> bool:
        """Whether no parameter of the image tower trains."""
        return not any(p.requires_grad for p in self.visual.parameters())

    @property
    def trim(self) -> bool:
        """Whether padding columns may be cut off the tokens without changing `encode_texts`."""
        return self.text_encoder.trim

    def train(self, mode: bool = True) -> Towers:
        """Set the mode; a frozen image tower stays in evaluation mode, so that its BatchNorms do not move."""
        super().train(mode)
        if self.image_frozen:
            self.visual.eval()
        return self

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) pixels to (B, embed_dim) embeddings, not normalised; no gradients if frozen."""
        if not self.image_frozen:
            return self.clip.encode_image(pixels, normalize=False)  # type: ignore[operator]
        if self.visual.training:  # someone called .train() on a part of us
            self.visual.eval()
        with torch.no_grad():
            return self.clip.encode_image(pixels, normalize=False)  # type: ignore[operator]

    def encode_texts(self, tokens: Tensor, lengths: Lengths | None = None) -> Tensor:
        """(B, L) token ids to (B, embed_dim) embeddings, not normalised: see `TextEncoder`."""
        return self.text_encoder(tokens, lengths)

    def preprocess_config(self) -> dict[str, Any]:
        """Open_clip's preprocessing in plain JSON types; `size` is always [height, width]."""
        config = asdict(PreprocessCfg(**open_clip.get_model_preprocess_cfg(self.clip)))
        size = config["size"]
        config["size"] = [size, size] if isinstance(size, int) else list(size)
        return json.loads(json.dumps(config))

    def architecture(self) -> dict[str, Any]:
        """What decides the computation, weights apart: open_clip's model config, class and activation."""
        return {
            "class": type(self.clip).__name__,
            "activation": "quick_gelu" if self.model_config.get("quick_gelu") else "gelu",
            **json.loads(json.dumps(self.model_config)),
        }

    def image_fingerprint(self) -> str:
        """Hex sha256 of the image tower's weights and preprocessing; hashed anew only after a change."""
        state = self.visual.state_dict()
        # In-place changes (optimizer steps, load_state_dict) count up a tensor's version.
        versions = tuple(t._version for t in state.values())
        if self._image_fingerprint is None or self._image_fingerprint[0] != versions:
            self._image_fingerprint = (versions, weights_digest(state, self.preprocess_config()))
        return self._image_fingerprint[1]

    def text_fingerprint(self) -> str:
        """Hex sha256 of the text tower's weights, adapters merged; hashed at each call."""
        state = merged_state(self.clip)
        return weights_digest({n: t for n, t in state.items() if is_text_name(n)})

    def tokenizer_fingerprint(self) -> str:
        """Hex sha256 of the tokens that the tokenizer gives for some probing texts."""
        return tokenizer_digest(self.tokenizer)


def is_text_name(name: str) -> bool:
    """Whether a name in an open_clip state dict belongs to the text tower."""
    return not name.startswith(("visual.", "logit_scale", "logit_bias", "text_decoder."))


def load_towers(
    name: str,
    pretrained: str | None = None,
    *,
    random_init: bool = False,
    cache_dir: str | None = None,
) -> Towers:
    """Load towers in fp32, frozen, in evaluation mode (`select_trainable` says what trains).

    Args:
        name: open_clip tag, `hf-hub:ORG/NAME`, `local-dir:FOLDER`, or one of pcclip's small configs
            (`pcclip-small`, `pcclip-tiny`). Hubs and folders may hold open_clip's files or those of
            transformers' CLIPModel.
        pretrained: for a tag: open_clip's pretrained tag, or a checkpoint file (.safetensors, .pt, .bin).
        random_init: start a tag from random weights (the global generator's); never done silently.
        cache_dir: where downloads go; None for the hub's default.

    Raises:
        ModelError: unknown name or tag, missing files, or weights of another architecture.
    """
    source = find_source(name, pretrained, random_init, cache_dir)
    if source.transformers is not None:
        from pcclip.model.conversion.incoming import from_transformers  # needs this module

        converted = from_transformers(source.transformers, source.label)
        towers = Towers(converted.clip, name, converted.model_config, converted.tokenizer)
    else:
        clip = _create(source, random_init, cache_dir)
        tokenizer = _tokenizer(source, cache_dir)
        towers = Towers(clip, name, source.model_config, tokenizer)
    towers.requires_grad_(False)
    towers.eval()
    towers.base = BaseWeights(
        name, pretrained, random_init, towers.image_fingerprint(), towers.text_fingerprint()
    )
    if name.startswith("local-dir:") and source.transformers is None:
        folder = Path(name.removeprefix("local-dir:")).expanduser()
        check_as_saved(folder, towers.base.image_fingerprint, towers.base.text_fingerprint)
    return towers


def _tokenizer(source: Source, cache_dir: str | None) -> Callable[[list[str]], Tensor]:
    foreign = bool(source.model_config["text_cfg"].get("hf_tokenizer_name"))
    never = {"trust_remote_code": False} if foreign else {}  # CLIP's own tokenizer takes no such argument
    try:
        return open_clip.get_tokenizer(source.name, cache_dir=cache_dir, **never)
    except (ValueError, OSError, TypeError, KeyError) as error:
        raise ModelError(f"cannot read the tokenizer of '{source.name}': {error}") from error


def _create(source: Source, random_init: bool, cache_dir: str | None) -> nn.Module:
    preprocess = {k: v for k, v in (source.preprocess or {}).items() if k != "size"}
    found = weight_shapes(source.weights) if source.weights is not None else {}
    refuse_code_of(source.model_config["text_cfg"], cache_dir)
    try:
        clip: nn.Module = open_clip.create_model(
            source.name,
            source.pretrained,
            precision="fp32",
            force_preprocess_cfg=preprocess,
            pretrained_text=False,
            cache_dir=cache_dir,
            require_pretrained=not random_init,
        )
    except _TROUBLES as error:
        if source.weights is not None:
            raise ModelError(mismatch(source, found, error)) from error
        weights = f" with pretrained='{source.pretrained}'" if source.pretrained else ""
        raise ModelError(
            f"cannot load '{source.name}'{weights}: {error}. Check the name, the network and the cache, or "
            "give a local checkpoint file or local-dir:FOLDER"
        ) from error
    if resized := resized_weights(found, clip):
        raise ModelError(mismatch(source, found, ValueError(resized)))
    return clip
