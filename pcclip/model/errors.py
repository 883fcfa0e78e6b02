"""The error of the model room."""

from __future__ import annotations

from pcclip.errors import PcclipError


class ModelError(PcclipError):
    """A model, its weights or its options do not fit; the message names both sides and the remedy."""
