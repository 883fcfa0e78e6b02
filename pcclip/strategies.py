"""Strategies that `trainer.strategy` names by class path, beyond Lightning's."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy, StrategyRegistry
from torch import nn
from torch.optim import Optimizer

from pcclip.sharding import full, spread_like, whole


class Sharded(ModelParallelStrategy):
    """FSDP2: weights that train, their gradients and optimiser state are spread over all ranks.

    The module spreads them in `configure_model`. Checkpoints are those of one process, a single file with
    whole
    tensors: a run goes on under another strategy or with another number of ranks.

    Args:
        timeout_minutes: after which a collective that not all ranks have joined ends the run.
        process_group_backend: nccl or gloo; by the device if null.
    """

    def __init__(self, timeout_minutes: float = 30, process_group_backend: str | None = None) -> None:
        """See the class."""
        super().__init__(
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            process_group_backend=process_group_backend,
            timeout=timedelta(minutes=timeout_minutes),
        )
        self._together = ExitStack()

    def setup_environment(self) -> None:
        """Spread over all ranks of all nodes."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def on_validation_start(self) -> None:
        """Put all weights together: ranks with different numbers of batches would wait for each other."""
        assert self.lightning_module is not None
        self._together.enter_context(whole(self.lightning_module))

    def on_validation_end(self) -> None:
        """Spread them again."""
        self._together.close()

    def on_test_start(self) -> None:
        """As for a validation."""
        self.on_validation_start()

    def on_test_end(self) -> None:
        """As after a validation."""
        self.on_validation_end()

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Weights are restored before `setup`, as in Lightning's DDP, so that refusals come first."""
        return False

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Whether Lightning restores the optimiser: it does, by `load_optimizer_state_dict`."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Whole tensors, of all names, on every rank."""
        assert self.lightning_module is not None
        return {name: full(tensor) for name, tensor in self.lightning_module.state_dict().items()}

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Take this rank's part of whole tensors."""
        module = self.lightning_module
        assert module is not None
        own = module.state_dict(keep_vars=True)
        parts = {n: spread_like(own[n], t) if n in own else t for n, t in checkpoint["state_dict"].items()}
        module.load_state_dict(parts, strict=strict)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Whole tensors, numbered as by the optimiser of one process."""
        plain = optimizer._optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        return full(plain.state_dict())

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take this rank's part of whole tensors."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters: list[nn.Parameter] = [p for group in optimizer.param_groups for p in group["params"]]
            parts = {
                number: {key: spread_like(parameters[number], value) for key, value in of_one.items()}
                for number, of_one in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": parts})

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """One file, by the first rank."""
        Strategy.save_checkpoint(self, checkpoint, filepath, storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """The whole file, on every rank."""
        return Strategy.load_checkpoint(self, checkpoint_path, weights_only)


def register() -> None:
    """Let `trainer.strategy` be `fsdp2`."""
    if "fsdp2" not in StrategyRegistry:
        StrategyRegistry.register("fsdp2", Sharded, description="weights that train spread over the ranks")
