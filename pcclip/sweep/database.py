"""The file `SWEEP/sweep.db`: a study of Optuna in SQLite."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcclip.errors import PcclipError
from pcclip.folders import sync_folder

if TYPE_CHECKING:
    import optuna

FILE = "sweep.db"
DEFINITION = "definition"
"""What all trials have in common, as a user attribute of the study."""
_STUDY = "sweep"
_WAIT = 60.0  # seconds for another process's transaction


def load(folder: Path) -> optuna.Study | None:
    """The study of a sweep's folder; None where there is none.

    Raises:
        PcclipError: It cannot be read.
    """
    import optuna

    if not (folder / FILE).is_file():
        return None
    with told(folder):
        try:
            return optuna.load_study(study_name=_STUDY, storage=_open(folder / FILE))
        except KeyError as error:
            raise PcclipError(
                f"{folder / FILE}: holds no sweep. Remove it, or name another folder"
            ) from error


def create(file: Path, definition: Mapping[str, Any], objectives: int) -> None:
    """Makes the storage, whole or not at all: a kill amidst it would leave tables that nobody can use."""
    import optuna

    partial = file.with_name(f".{file.name}.partial")
    for left in file.parent.glob(f"{partial.name}*"):  # its journal too
        left.unlink()
    storage = _open(partial)
    study = optuna.create_study(study_name=_STUDY, storage=storage, directions=["maximize"] * objectives)
    study.set_user_attr(DEFINITION, definition)
    storage.engine.dispose()
    sync_folder(partial)
    os.rename(partial, file)
    sync_folder(file.parent)


def _open(file: Path) -> optuna.storages.RDBStorage:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.storages.RDBStorage(f"sqlite:///{file}", engine_kwargs={"connect_args": {"timeout": _WAIT}})


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Errors of the storage as the user's."""
    import optuna
    import sqlalchemy.exc

    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        what = str(error).splitlines()[0]
        raise PcclipError(
            f"{folder / FILE}: cannot be read or written ({what}). If it is damaged, give this sweep another "
            "`name`, which begins anew; else check the disk, and the same command goes on"
        ) from error
