"""open_clip towers behind one small interface: load, encode, fingerprint."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.factory import parse_model_name
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import Tensor, nn

from pcclip.errors import PcclipError
from pcclip.model.text import encode_ragged, is_ragged

CONFIGS = Path(__file__).parent / "configs"
open_clip.add_model_config(CONFIGS)


class ModelError(PcclipError):
    """A model that cannot be loaded, or that does not fit what it is asked to hold."""


class Towers(nn.Module):
    """Image and text tower of one CLIP model, in fp32.

    Attributes:
        clip: the open_clip model.
        name: what it was loaded by.
        pretrained: tag or file of its weights, if the name alone does not say.
        tokenizer: texts -> (B, context_length) token ids.
        preprocess: picture -> (3, H, W) pixels, as in evaluation.
        image_frozen: whether the image tower stays as it is.
    """

    def __init__(self, clip: nn.Module, name: str, pretrained: str | None, tokenizer: Any) -> None:
        """Wrap an open_clip model; `load_towers` is the usual way."""
        super().__init__()
        self.clip: Any = clip
        self.name, self.pretrained = name, pretrained
        self.tokenizer: Callable[[list[str]], Tensor] = tokenizer
        self.preprocess = image_transform_v2(PreprocessCfg(**self.clip.visual.preprocess_cfg), is_train=False)
        self.image_frozen = False
        self.ragged = is_ragged(clip)
        self._image_fingerprint: str | None = None

    @property
    def text_tower(self) -> Any:
        """The module that holds the text weights; for plain CLIP the model itself."""
        return getattr(self.clip, "text", self.clip)

    @property
    def context_length(self) -> int:
        """Tokens that a text may have."""
        return int(self.clip.context_length)

    @property
    def embed_dim(self) -> int:
        """Width of the joint embedding."""
        return int(self.clip.visual.output_dim) if hasattr(self.clip.visual, "output_dim") else self._probe()

    def _probe(self) -> int:
        return int(self.encode_texts(self.tokenizer(["a"])).shape[1])

    def train(self, mode: bool = True) -> Towers:
        """A frozen image tower stays in evaluation mode: its batch statistics must not move."""
        super().train(mode)
        if self.image_frozen:
            self.clip.visual.eval()
        return self

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) pixels -> (B, D) embeddings, not normalised; no gradients if frozen."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.image_frozen):
            return self.clip.encode_image(pixels)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """(B, L) token ids -> (B, D) embeddings, not normalised, as open_clip's `encode_text`.

        Args:
            tokens: ids padded on the right; where `ragged` is false, to the full context length.
        """
        if self.ragged:
            return encode_ragged(self.clip, tokens)
        missing = self.context_length - tokens.shape[1]
        if missing > 0:
            tokens = torch.nn.functional.pad(tokens, (0, missing), value=self._pad_id())
        return self.clip.encode_text(tokens)

    def _pad_id(self) -> int:
        return int(getattr(self.text_tower, "pad_id", 0) or 0)

    def image_fingerprint(self) -> str:
        """SHA-256 of the image tower's weights and preprocessing; kept while the tower is frozen."""
        if self._image_fingerprint is None or not self.image_frozen:
            preprocess = json.dumps(self.clip.visual.preprocess_cfg, sort_keys=True, default=list)
            self._image_fingerprint = _digest(self.clip.visual.state_dict(), preprocess)
        return self._image_fingerprint

    def text_fingerprint(self) -> str:
        """SHA-256 of all weights outside the image tower."""
        weights = {n: t for n, t in self.clip.state_dict().items() if not n.startswith("visual.")}
        return _digest(weights, "")

    def tokenizer_fingerprint(self) -> str:
        """SHA-256 of what the tokenizer is and what it makes of a probing text."""
        probe = "Picture 1 shows a larger, redder \u00e9toile than picture 2: 3.14 vs. 2!"
        ids = self.tokenizer([probe]).tolist()
        return hashlib.sha256(f"{type(self.tokenizer).__name__} {self.context_length} {ids}".encode()).hexdigest()

    def architecture(self) -> dict[str, Any]:
        """The open_clip configuration, activation included."""
        config = getattr(self, "_architecture", None) or open_clip.get_model_config(_bare(self.name))
        config = json.loads(json.dumps(config))
        config.setdefault("quick_gelu", False)
        return config


