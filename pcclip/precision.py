"""Which precision trains fastest on this machine, for experiments that run anywhere."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import OmegaConf

RESOLVER = "pcclip.precision"


def machine_precision() -> str:
    """`bf16-mixed` where the hardware multiplies bf16, else `32-true`; both keep fp32 master weights.

    A CPU without bf16 instructions emulates them, and is then slower than in fp32.
    """
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if torch.backends.mps.is_available():
        return "32-true"
    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16-mixed" if able.get("avx512_bf16") or able.get("amx_bf16") else "32-true"


def register() -> None:
    """Make `${pcclip.precision:}` known to YAML files."""
    OmegaConf.register_resolver(RESOLVER, machine_precision, replace=True)
