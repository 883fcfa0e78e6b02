"""Files from an address: fetched once, going on where a stop left off, complete or absent."""

from __future__ import annotations

import fcntl
import http.client
import os
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from pcclip.data.files import write_atomically
from pcclip.data.progress import progress_bar
from pcclip.errors import PcclipError
from pcclip.folders import sync_folder

_ATTEMPTS = 5
_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 20
_MEBIBYTE = 1 << 20


def fetch(url: str, file: Path) -> bool:
    """Downloads a file, unless it is there.

    What a stopped download has left is gone on with, if the server says that its file is the same as then and
    sends parts of files. Several processes may fetch the same file: one downloads, the others wait.

    Args:
        url: Its address.
        file: Where it goes.

    Returns:
        Whether the server has such a file.

    Raises:
        PcclipError: The server cannot be reached, or fails again and again.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    tag = file.with_name(f".{file.name}.part.tag")
    with part.open("ab") as out:
        fcntl.flock(out, fcntl.LOCK_EX)
        if not file.exists():
            for attempt in range(_ATTEMPTS):
                try:
                    if _go_on(url, out, tag):
                        break
                    problem = "the connection was closed before the end"
                except urllib.error.HTTPError as error:
                    if error.code == 404:
                        part.unlink(missing_ok=True)
                        return False
                    problem = f"HTTP {error.code} {error.reason}"
                    if error.code < 500 and error.code not in (408, 416, 429):
                        attempt = _ATTEMPTS
                except (OSError, http.client.HTTPException) as error:
                    problem = str(getattr(error, "reason", error))
                if attempt + 1 >= _ATTEMPTS:
                    raise PcclipError(
                        f"{url}: cannot be downloaded ({problem}); {out.tell():,} bytes are kept in {part}. "
                        f"Run the same command again to go on, or put the file at {file} by hand."
                    )
                time.sleep(0.2 * 2**attempt)
            out.flush()
            os.fsync(out.fileno())
            os.replace(part, file)
            tag.unlink(missing_ok=True)
            sync_folder(file.parent)
        elif os.fstat(out.fileno()).st_size == 0:
            part.unlink(missing_ok=True)  # made by opening it, after another process was done
    return True


def _go_on(url: str, out: IO[bytes], tag: Path) -> bool:
    """Downloads what is missing; whether that is all."""
    start = out.seek(0, os.SEEK_END)
    request = urllib.request.Request(url)
    known = tag.read_text() if tag.exists() else ""
    if start and known:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", known)
    try:
        response: Any = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing lies beyond what is there: it was whole, or the file has changed
            if error.headers.get("Content-Range", "").rpartition("/")[2] == str(start):
                return True
            out.seek(out.truncate(0))
        raise
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            start = out.seek(out.truncate(0))
            with suppress(FileNotFoundError):
                tag.unlink()
            validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
            if validator and not validator.startswith("W/"):
                write_atomically(tag, validator.encode())
        length = response.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        with progress_bar((total or 0) > 16 * _MEBIBYTE) as bar:
            task = bar.add_task(f"{url} (MiB)", total=(total or 0) // _MEBIBYTE, completed=start // _MEBIBYTE)
            while data := response.read(_CHUNK):
                out.write(data)
                out.flush()
                bar.update(task, completed=out.tell() // _MEBIBYTE)
    return total is None or out.tell() == total
