"""`pcclip inspect`: validates every record of a set and says what is in it."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pcclip.checksums import sha256_of
from pcclip.data.index import ShardIndex
from pcclip.data.indexes import load_indexes
from pcclip.data.inspection.checks import check_all
from pcclip.data.inspection.report import InspectReport
from pcclip.data.inspection.tally import Tally
from pcclip.data.inspection.view import show
from pcclip.data.progress import progress_bar, reading
from pcclip.data.records import Kind, Payload, ShardError, image_extension, stable_hash
from pcclip.data.remote.listing import remote_set
from pcclip.data.remote.options import RemoteOptions
from pcclip.data.remote.shard import RemoteShard, Shard, is_url
from pcclip.data.sets import SET_FILE, ShardSet, resolve_shards
from pcclip.errors import PcclipError

_ORIGIN = ("source", "split", "writer", "model", "prompt", "prompt_version", "licence", "noise", "captions")

__all__ = ["InspectReport", "inspect", "inspect_shards"]


def inspect(
    shards: str,
    samples: int = 5,
    pictures: str | None = None,
    decode: bool = True,
    as_json: bool = False,
    remote: RemoteOptions | None = None,
) -> None:
    """Validate every record of a set, and print what is in it.

    Args:
        shards: A set's folder, a tar, a glob, a brace pattern, or the URL of one.
        samples: Number of records to print.
        pictures: For triples: the picture set whose keys they name; missing pictures are faults.
        decode: Whether to decode every picture (slow, finds damaged ones).
        as_json: Whether to print the report as json.
        remote: How shards at URLs are fetched.

    Raises:
        PcclipError: Something is wrong; the faults have been printed.
    """
    report = inspect_shards(shards, samples, pictures, decode, True, remote)
    if as_json:
        print(report.to_json())
    else:
        show(report)
    if report.fault_count:
        raise PcclipError(f"{shards}: {report.fault_count} fault(s), the first: {report.faults[0]}")


def inspect_shards(
    shards: str | Sequence[str],
    samples: int = 5,
    pictures: str | Sequence[str] | None = None,
    decode: bool = True,
    progress: bool = False,
    remote: RemoteOptions | None = None,
) -> InspectReport:
    """Validates and counts; faults are collected in the report, not raised.

    Args:
        shards: As for `resolve_shards`.
        samples: Number of records to draw.
        pictures: For triples: the picture set whose keys they name.
        decode: Whether to decode every picture.
        progress: Whether to show progress on standard error.
        remote: How shards at URLs are fetched.

    Raises:
        PcclipError: The shards, or those of `pictures`, cannot be found at all.
    """
    if samples < 0:
        raise PcclipError(f"samples={samples}: give 0 or more")
    paths = resolve_shards(shards, remote)
    known = _key_hashes(resolve_shards(pictures, remote)) if pictures is not None else None
    report = InspectReport(str(shards), "pictures", shards=len(paths))
    _compare_with_set_file(report, shards, remote or RemoteOptions(), progress)
    indexes = []
    with progress_bar(progress, transient=True) as bar:
        task = bar.add_task("indexing shards", total=len(paths))
        for path in paths:
            report.bytes += path.bytes if isinstance(path, RemoteShard) else path.stat().st_size
            try:
                index = ShardIndex.load(path)
                _ = index.layout  # a shard at a URL is fetched, and compared with its sum in `set.json`
                indexes.append(index)
            except ShardError as error:
                report.fault(str(error))
            bar.advance(task)
    report.records = sum(len(index) for index in indexes)
    report.skipped = sum(index.skipped for index in indexes)
    report.kind, report.payload = _sniff(indexes)
    tally = Tally(report, indexes)
    with progress_bar(progress) as bar:
        task = bar.add_task(f"inspect {report.kind}", total=report.records)
        for number, checked in enumerate(check_all(indexes, report.kind, report.payload, decode)):
            tally.add(number, checked)
            bar.advance(task)
    tally.finish(known, samples)
    return report


def _sniff(indexes: Iterable[ShardIndex]) -> tuple[Kind, Payload | None]:
    """Kind and payload by the first record, so that sets without a `set.json` work as well."""
    for index in indexes:
        if len(index):
            extensions = index.extensions(0)
            if image_extension(extensions) is not None:
                return "pictures", None
            if "json" in extensions:
                return "triples", "keys" if len(extensions) == 1 else "pixels"
            return "pictures", None
    return "pictures", None


def _key_hashes(paths: Sequence[Shard]) -> npt.NDArray[np.uint64]:
    indexes = load_indexes(paths)
    return np.unique(np.fromiter((stable_hash(key) for index in indexes for key in index.keys), np.uint64))


def _compare_with_set_file(
    report: InspectReport, shards: str | Sequence[str], remote: RemoteOptions, progress: bool
) -> None:
    """Checks the shards' bytes against the sums in `set.json`, and notes what its card says.

    Those of shards at URLs are compared when these are fetched.
    """
    for spec in [shards] if isinstance(shards, str) else shards:
        folder = Path(spec)
        at_url = is_url(spec) and not spec.endswith(".tar") and not glob.has_magic(spec) and "{" not in spec
        if not at_url and not folder.is_dir():
            continue
        listed = remote_set(spec, remote) if at_url else ShardSet.load(folder)
        report.origin = {name: listed.card[name] for name in _ORIGIN if listed.card.get(name)}
        if at_url:
            continue
        with reading([folder / entry.name for entry in listed.shards], progress) as read:
            for entry in listed.shards:
                if sha256_of(folder / entry.name, read) != entry.sha256:
                    report.fault(
                        f"{folder / entry.name}: its sha256 is not the one in {SET_FILE}: it changed after "
                        "it was written. Copy it again, or write the set again."
                    )
