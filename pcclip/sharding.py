"""Weights that train, spread over the ranks by torch's fully_shard (FSDP2), and put together where needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from pcclip.model.lora import has_adapters

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from pcclip.model.towers import Towers

Hook = TypeVar("Hook", bound=Callable[..., Any])

_BLOCKS = ("resblocks", "blocks", "layer", "layers")


def shard(towers: Towers, mesh: DeviceMesh) -> None:
    """Spread what trains over the ranks: every transformer block is a unit, the rest of the towers another.

    Weights, gradients and optimiser state of a unit are split over the ranks; its weights are put together
    for its forward and its backward pass. What is frozen stays whole on every rank: it has neither gradients
    nor state. So do adapters, which are small; `average_gradients` is for them.

    Args:
        towers: after `select_trainable`; changed in place.
        mesh: (ranks,) of one dimension.
    """
    if has_adapters(towers.clip):
        return  # and peft makes its parameters anew whenever somebody lists them
    kept = {p for p in towers.parameters() if not p.requires_grad}
    for block in _blocks(towers):
        if any(p not in kept for p in block.parameters()):
            with _noting_what_is_put_on(block):
                fully_shard(block, mesh=mesh, ignored_params=kept)
                block.compute = _compute.__get__(block)
                register_fsdp_forward_method(block, "compute")
    with _noting_what_is_put_on(towers):
        fully_shard(towers, mesh=mesh, ignored_params=kept)
        for method in ("encode_images", "encode_texts"):
            register_fsdp_forward_method(towers, method)
    towers.text_encoder.around = _around


@contextmanager
def _noting_what_is_put_on(module: nn.Module) -> Iterator[None]:
    before = set(vars(module))
    yield
    module._put_on = set(vars(module)) - before | {"_put_on"}  # type: ignore[assignment]


def _compute(block: nn.Module, compute: Callable[..., Tensor], *inputs: Any) -> Tensor:
    return compute(block, *inputs)


def _around(block: Any, compute: Callable[..., Tensor], *inputs: Any) -> Tensor:
    if isinstance(block, FSDPModule):
        return block.compute(compute, *inputs)  # type: ignore[attr-defined]
    return compute(block, *inputs)  # nothing of it trains, or all is whole


def _blocks(towers: Towers) -> Iterator[Any]:
    for name, module in towers.named_modules():
        if name.rpartition(".")[2] in _BLOCKS and isinstance(module, nn.ModuleList | nn.Sequential):
            yield from module


def is_sharded(module: nn.Module) -> bool:
    """Whether `shard` has spread weights of `module`, whole at the moment or not."""
    return any(isinstance(m, FSDPModule) for m in module.modules())


@contextmanager
def whole(module: nn.Module) -> Iterator[None]:
    """Meanwhile `module` is as it was before `shard`, with all weights, on every rank.

    One may read, change, copy and use it, on any of the ranks, as if it had never been spread; changes of
    weights are undone at the end. All ranks must enter together. Nothing happens where nothing is spread, or
    all is whole already.
    """
    units = [m for m in module.modules() if isinstance(m, FSDPModule)]
    if not units:
        yield
        return
    for unit in units:
        unit.reshard()  # a forward pass leaves some of the weights together
    spread: list[tuple[nn.Module, str, Any]] = [
        (m, n, p) for m in module.modules() for n, p in m._parameters.items() if isinstance(p, DTensor)
    ]
    with torch.inference_mode(False):
        together = [nn.Parameter(p.full_tensor().detach(), p.requires_grad) for _, _, p in spread]
    worn = [_take_off(unit) for unit in units]
    for (owner, name, _), parameter in zip(spread, together, strict=True):
        owner._parameters[name] = parameter
    try:
        yield
    finally:
        for owner, name, parameter in spread:
            owner._parameters[name] = parameter
        for unit, (kind, attributes) in zip(units, worn, strict=True):
            unit.__class__ = kind
            unit.__dict__.update(attributes)


def _take_off(unit: Any) -> tuple[type, dict[str, Any]]:
    """What `fully_shard` and `shard` have put on a module: its class, attributes, methods and hooks."""
    kind, own = type(unit), unit.__dict__
    worn = {name: own.pop(name) for name in own["_put_on"]}
    for hooks in ("_forward_pre_hooks", "_forward_hooks"):
        worn[hooks] = own[hooks]
        own[hooks] = OrderedDict()
    unit.__class__ = kind.__mro__[2]  # as FSDPModule.__new__ finds it
    return kind, worn


def with_whole_weights(hook: Hook) -> Hook:
    """A callback's hook, called within `whole`."""

    @wraps(hook)
    def wrapped(callback: Any, trainer: Any, module: nn.Module) -> Any:
        with whole(module):
            return hook(callback, trainer, module)

    return wrapped  # type: ignore[return-value]


def full(value: Any) -> Any:
    """A spread tensor put together, by all ranks at once; looks into dicts and lists; else as it is."""
    if isinstance(value, DTensor):
        return value.full_tensor()
    if isinstance(value, dict):
        return {key: full(item) for key, item in value.items()}
    return [full(item) for item in value] if isinstance(value, list) else value


def spread_like(parameter: Tensor, value: Any) -> Any:
    """This rank's part of what `full` put together, where `parameter` is spread; needs no other rank."""
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    value = value.to(parameter.device)
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)


def total_norm(tensors: Iterable[Tensor]) -> Tensor:
    """Euclidean norm over all numbers of all tensors, spread ones included."""
    tensors = list(tensors)
    kinds = (
        [t for t in tensors if isinstance(t, DTensor)],
        [t for t in tensors if not isinstance(t, DTensor)],
    )
    return torch.linalg.vector_norm(
        torch.stack([full(torch.nn.utils.get_total_norm(kind)) for kind in kinds if kind])
    )


@torch.no_grad()
def clip_by_norm(parameters: Iterable[nn.Parameter], limit: float) -> None:
    """As `torch.nn.utils.clip_grad_norm_`, for spread and other parameters together."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if gradients:
        factor = (limit / (total_norm(gradients) + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor)


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Mean over the ranks of the gradients that FSDP does not reduce: of parameters that are not spread."""
    for parameter in parameters:
        if parameter.grad is not None and not isinstance(parameter.grad, DTensor):
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= torch.distributed.get_world_size()


def mean_over_ranks(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Means over the ranks of scalars by name: losses of the global batch, from those of each rank's rows."""
    together = torch.stack([value.detach() for value in values.values()])
    torch.distributed.all_reduce(together)
    return dict(zip(values, (together / torch.distributed.get_world_size()).unbind(), strict=True))
