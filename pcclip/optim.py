"""Optimisers that experiments name by class path, beyond those of torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_IN_A_LAYER = re.compile(r"\.(resblocks|blocks|layers?)\.\d+\.")


def parameter_groups(parameters: Iterable[tuple[str, nn.Parameter]]) -> list[dict[str, Any]]:
    """Groups of parameters that optimisers treat differently; empty ones are left out.

    Args:
        parameters: Names and parameters that train.

    Returns:
        Matrices of transformer layers (`hidden` is True), other matrices, and vectors (norms, biases, scales;
        without weight decay).
    """
    hidden: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for name, parameter in parameters:
        if parameter.ndim <= 1:
            vectors.append(parameter)
        else:
            (hidden if parameter.ndim == 2 and _IN_A_LAYER.search(f".{name}") else others).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": hidden, "hidden": True},
        {"params": others, "hidden": False},
        {"params": vectors, "hidden": False, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


class MuonAdamW(torch.optim.Optimizer):
    """Muon for the matrices of hidden layers, AdamW for all else, as one optimiser with one state.

    Muon makes the update of a matrix orthogonal (Jordan et al. 2024); its step is scaled so that a learning
    rate means the same for both (Liu et al. 2025, arXiv 2502.16982). It learns rare things in far fewer steps
    than AdamW, which is what many wordings of few differences need.

    Args:
        params: Groups as `parameter_groups` makes them; `hidden` ones are Muon's.
        lr: Learning rate of both.
        weight_decay: Decoupled, of both.
        momentum: Muon's.
        betas: AdamW's.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "hidden": False})
        hidden = [group for group in self.param_groups if group["hidden"]]
        others = [group for group in self.param_groups if not group["hidden"]]
        self._parts: list[torch.optim.Optimizer] = []
        if hidden:
            self._parts.append(torch.optim.Muon(hidden, momentum=momentum, adjust_lr_fn="match_rms_adamw"))
        if others:
            self._parts.append(torch.optim.AdamW(others, betas=(betas[0], betas[1]), fused=True))
        # The parts have filled in what they need; from here on groups and state are one and the same.
        self.param_groups = [group for part in self._parts for group in part.param_groups]
        self._share()

    def _share(self) -> None:
        groups = list(self.param_groups)
        for part in self._parts:
            part.param_groups = [groups.pop(0) for _ in part.param_groups]
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """One step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores groups and state, for both."""
        super().load_state_dict(state_dict)
        self._share()