def _bare(name: str) -> str:
    schema, identifier = parse_model_name(name)
    return identifier.replace("/", "-") if schema is None else name


def _digest(weights: dict[str, Tensor], extra: str) -> str:
    digest = hashlib.sha256(extra.encode())
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_towers(
    name: str, pretrained: str | None = None, random_init: bool = False, cache_dir: str | None = None
) -> Towers:
    """Load a CLIP model by open_clip, in fp32 on the CPU.

    Args:
        name: open_clip tag (`ViT-L-14`), `hf-hub:ORG/NAME`, `local-dir:FOLDER`, or one of pcclip's
            small configurations (`pcclip-small`, `pcclip-tiny`).
        pretrained: for a tag: open_clip's pretrained tag or a local checkpoint file.
        random_init: take random weights for a tag without `pretrained`.
        cache_dir: where open_clip keeps downloads.

    Raises:
        ModelError: unknown tag, missing folder or file, weights of another architecture, or a tag
            without weights and without `random_init`.
    """
    schema, identifier = parse_model_name(name)
    _check_source(name, schema, identifier, pretrained, random_init)
    with _quiet_open_clip():
        try:
            clip = open_clip.create_model(
                name,
                pretrained,
                precision="fp32",
                cache_dir=cache_dir,
                pretrained_text=not random_init,
                weights_only=True,
            )
            tokenizer = open_clip.get_tokenizer(name, cache_dir=cache_dir)
        except (RuntimeError, ValueError, KeyError, OSError) as error:
            reason = str(error).strip().split("\n")
            raise ModelError(
                f"cannot load model '{name}'" + (f" with weights '{pretrained}'" if pretrained else "")
                + f": {' '.join(line.strip() for line in reason[:3])[:400]}. If the weights belong to another "
                "architecture, name that one as the model"
            ) from error
    return Towers(clip.float(), name, pretrained, tokenizer)


def _check_source(
    name: str, schema: str | None, identifier: str, pretrained: str | None, random_init: bool
) -> None:
    if schema == "local-dir":
        folder = Path(identifier)
        if not (folder / "open_clip_config.json").is_file():
            raise ModelError(
                f"{folder} holds no open_clip_config.json, so it is no model folder: "
                "name the `model` folder of a finished run, or a folder in open_clip's layout"
            )
        if not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")) and not any(folder.glob("*.pt*")):
            raise ModelError(f"{folder} holds a configuration but no weights (open_clip_model.safetensors)")
    if schema is not None:
        if pretrained is not None:
            raise ModelError(f"'{name}' names its own weights: leave `pretrained` ('{pretrained}') out")
        return
    known = open_clip.list_models()
    if _bare(name) not in known:
        near = ", ".join(difflib.get_close_matches(name, known, n=3)) or "see open_clip.list_models()"
        raise ModelError(f"no model is called '{name}'; near it: {near}. Folders are 'local-dir:PATH'")
    if pretrained is None and not random_init:
        raise ModelError(
            f"'{name}' without `pretrained` would be random weights: name a pretrained tag or a checkpoint file, "
            "or set random_init to true to train from scratch"
        )
    if pretrained is not None and not Path(pretrained).is_file():
        tags = open_clip.list_pretrained_tags_by_model(_bare(name))
        if pretrained.lower() not in (t.lower() for t in tags):
            near = ", ".join(difflib.get_close_matches(pretrained, tags, n=3) or tags[:5]) or "none"
            raise ModelError(f"'{pretrained}' is neither a file nor pretrained weights of '{name}'; known: {near}")


@contextmanager
def _quiet_open_clip() -> Iterator[None]:
    """open_clip tells its whole course on the root logger; errors still reach the user as errors."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.setLevel(level)
