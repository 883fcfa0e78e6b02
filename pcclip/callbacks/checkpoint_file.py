"""The file of a checkpoint: whole or as it was before, and found out where it was damaged since."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from pcclip.data.files import write_atomically
from pcclip.errors import PcclipError

_REMEDY = "Copy it again from where it is whole, or begin a new run."


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints as PyTorch's files, written beside their place and renamed.

    Lightning's own are written to TMPDIR and moved: on another file system that is a copy, which a kill or a
    full disk cuts off after the former checkpoint is gone. And PyTorch does not look at the checksums that
    its files carry; here they are compared at loading, which takes another 0.6 seconds per GB.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            OSError: It cannot be written, and the one before is as it was.
        """
        if "://" in os.fspath(path):
            return super().save_checkpoint(checkpoint, path, storage_options)
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(path), buffer.getbuffer())
        return None

    def load_checkpoint(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read a checkpoint.

        Raises:
            PcclipError: It is damaged, or is none.
        """
        if "://" not in os.fspath(path):
            check(Path(path))
        try:
            return super().load_checkpoint(path, *args, **kwargs)
        except FileNotFoundError:
            raise
        except Exception as error:  # of zip, pickle and PyTorch
            told = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise PcclipError(f"{path}: damaged, or no checkpoint ({told}). {_REMEDY}") from error


def check(path: Path) -> None:
    """Compares a checkpoint with the checksums in it.

    Raises:
        PcclipError: It was damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile raises whatever it trips over
        raise PcclipError(f"{path}: damaged, or no checkpoint ({error}). {_REMEDY}") from error
    if wrong is not None:
        raise PcclipError(f"{path}: damaged: {wrong} in it is not as it was written. {_REMEDY}")
