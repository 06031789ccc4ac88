"""Plain nested values, as YAML and JSON give them, into typed dataclasses.

Every complaint is one line that names the full dotted key.
"""

import difflib
import math
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from dreamdist3d.errors import UserError, clipped, shown

T = TypeVar("T")

_LARGEST = 2**63
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "null"}


def build(cls: type[T], values: Any, where: str) -> T:
    """Make a dataclass, with all the dataclasses in it, from nested mappings.

    Whole numbers become floats where a float is wanted, lists become tuples; keys that are left out
    keep their defaults.

    Args:
        where: the file or place the values come from; it opens every message.

    Raises:
        UserError: an unknown key (the nearest known one is named) or a value of the wrong type.
    """
    for key in _unknown_keys(cls, values, ""):
        raise unknown_key(cls, key, where)
    return _section(cls, values, "", where)


def demand(valid: bool, key: str, value: object, wanted: str) -> None:
    """What a dataclass asks of its values in `__post_init__`; `build` adds the section and the file.

    Raises:
        ValueError: it is not so; one line.
    """
    if not valid:
        raise ValueError(f"{key}={shown(value)} does not work; it must be {wanted}.")


def annotation_of(cls: type, key: str) -> Any:
    """The type that the dotted `key` is declared with below the dataclass `cls`; None when there is no such key."""
    annotation: Any = cls
    for name in key.split("."):
        annotation = get_type_hints(annotation).get(name) if is_dataclass(annotation) else None
    return annotation


def accepts(annotation: Any, kind: type) -> bool:
    """Whether a declared type is `kind`, such as `str` or any `list`, or a union that has it."""
    return any(kind in (choice, get_origin(choice)) for choice in (annotation, *_alternatives(annotation)))


def known_keys(cls: Any, prefix: str = "") -> Iterator[str]:
    """Every dotted key below a dataclass, sections among them."""
    for name, annotation in get_type_hints(cls).items():
        yield prefix + name
        if is_dataclass(annotation):
            yield from known_keys(annotation, f"{prefix}{name}.")


def nearest_key(cls: type, key: str) -> str | None:
    """The known key most like `key`: first one with the same last name, then one spelt alike."""
    known, key = list(known_keys(cls)), clipped(key)
    name = key.rpartition(".")[2]
    same_name = [k for k in known if k.rpartition(".")[2] == name]
    return next(iter(difflib.get_close_matches(key, same_name or known, n=1, cutoff=0.0 if same_name else 0.6)), None)


def unknown_key(cls: type, key: str, where: str) -> UserError:
    """The error for a dotted key that `cls` does not know."""
    near = nearest_key(cls, key)
    hint = f"Did you mean {near}?" if near else f"Known here: {', '.join(get_type_hints(cls))}."
    return UserError(f"{where}: {clipped(key)} is not a known key. {hint}")


def _unknown_keys(cls: type, values: Any, prefix: str) -> Iterator[str]:
    """The dotted keys in `values` that `cls` does not declare."""
    hints = get_type_hints(cls)
    for name, value in values.items() if isinstance(values, Mapping) else ():
        if name not in hints:
            yield f"{prefix}{name}"
        elif is_dataclass(hints[name]):
            yield from _unknown_keys(hints[name], value, f"{prefix}{name}.")


def _section(cls: Any, values: Any, key: str, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise _wrong(key or "the file", "a section of keys", values, where)
    hints = get_type_hints(cls)
    prefix = f"{key}." if key else ""
    parts = {name: _convert(hints[name], value, prefix + name, where) for name, value in values.items()}
    try:
        return cls(**parts)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {key or 'the file'}: {error}") from error


def _convert(annotation: Any, value: Any, key: str, where: str) -> Any:
    if is_dataclass(annotation):
        return _section(annotation, value, key, where)
    try:
        return _plain(annotation, value)
    except _Mismatch:
        raise _wrong(key, _describe(annotation), value, where) from None


class _Mismatch(Exception):
    """A value is not of the tried type."""


def _plain(annotation: Any, value: Any) -> Any:
    if alternatives := _alternatives(annotation):
        return _first_fit(alternatives, value)
    origin, of = get_origin(annotation), get_args(annotation)
    if annotation is Any or (origin is Literal and value in of):
        return value
    if origin in (tuple, list) and isinstance(value, list | tuple):
        return _sequence(origin, of, value)
    if origin is dict and isinstance(value, Mapping):
        return {str(name): _plain(of[1], item) for name, item in value.items()}
    if origin is None:
        return _scalar(annotation, value)
    raise _Mismatch


def _first_fit(alternatives: tuple[Any, ...], value: Any) -> Any:
    for alternative in alternatives:
        try:
            return _plain(alternative, value)
        except _Mismatch:
            continue
    raise _Mismatch


def _sequence(origin: type, of: tuple[Any, ...], value: Any) -> Any:
    fixed = origin is tuple and of[-1] is not Ellipsis
    if fixed and len(of) != len(value):
        raise _Mismatch
    kinds = of if fixed else of[:1] * len(value)
    return origin(_plain(kind, item) for kind, item in zip(kinds, value, strict=True))


def _scalar(kind: type, value: Any) -> Any:
    # bool is an int to Python, and `true` for a number of steps is a slip.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and kind in (int, float):
        return _number(kind, value)
    if kind in (int, float) or not isinstance(value, kind) or (kind is str and not _is_unicode(value)):
        raise _Mismatch
    return value


def _number(kind: type, value: float) -> float:
    """Finite, and such as every library can hold."""
    if not (-_LARGEST < value < _LARGEST if kind is int else abs(value) <= sys.float_info.max):
        raise _Mismatch
    if kind is int and value != math.floor(value):
        raise _Mismatch
    return kind(value)


def _is_unicode(text: Any) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, which no file can hold
        return False
    return True


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ()


def _describe(annotation: Any) -> str:
    if alternatives := _alternatives(annotation):
        return " or ".join(_describe(a) for a in alternatives)
    origin, of = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in of)
    if origin is tuple and of[-1] is not Ellipsis:
        return f"a list of {len(of)} ({', '.join(_describe(kind) for kind in of)})"
    if origin in (tuple, list):
        return f"a list of which each is {_describe(of[0])}"
    return _WORDS.get(annotation, getattr(origin or annotation, "__name__", str(annotation)))


def _wrong(key: str, wanted: str, value: Any, where: str) -> UserError:
    return UserError(f"{where}: {key} wants {wanted}, but was given {shown(value)} ({type(value).__name__}).")
