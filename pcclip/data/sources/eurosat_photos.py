"""Finds EuroSAT's photos where torchvision, or a person, has put them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pcclip.errors import PcclipError

_MAX_BYTES = 1 << 24  # of a photo


@dataclass(frozen=True)
class Photos:
    """EuroSAT's photos, in a folder or in a zip.

    Args:
        place: The folder or the zip.
        names: Lists the file names of a class's photos.
        read: Reads a photo's bytes, given its class and its file name.
    """

    place: Path
    names: Callable[[str], list[str]]
    read: Callable[[str, str], bytes]


def find_photos(root: Path, download: bool = False) -> Photos:
    """Finds EuroSAT's photos under a folder, unpacked or in their zip.

    Raises:
        PcclipError: They are not there, and were not to be downloaded.
    """
    for folder in (root / "eurosat" / "2750", root / "2750"):
        if (folder / "Forest").is_dir():
            return _folder(folder)
    for archive in (root / "eurosat" / "EuroSAT.zip", root / "EuroSAT.zip"):
        if archive.is_file():
            return _archive(archive)
    if download:
        from torchvision.datasets import EuroSAT as Fetched  # imports torch, so only where it is needed

        try:
            Fetched(str(root), download=True)
        except (OSError, RuntimeError) as error:
            raise PcclipError(
                f"eurosat: the download into {root} failed ({error}). Put EuroSAT.zip into {root} by hand, "
                "or give 'root' the folder that has it."
            ) from error
        return find_photos(root)
    raise PcclipError(
        f"eurosat: no photos in {root}: looked for eurosat/2750/, 2750/, eurosat/EuroSAT.zip and "
        "EuroSAT.zip. Give the folder that has one of them as 'root', or set 'download: true'."
    )


def _folder(folder: Path) -> Photos:
    return Photos(
        folder,
        lambda name: [file.name for file in (folder / name).glob("*.jpg")],
        lambda name, photo: (folder / name / photo).read_bytes(),
    )


def _archive(path: Path) -> Photos:
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise PcclipError(f"{path}: is not a whole zip file ({error}). Fetch it again.") from error
    photos: dict[str, dict[str, zipfile.ZipInfo]] = {}
    for entry in archive.infolist():
        parts = entry.filename.split("/")
        if entry.filename.endswith(".jpg") and len(parts) > 1 and ".." not in parts and parts[0]:
            photos.setdefault(parts[-2], {})[parts[-1]] = entry

    def read(folder: str, name: str) -> bytes:
        entry = photos[folder][name]
        try:
            if entry.file_size > _MAX_BYTES:
                raise ValueError(f"it has {entry.file_size:,} bytes; a photo of EuroSAT has some thousands")
            return archive.read(entry)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, OSError) as error:
            raise PcclipError(
                f"{path}: {entry.filename} cannot be read ({error}). Fetch it again."
            ) from error

    return Photos(path, lambda name: list(photos.get(name, {})), read)
