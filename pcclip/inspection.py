"""`pcclip inspect`: what is in a set, a bank, a model or a run, and whether it is as it was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pcclip.checksums import sha256_of
from pcclip.data.bank_files import BANK_FILE, BankError
from pcclip.data.inspect import inspect as inspect_set
from pcclip.data.progress import progress_bar, reading
from pcclip.data.remote.options import RemoteOptions
from pcclip.errors import PcclipError

_MODEL, _SUMMARY, _CONFIG = "open_clip_config.json", "summary.json", "config.yaml"
_TRANSFORMERS = "config.json"


def inspect(
    path: str,
    samples: int = 5,
    pictures: str | None = None,
    decode: bool = True,
    as_json: bool = False,
    remote: RemoteOptions | None = None,
) -> None:
    """Validate every record of a set and print what is in it; or check that a bank, model or run is whole.

    Args:
        path: A set (folder, tar, glob or brace pattern, here or at a URL), a bank, a model's folder or a run.
        samples: Number of records of a set to print.
        pictures: For triples: the picture set whose keys they name; missing pictures are faults.
        decode: Whether to decode every picture (slow, finds damaged ones).
        as_json: Whether to print the report of a set as json.
        remote: How a set's shards at URLs are fetched.

    Raises:
        PcclipError: Something is wrong; the faults have been printed.
    """
    folder = Path(path)
    if (folder / BANK_FILE).is_file():
        print(check_bank(folder))
    elif (folder / _SUMMARY).is_file() or (folder / _CONFIG).is_file():
        _check_all(folder, _parts_of_run(folder))
    elif any((folder / name).is_file() for name in (_MODEL, _TRANSFORMERS)):
        print(check_model(folder))
    elif runs := sorted(file.parent for file in folder.glob(f"*/{_CONFIG}")):
        raise PcclipError(f"{path}: is a folder of runs. Is {runs[-1]} meant?")
    elif folder.is_file() and folder.suffix != ".tar":
        raise PcclipError(
            f"{path}: is a file, but no tar. Name a set's folder, a bank, a model's folder or a run."
        )
    else:
        inspect_set(path, samples, pictures, decode, as_json, remote)


def check_bank(folder: Path) -> str:
    """Compares a bank's files with the checksums in `bank.json`, which reads all of it.

    Returns:
        What it is, for people.

    Raises:
        BankError: It cannot be read, or is not as it was written.
    """
    from pcclip.data.bank import Bank

    bank = Bank.open(folder, None)
    with reading([folder / name for name in bank.files]) as read:
        for name, digest in bank.files.items():
            if sha256_of(folder / name, read) != digest:
                raise BankError(
                    f"{folder / name}: damaged: its sha256 is not the one in {BANK_FILE}. Copy the bank "
                    "again, or delete it and build it again."
                )
    told = "as it was written" if bank.files else f"made before {BANK_FILE} had checksums"
    return f"{folder}: bank of {len(bank):,} pictures x {bank.dim} {bank.dtype}: {told}"


def check_model(folder: Path) -> str:
    """Loads a model, which compares its weights with the fingerprints that it carries.

    Returns:
        What it is, for people.

    Raises:
        PcclipError: It cannot be loaded, or is not as it was saved.
    """
    from pcclip.model.saved import META
    from pcclip.model.towers import load_towers

    count = sum(weight.numel() for weight in load_towers(f"local-dir:{folder}").parameters())
    told = (
        "as it was saved" if (folder / META).is_file() else f"not saved by pcclip: no {META} to compare with"
    )
    return f"{folder}: model of {count:,} parameters: {told}"


def _parts_of_run(run: Path) -> Iterator[Callable[[], str]]:
    from pcclip.callbacks.checkpoint_file import check
    from pcclip.evaluation.exhibits.files import FOLDER as EXHIBITS
    from pcclip.evaluation.exhibits.files import check_exhibits
    from pcclip.evaluation.finished import finished_runs
    from pcclip.evaluation.measured import RESULTS, Measured
    from pcclip.evaluation.record import FILE, read_record
    from pcclip.report.provenance import FILE as PROVENANCE
    from pcclip.report.provenance import read_provenance

    def summary() -> str:
        finished_runs([run])
        return f"{run / _SUMMARY}: as it was written"

    def checkpoint(file: Path) -> str:
        check(file)
        return f"{file}: as it was written"

    def results(folder: Path) -> str:
        if (folder / FILE).is_file():
            read_record(folder)
        return f"{folder}: results on {len(Measured.load(folder))} sets: as they were written"

    def provenance() -> str:
        known = read_provenance(run)
        count = 0 if known is None else len(known.starts)
        return f"{run / PROVENANCE}: record of {count} start(s): as it was written"

    def exhibits() -> str:
        return f"{run / EXHIBITS}: exhibits of {check_exhibits(run)} set(s): as they were written"

    if (run / _SUMMARY).is_file():
        yield summary
    if (run / PROVENANCE).is_file():
        yield provenance
    if (run / EXHIBITS).is_dir():
        yield exhibits
    for file in sorted((run / "checkpoints").glob("*.ckpt")):
        yield partial(checkpoint, file)
    for config in sorted(run.glob(f"*/{_MODEL}")):
        yield partial(check_model, config.parent)
    for folder in sorted({file.parent for file in (run / RESULTS).glob("*/*/*.npz")}):
        yield partial(results, folder)


def _check_all(run: Path, parts: Iterator[Callable[[], str]]) -> None:
    faults, listed = [], list(parts)
    with progress_bar(transient=True) as bar:
        task = bar.add_task(f"checking {run.name}", total=len(listed))
        for part in listed:
            try:
                print(part())
            except PcclipError as error:
                print(error)
                faults.append(str(error))
            bar.advance(task)
    if faults:
        raise PcclipError(f"{run}: {len(faults)} fault(s), the first: {faults[0]}")
