"""Class names and prompts of the known sets, and a user's own in their place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pcclip.errors import PcclipError
from pcclip.untrusted import parse_json

_SHOWN = 5


@dataclass(frozen=True)
class Words:
    """What the data file of a set holds.

    Attributes:
        place: The file, for messages.
        source: Where labels, names and prompts come from.
        names: Class names by the set's own labels; empty where a library or the folders have them.
        prompts: Templates with one `{}`; the first is the one that serves alone.
        held_out: The same, for prompts that training does not use.
        key: Of the set in CLIP_benchmark's JSON files of class names and templates.
    """

    place: str
    source: str
    names: dict[str, str]
    prompts: tuple[str, ...]
    held_out: tuple[str, ...]
    key: str

    @classmethod
    def of(cls, name: str) -> Words:
        """The words of a set that comes with pcclip, such as `eurosat`; `photos` for any other."""
        place = resources.files(__package__) / "texts" / f"{name}.yaml"
        raw = _yaml(str(place), place.read_text("utf-8"))
        prompts, held_out = (_templates(raw[part], str(place)) for part in ("prompts", "held_out"))
        names = {str(label): str(text) for label, text in raw.get("names", {}).items()}
        return cls(str(place), raw["source"], names, prompts, held_out, raw.get("clip_benchmark", name))


def prompts_of(setting: str | Sequence[str], words: Words) -> tuple[str, ...]:
    """The templates that a setting asks for.

    Args:
        setting: `ensemble`: all that come with the set; `one`: the first of them; `openai`: OpenAI's 80 for
            ImageNet, from open_clip; a file (YAML or JSON: a list, `prompts: [...]`, or CLIP_benchmark's
            lists by set, with `{c}` for the class; txt: one a line); or the templates themselves.
        words: Of the set.

    Raises:
        PcclipError: There is no such file, or a template has not exactly one slot.
    """
    if not isinstance(setting, str):
        return _templates(setting, "the setting 'prompts'")
    if setting == "ensemble":
        return words.prompts
    if setting == "one":
        return words.prompts[:1]
    if setting == "openai":
        from open_clip import OPENAI_IMAGENET_TEMPLATES

        return _templates([template("{}") for template in OPENAI_IMAGENET_TEMPLATES], "open_clip")
    found = _entries(setting, words.key, "prompts")
    if isinstance(found, Mapping):
        raise PcclipError(
            f"{setting}: has prompts for each class of {words.key!r}; a set's prompts are templates for all "
            "classes. Give a list, or use them as class descriptions."
        )
    return _templates([str(text).replace("{c}", "{}") for text in found], setting)


def names_of(
    setting: str | Sequence[str] | Mapping[str, str] | None,
    words: Words,
    own: Sequence[str],
    place: Path,
    in_order: bool = False,
    allow_more: bool = False,
) -> dict[str, str]:
    """Class names by the set's own labels.

    Args:
        setting: Names by label, or a list of names, or a file of either (YAML, JSON, txt; also
            CLIP_benchmark's JSON of lists by set); None for the words' own.
        words: Of the set.
        own: The set's labels, in its own order.
        place: Where the set lies, for messages.
        in_order: Take a list to be in the order of the set's labels; else it is joined by name.
        allow_more: Leave out names of classes that the set has not.

    Raises:
        PcclipError: Labels and names cannot be joined; the message names both files.
    """
    where = setting if isinstance(setting, str) else words.place if setting is None else "'class_names'"
    found: Any = setting
    if setting is None:
        found = words.names or {label: label.replace("_", " ") for label in own}
    elif isinstance(setting, str):
        found = _entries(setting, words.key, "names")
    if not isinstance(found, Mapping):
        found = _by_label([str(name) for name in found], words, own, place, where, in_order)
    names = {str(label): str(name).strip() for label, name in found.items()}
    lacking = [label for label in own if not names.get(label)]
    unknown = sorted(names.keys() - set(own))
    if lacking or (unknown and not allow_more):
        raise PcclipError(
            f"{place}: {len(own)} classes, and {where} has {len(names)} names; labels without a name: "
            f"{_some(lacking)}; names for labels that the set has not: {_some(unknown)}. Give 'class_names' "
            "a file with LABEL: NAME for each label"
            + ("." if lacking else ", or set 'allow_missing: true' where the set is a part of a larger one.")
        )
    return {label: names[label] for label in own}


def _by_label(
    names: list[str], words: Words, own: Sequence[str], place: Path, where: str, in_order: bool
) -> dict[str, str]:
    if in_order:
        if len(names) != len(own):
            raise PcclipError(
                f"{where}: {len(names)} class names for the {len(own)} classes of {place}. A list that is "
                "taken in order has one for each class."
            )
        return dict(zip(own, names, strict=True))
    labels = {_plain(label): label for label in own}
    labels |= {_plain(words.names[label]): label for label in own if label in words.names}
    strange = [name for name in names if _plain(name) not in labels]
    found = {labels[_plain(name)]: name for name in names if _plain(name) in labels}
    if strange or len(found) < len(names):
        raise PcclipError(
            f"{where}: {len(names)} class names, a list, cannot be joined by name with the {len(own)} "
            f"classes of {place} ({_some(own)}); no label is like {_some(strange or names)}. Give LABEL: "
            "NAME for each label, or 'class_names_in_order: true' if you know that the list is in the order "
            "of the set's own classes."
        )
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", re.sub(r"^\d+\.", "", name.lower()))


def _entries(file: str, key: str, part: str) -> Any:
    """The list or the mapping that a user's file holds for the set."""
    path = Path(file)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PcclipError(
            f"{file}: cannot be read ({error}). Give 'prompts' and 'class_names' a YAML, JSON or txt file."
        ) from error
    if path.suffix == ".txt":
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        raw = parse_json(text) if path.suffix == ".json" else _yaml(file, text)
    except ValueError as error:
        raise PcclipError(f"{file}: is no JSON ({error}). Write it again.") from error
    if isinstance(raw, dict) and part in raw:
        raw = raw[part]
    elif isinstance(raw, dict) and any(isinstance(value, list | dict) for value in raw.values()):
        if key not in raw:
            raise PcclipError(f"{file}: has nothing for {key!r}; it has {_some(sorted(raw))}. Add {part!r}.")
        raw = raw[key]
    if not isinstance(raw, list | dict) or not raw:
        raise PcclipError(f"{file}: should hold a list or LABEL: NAME entries, holds {raw!r:.60}.")
    return raw


def _yaml(place: str, text: str) -> Any:
    try:
        return OmegaConf.to_container(OmegaConf.create(text))
    except Exception as error:  # of several parsers below OmegaConf
        raise PcclipError(f"{place}: is no YAML ({error}). Write it again.") from error


def _templates(templates: Iterable[str], where: str) -> tuple[str, ...]:
    found = tuple(str(template) for template in templates)
    for template in found:
        if template.count("{}") != 1 or template.count("{") != 1 or template.count("}") != 1:
            raise PcclipError(
                f"{where}: the prompt {template!r} should have one {{}}, for the class, and no other brace."
            )
    if not found:
        raise PcclipError(f"{where}: has no prompt. Zero-shot classification needs one.")
    return found


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return (shown + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")) or "none"
