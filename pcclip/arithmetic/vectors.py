"""The arithmetic itself: a text's conditioning moved by an attribute or by a difference.

Shape letters: B texts, L tokens, W width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pcclip.arithmetic.generators import Conditioning
from pcclip.errors import PcclipError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PARTS = {"states": ("states", "other_states"), "pooled": ("pooled", "other_pooled")}


@dataclass
class Arithmetic:
    """How an attribute moves a text (arXiv 2409.09721, text-to-image arithmetic; all this is open there).

    The attribute's text may be a word ("snowy") or a difference ("snowier than"): a tower that was tuned on
    differences makes the latter a direction of the joint space. Its length is not trained, and two towers
    give it two lengths; hence `direction`, where a weight means the same step for both.

    Attributes:
        kind: `add`: base + weight * attribute. `average`: (1 - weight) * base + weight * attribute.
            `direction`: base + weight * |base| * unit(attribute), |base| and unit by token state or vector.
        relative_to: what is subtracted from the attribute first, for `add` and `direction`: `nothing`, the
            `opposite` attribute's text, or the `empty` text. It cancels what every text has in common.
        moves: which parts move: token `states`, `pooled` vectors, or `both`.
        encoders: whether only the `first` text encoder's parts move (the tower that can be replaced), or
            those of `all`.
        keep_length: whether every token state or vector is scaled back to the length it had in the base.
    """

    kind: Literal["add", "average", "direction"] = "add"
    relative_to: Literal["nothing", "opposite", "empty"] = "nothing"
    moves: Literal["states", "pooled", "both"] = "states"
    encoders: Literal["first", "all"] = "first"
    keep_length: bool = False

    def __post_init__(self) -> None:
        """Refuses what contradicts itself."""
        if self.kind == "average" and self.relative_to != "nothing":
            raise PcclipError(
                f"kind: average mixes two texts, so relative_to: {self.relative_to} has no meaning there; "
                "set relative_to: nothing, or kind: add or direction"
            )

    def apply(
        self,
        base: Conditioning,
        attribute: Conditioning,
        weight: float,
        opposite: Conditioning | None = None,
    ) -> Conditioning:
        """The base moved by the attribute.

        Args:
            base: Of B rows.
            attribute: Of B rows, or of one for all.
            weight: How far; 0 gives the base, bit for bit. May be negative.
            opposite: What `relative_to` names, encoded: of B rows or one; None for `nothing`.

        Returns:
            B rows with the parts of the base, in their types; parts that do not move are the base's own.

        Raises:
            PcclipError: The generator lacks a part that should move, the parts' shapes differ, or there is no
                opposite though one is subtracted (or the other way round).
        """
        if (opposite is None) != (self.relative_to == "nothing"):
            given = "none was given" if opposite is None else "something to subtract was given"
            raise PcclipError(f"relative_to is '{self.relative_to}', but {given}: set the one by the other")
        names = self.parts_of(base)
        if weight == 0:
            return base
        moved = {}
        for name in names:
            subtracted = None if opposite is None else _part(opposite, name, base)
            moved[name] = self._move(getattr(base, name), _part(attribute, name, base), weight, subtracted)
        return replace(base, **moved)

    def parts_of(self, conditioning: Conditioning) -> list[str]:
        """Names of the parts that move.

        Raises:
            PcclipError: There is none of a kind that `moves` asks for.
        """
        there = conditioning.parts()
        names: list[str] = []
        for kind in ("states", "pooled") if self.moves == "both" else (self.moves,):
            wanted = PARTS[kind][:1] if self.encoders == "first" else PARTS[kind]
            found = [name for name in wanted if name in there]
            if not found:
                raise PcclipError(
                    f"moves: {self.moves} with encoders: {self.encoders} needs {' or '.join(wanted)}, which "
                    f"this generator does not have: it has {', '.join(there)}. Choose among those by "
                    "`moves` and `encoders`"
                )
            names += found
        return names

    def _move(self, base: Tensor, attribute: Tensor, weight: float, opposite: Tensor | None) -> Tensor:
        base_BLW, step_BLW = base.float(), attribute.float()
        if opposite is not None:
            step_BLW = _without_rounding(step_BLW - opposite.float(), step_BLW, attribute.dtype)
        lengths = base_BLW.norm(dim=-1, keepdim=True)
        if self.kind == "direction":
            step_BLW = _scaled(step_BLW, lengths)
        share = 1 - weight if self.kind == "average" else 1
        moved_BLW = share * base_BLW + weight * step_BLW
        if self.keep_length:
            moved_BLW = _scaled(moved_BLW, lengths)
        return moved_BLW.to(base.dtype)


def _part(conditioning: Conditioning, name: str, base: Conditioning) -> Tensor:
    part: Tensor | None = getattr(conditioning, name)
    wanted = getattr(base, name).shape
    if part is None or part.shape[1:] != wanted[1:] or len(part) not in (1, wanted[0]):
        found = "absent" if part is None else f"of shape {tuple(part.shape)}"
        raise PcclipError(f"the base's {name} are of shape {tuple(wanted)}, the attribute's {found}")
    return part


def _without_rounding(step: Tensor, attribute: Tensor, dtype: torch.dtype) -> Tensor:
    """Sets differences to zero that are rounding only, which `direction` would blow up.

    Every text starts with the same token, whose state is the longest by far and the same in all texts but for
    rounding.
    """
    import torch

    noise = torch.finfo(dtype).eps ** 0.5
    real = step.norm(dim=-1, keepdim=True) > noise * attribute.norm(dim=-1, keepdim=True)
    return torch.where(real, step, 0.0)


def _scaled(vectors: Tensor, lengths: Tensor) -> Tensor:
    """Vectors of the lengths given; a zero vector stays zero."""
    import torch

    own = vectors.norm(dim=-1, keepdim=True)
    return torch.where(own > 0, vectors * (lengths / own.clamp(min=torch.finfo(own.dtype).tiny)), 0.0)
