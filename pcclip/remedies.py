"""What a user can do about errors that libraries raise: of memory, devices, disks, networks and workers."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator

from pcclip.errors import PcclipError, disk_error

_MEMORY = {
    "fit": "a smaller --data.batch_size; --trainer.precision=bf16-mixed; model.objective.chunk_rows below "
    "the batch, which computes the similarities in parts; --model.trainable=lora; or a smaller model",
    "validate": "a smaller --data.batch_size",
    "test": "a smaller --data.batch_size",
    "evaluate": "a smaller --batch_size",
    "bank": "a smaller --batch_size",
    "write": "a smaller model, or a smaller writer.init_args.engine.max_model_len",
}
_ALLOCATED = re.compile(r"ried to allocate ([\d.]+ ?\w+)|Unable to allocate ([\d.]+ \w+)")
_GPUS = re.compile(r"You requested gpu: (.*?)\s+But your machine only has: (\[.*?\])", re.S)
_NO_CUDA = re.compile(
    r"Found no NVIDIA driver|No CUDA GPUs are available|invalid device ordinal|Invalid device string"
    r"|Expected one of cpu, cuda"
)
_NO_GPU = re.compile(
    r"No supported gpu backend found|`?(CUDA|MPS|XLA)Accelerator`? can not run on your system"
)


def users_error(error: BaseException | None, verb: str) -> PcclipError | None:
    """The user's error in a chain of causes; None where it is a fault of the program.

    Args:
        error: What a verb has raised; jsonargparse and Lightning wrap what a constructor raises.
        verb: Which; the remedies name its settings.
    """
    for one in _chain(error):
        if isinstance(one, PcclipError):
            return one
        if (told := _told(one, verb)) is not None:
            return PcclipError(told)
        if (trouble := disk_error(one)) is not None:
            return trouble
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _told(error: BaseException, verb: str) -> str | None:
    if _is_of_a_dead_worker(error):
        return (
            "a process that reads data has died, of too little memory as a rule: give fewer workers. "
            "What was saved is kept: go on with it as after any stop."
        )
    if _is_of_memory(error):
        return _of_memory(error, verb)
    if (
        type(error).__name__ == "MisconfigurationException"
    ):  # Lightning's, of settings that do not go together
        return _of_the_trainer(str(error))
    if isinstance(error, ValueError) and str(error).startswith("You selected an invalid"):
        return _of_the_trainer(str(error).partition(" Find a complete list")[0])
    if isinstance(error, RuntimeError) and _NO_CUDA.search(str(error)):
        return (
            "the device that is asked for is not there, or torch cannot use it: give cpu or auto for the "
            f"device ({str(error).splitlines()[0][:120]})."
        )
    if type(error).__name__ == "InterpolationKeyError":  # OmegaConf's
        return _of_a_reference(error)
    return None


def _is_of_memory(error: BaseException) -> bool:
    # By names: torch may not be imported, and need not be for this.
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in text)
        or (isinstance(error, RuntimeError) and "CUDA out of memory" in text)
    )


def _of_memory(error: BaseException, verb: str) -> str:
    text = str(error)
    asked = _ALLOCATED.search(text)
    size = f" ({(asked[1] or asked[2]).strip()} were asked for)" if asked else ""
    place = "the GPU's memory" if "CUDA" in text else "memory"
    remedy = _MEMORY.get(verb, "smaller batches, fewer workers or fewer pictures")
    return f"{place} does not suffice{size}. Give {remedy}."


def _of_the_trainer(text: str) -> str:
    if found := _GPUS.search(text):
        has = found[2].count(",") + 1 if found[2] != "[]" else 0
        return (
            f"trainer.devices asks for the GPUs {found[1].strip()}, this machine has {has}: give at most as "
            "many, or --trainer.devices=auto. `nvidia-smi` lists them; CUDA_VISIBLE_DEVICES may hide some."
        )
    if _NO_GPU.search(text):
        return (
            "trainer.accelerator asks for a device that this machine does not have, or that torch cannot "
            "use: give --trainer.accelerator=auto or cpu; if there is one, check `nvidia-smi` and that torch "
            "was installed with CUDA (`python -c 'import torch; print(torch.version.cuda)'`)."
        )
    return f"the trainer's settings are refused: {' '.join(text.split())}"


def _of_a_reference(error: BaseException) -> str:
    name = re.search(r"resolved to '(?:\w+\.)?([^']+)'|key '\.*([^']+)'", str(error))
    key = ".".join(part for part in str(getattr(error, "full_key", "")).split(".")[1:] if part != "init_args")
    asked = (name[1] or name[2]).replace(".init_args", "") if name else "something"
    return f"{key}: refers to ${{{asked}}}, but there is no setting {asked}. Check it, or give a value."


def _is_of_a_dead_worker(error: BaseException) -> bool:
    """Whether torch says that a data worker has died, or could not take what a dead one had sent."""
    if isinstance(error, RuntimeError):
        return str(error).startswith("DataLoader worker (pid")
    if not isinstance(error, ConnectionError | EOFError | FileNotFoundError):
        return False
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_name == "_try_get_data" for frame, _ in frames)
