"""A tower as the first text encoder of a Stable Diffusion XL: checked, converted, kept."""

from __future__ import annotations

import warnings
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from pcclip.errors import PcclipError
from pcclip.model.conversion import text_model
from pcclip.model.towers import Towers

SIZES = {
    "hidden_size": "width",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "intermediate_size": "MLP width",
    "max_position_embeddings": "context",
    "vocab_size": "vocabulary",
    "hidden_act": "activation",
}
PROBE = "a photo of a snowier, larger cat (1 of 2)"


class FirstEncoders:
    """Towers as drop-in first text encoders of one pipeline."""

    def __init__(self, own: nn.Module, tokenizer: Any, model: str, device: torch.device) -> None:
        """Takes over from a pipeline.

        Args:
            own: Its first text encoder, a `CLIPTextModel`.
            tokenizer: That one's tokenizer.
            model: What the pipeline is called, for messages.
            device: Where it computes.
        """
        self._config: Any = own.config
        self._dtype = next(own.parameters()).dtype
        self._embeddings = own.get_input_embeddings().weight.detach().float().cpu()  # type: ignore[operator]
        self._tokenizer = tokenizer
        self._model = model
        self._device = device
        self._kept: WeakKeyDictionary[Towers, tuple[tuple[int, ...], nn.Module]] = WeakKeyDictionary()

    def of(self, tower: Towers) -> nn.Module:
        """The tower's text part as a `CLIPTextModel`; converted once, and again when its weights changed.

        Raises:
            PcclipError: It does not fit, or transformers has no such tower; says what to train instead.
        """
        # In-place changes (optimizer steps, load_state_dict) count up a tensor's version.
        versions = tuple(t._version for t in tower.clip.state_dict().values())
        kept = self._kept.get(tower)
        if kept is None or kept[0] != versions:
            kept = (versions, self._convert(tower))
            self._kept[tower] = kept
        return kept[1]

    def _convert(self, tower: Towers) -> nn.Module:
        # With its projection it would pass for the second encoder: pipelines tell them by the first output.
        model: Any = text_model(tower).text_model
        ours, theirs = model.config, self._config
        differing = [
            f"{name} {getattr(ours, key)} != {getattr(theirs, key)}"
            for key, name in SIZES.items()
            if getattr(ours, key) != getattr(theirs, key)
        ]
        if not differing and (tokens := self._other_tokens(tower)):
            differing = [tokens]
        if differing:
            raise PcclipError(
                f"the tower '{tower.name}' does not fit the first text encoder of '{self._model}': they "
                f"differ in {', '.join(differing)} (tower, then encoder). Stable Diffusion XL's is OpenAI's "
                "ViT-L/14 with QuickGELU: train name: ViT-L-14-quickgelu, pretrained: openai, as "
                "experiments/paper/vit_l_14_openai.yaml does"
            )
        self._warn_of_strangers(model, tower)
        return model.to(self._device, self._dtype).eval()

    def _other_tokens(self, tower: Towers) -> str:
        """How the tokenizers differ on a text; empty if they agree. Padding does not count."""
        theirs = list(self._tokenizer(PROBE).input_ids)
        ours = tower.tokenizer([PROBE])[0, : len(theirs)].tolist()
        return "" if ours == theirs else f"tokens of '{PROBE}' {ours} != {theirs}"

    def _warn_of_strangers(self, model: Any, tower: Towers) -> None:
        """Training moves token embeddings little; other base weights have nothing in common."""
        embeddings = model.get_input_embeddings().weight.detach().float().cpu()
        alike = torch.cosine_similarity(embeddings, self._embeddings, dim=-1).mean().item()
        if alike < 0.5:
            warnings.warn(
                f"the tower '{tower.name}' was not trained from the weights of the first text encoder of "
                f"'{self._model}' (mean cosine of their token embeddings {alike:.2f}): its pictures may mean "
                "nothing",
                stacklevel=4,
            )
