"""Reading the declared fields of a layer class from its message."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Collection
from typing import Any

from ...core.errors import FormatError, located
from ...proto.caffe import fields_of
from ..adapter import REQUIRED, Key, keys_of
from .document import Field, Message, Scalar

__all__ = ["check_schema", "is_pair", "places", "read_fields", "read_float", "unread_fields"]

_TRUE, _FALSE = {"true", "True", "t", "1"}, {"false", "False", "f", "0"}
_LARGEST = 2**32


def is_pair(field: dataclasses.Field[Any]) -> bool:
    """Whether a field was declared with `pair`: one repeated name, or a name each for h and w."""
    return bool(field.metadata.get("pair"))


def read_fields(cls: type, message: Message, param: str, layer_name: str = "") -> dict[str, Any]:
    """Return attribute → value for every declared field in a message.

    Args:
        cls: dataclass whose fields were declared with `key` or `pair`.
        message: the layer's message.
        param: name of the inner message that holds the fields; "" if the layer's message does.
        layer_name: path of a nested message; "" for a layer.

    Raises:
        FormatError: a field is missing, has another type, or is given twice; names line and field.
    """
    hints = _hints(cls)
    values = {}
    for name, (declared, key) in keys_of(cls).items():
        label = _label(param, layer_name, (key.names or (name,))[0])
        if is_pair(declared):
            values[name] = _read_pair(message, param, key)
            if not values[name] and declared.default is REQUIRED:
                with located(field=label):
                    raise FormatError("required, but missing")
            continue
        found: tuple[Field, ...] = ()
        for alternative in key.names or (name,):
            found = places(message, param, alternative)
            if found:
                label = _label(param, layer_name, alternative)
                break
        if not found:
            if declared.default is REQUIRED:
                with located(line=message.line, field=label):
                    raise FormatError("required, but missing")
            continue
        with located(line=found[0].line, field=label):
            values[name] = _convert(hints[name], found, key, label)
    return values


def places(message: Message, param: str, name: str) -> tuple[Field, ...]:
    """Return the fields with a declared name.

    Args:
        message: the layer's message.
        param: name of the inner message that holds the fields.
        name: the name, with dots between nested names. With a leading "/", it is a name in the
            layer's message.
    """
    path = name.lstrip("/").split(".")
    if param and not name.startswith("/"):
        path = [param, *path]
    holders = [message]
    for step in path[:-1]:
        holders = [inner for holder in holders for inner in holder.messages(step)]
    return tuple(field for holder in holders for field in holder.all(path[-1]))


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _label(param: str, outer: str, name: str) -> str:
    if name.startswith("/"):
        return name[1:]
    return ".".join(part for part in (outer, param, name) if part)


def _read_pair(message: Message, param: str, key: Key) -> tuple[int, ...]:
    """Return the numbers of a `pair` as they are given: none, one for all axes, or one an axis."""
    both, *single = (places(message, param, name) for name in key.names)
    label = _label(param, "", key.names[0])
    given = [fields for fields in (both, *single) if fields]
    if not given:
        return ()
    with located(line=given[0][0].line, field=label):
        if both and any(single):
            raise FormatError(f"give {key.names[0]} or {' and '.join(key.names[1:])}, not both")
        if both:
            return tuple(_int(field.value) for field in both)
        if any(len(fields) > 1 for fields in single):
            raise FormatError("given twice")
        return tuple(_int(fields[0].value) if fields else 0 for fields in single)


def _convert(hint: Any, found: tuple[Field, ...], key: Key, label: str) -> Any:
    """Return the value of all fields of a name, in the type of the hint."""
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        if typing.get_origin(inner) is tuple:
            return tuple(_dims(field.value) for field in found)
        return tuple(_single(inner, field, key, label) for field in found)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
        if typing.get_origin(hint) is tuple:
            return _convert(hint, found, key, label)
    if len(found) > 1:
        with located(line=found[1].line):
            raise FormatError("given twice")
    return _single(hint, found[0], key, label)


def _dims(value: Scalar | Message) -> tuple[int, ...]:
    if isinstance(value, Scalar):
        raise FormatError("a shape { dim: … } is expected")
    return tuple(_int(field.value) for field in value.all("dim"))


def _single(hint: Any, field: Field, key: Key, label: str) -> Any:
    """Return the value of one field, in the type of the hint."""
    value = field.value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, Scalar):
            raise FormatError("a message in { } is expected")
        return hint(**read_fields(hint, value, "", label))
    if isinstance(value, Message):
        raise FormatError("a value is expected, not a message")
    if key.choices:
        return _choice(value, key)
    if hint is str:
        if not value.quoted:
            raise FormatError(f"a string in quotes is expected, not {value.text}")
        return value.text
    if value.quoted:
        raise FormatError("a number is expected, not a string")
    if hint is bool:
        return _bool(value)
    return _int(value) if hint is int else _float(value)


def _choice(value: Scalar, key: Key) -> str:
    numbers = key.numbers or range(len(key.choices))
    by_number = {str(n): word for n, word in zip(numbers, key.choices, strict=True)}
    word = by_number.get(value.text, value.text)
    if word not in key.choices:
        raise FormatError(f"'{value.text}' is none of {', '.join(key.choices)}")
    return word


def _bool(value: Scalar) -> bool:
    if value.text in _TRUE or value.text in _FALSE:
        return value.text in _TRUE
    raise FormatError(f"'{value.text}' is neither true nor false")


def _int(value: Scalar | Message) -> int:
    if isinstance(value, Message) or value.quoted:
        raise FormatError("a whole number is expected")
    digits = value.text.lstrip("-")
    octal = len(digits) > 1 and digits.startswith("0") and digits[1] not in "xX"
    try:
        number = int(digits, 8 if octal else 0)
    except ValueError:
        raise FormatError(f"'{value.text[:40]}' is not a whole number") from None
    if number > _LARGEST:
        raise FormatError(f"{number} is too large")
    return -number if value.text.startswith("-") else number


def _float(value: Scalar) -> float:
    return read_float(value.text)


def read_float(written: str) -> float:
    """Return a number as protobuf's text form writes it.

    Raises:
        FormatError: it is no finite number.
    """
    text = written.rstrip("fF") if written[-4:].lower() not in ("inf", "-inf") else written
    try:
        number = float(text)
    except ValueError:
        raise FormatError(f"'{written[:40]}' is not a number") from None
    if not math.isfinite(number):
        raise FormatError(f"{written} is no finite number")
    return number


def check_schema(
    message: Message, forks: Collection[str] = (), schema: str = "NetParameter"
) -> list[str]:
    """Check a whole document against Caffe's schema.

    Args:
        message: the root of the document.
        forks: names of messages that Caffe does not know, but that some layer class reads.
        schema: name of the message type in the schema.

    Returns:
        a note for every field that Caffe does not know. Such fields are kept, but not read.

    Raises:
        FormatError: a field that is not repeated is given twice, or a message stands in the place
            of a value, or a value in that of a message.
    """
    known = fields_of(schema)
    notes = []
    seen: set[str] = set()
    for field in message.fields:
        info = known.get(field.name)
        if info is None:
            if field.name in forks:
                continue
            notes.append(f"line {field.line}: field {field.name} is not Caffe's own")
            continue
        with located(line=field.line, field=field.name):
            if field.name in seen and not info.repeated:
                raise FormatError("given twice, but it can only stand once")
            if isinstance(field.value, Message) is not info.is_message:
                wanted = "a message in { }" if info.is_message else "a value"
                raise FormatError(f"{wanted} is expected")
            seen.add(field.name)
            if isinstance(field.value, Message):
                notes += check_schema(field.value, forks, info.type)
    return notes


def unread_fields(cls: type, message: Message, param: str) -> list[tuple[str, str]]:
    """Return (message, field) of all fields that neither Caffe nor the layer class knows.

    Only messages that Caffe knows are checked: messages of forks may have any fields.

    Args:
        cls: the layer class.
        message: the layer's message.
        param: name of the inner message that holds the fields of the class.
    """
    info = fields_of("LayerParameter").get(param)
    if info is None:
        return []
    known = set(fields_of(info.type))
    for name, (_, key) in keys_of(cls).items():
        known.update(given.lstrip("/").split(".")[0] for given in key.names or (name,))
    return [
        (param, field.name)
        for holder in message.messages(param)
        for field in holder.fields
        if field.name not in known
    ]
