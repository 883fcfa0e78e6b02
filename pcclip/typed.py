"""Dataclasses out of JSON that anyone may have edited: each value has its field's type, or a ValueError."""

from __future__ import annotations

import dataclasses
import types
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
_SCALARS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    types.NoneType: "null",
}
_BITS = 64


def read_as(kind: type[T], value: object, where: str = "it") -> T:
    """A dataclass from what `parse_json` gave; dataclasses, lists, dicts and unions in it likewise.

    Args:
        kind: The dataclass.
        value: The JSON.
        where: Name of the value in errors.

    Raises:
        ValueError: A value is of another type, absent, or none of the class's; the message says which.
    """
    found: T = _read(kind, value, where)
    return found


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _instance(kind, value, where)
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value, where)
    if origin is list and isinstance(value, list):
        return [_read(arguments[0], one, f"{where}[{number}]") for number, one in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {key: _read(arguments[1], one, f"{where}.{key}") for key, one in value.items()}
    if origin is None and type(value) is kind and not (kind is int and value.bit_length() > _BITS):
        return value
    if kind is float and type(value) is int and value.bit_length() <= _BITS:
        return float(value)
    raise ValueError(f"{where} is not {_named(kind)}")


def _instance(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not an object")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := value.keys() - fields.keys():
        raise ValueError(f"{where} has {min(unknown)!r}, which is not known")
    for name, field in fields.items():
        if name not in value and field.default is field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where} lacks {name!r}")
    return kind(**{name: _read(hints[name], one, f"{where}.{name}") for name, one in value.items()})


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    errors = []
    for kind in kinds:
        try:
            return _read(kind, value, where)
        except ValueError as error:
            errors.append(str(error))
    raise ValueError(errors[0] if len(set(errors)) == 1 else " and ".join(dict.fromkeys(errors)))


def _named(kind: Any) -> str:
    return _SCALARS.get(kind) or {list: "a list", dict: "an object"}.get(get_origin(kind), str(kind))
