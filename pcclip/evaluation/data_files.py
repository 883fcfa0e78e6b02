"""Data files in YAML: a user's, or one of those that pcclip has."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from pcclip.errors import PcclipError
from pcclip.evaluation.questions import Fields
from pcclip.untrusted import parse_yaml


def read_data_file(path: Path, what: str, packaged: Path, schema: int) -> Fields:
    """Reads a file.

    Args:
        path: Of the file.
        what: What the file is, for messages: `question sheet`.
        packaged: Folder of those that pcclip has, for a near name.
        schema: The one that is understood.

    Raises:
        PcclipError: The file cannot be read, is not YAML, or of another schema.
    """
    try:
        raw: Any = parse_yaml(path.read_text("utf-8"))
    except OSError as error:
        names = sorted(file.stem for file in packaged.glob("*.yaml"))
        near = difflib.get_close_matches(path.stem, names, 1)
        raise PcclipError(
            f"{path}: cannot be read ({error.strerror}). Give the path of a {what} (YAML), or the name of "
            f"one that pcclip has: {', '.join(near or names)}."
        ) from error
    except ValueError as error:
        raise PcclipError(f"{path}: is not YAML ({error})") from error
    fields = Fields(raw, str(path))
    if fields.raw.get("schema") != schema:
        raise fields.error(f"has schema {fields.raw.get('schema')!r}, this version reads {schema}")
    return fields
