"""Caffe's protobuf messages, built at their first use from the schema in :mod:`.schema`.

The descriptors are in a pool of their own, so that they do not collide with an installed Caffe.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from .schema import ENUMS, MESSAGES

__all__ = ["FieldInfo", "fields_of", "message_class"]

_FIELD = re.compile(r"(\w+) ([\w.]+)([*+]?) (\d+)(?: =(?: (.+))?)?")
_SCALARS = {
    "double": 1, "float": 2, "int64": 3, "uint64": 4, "int32": 5, "bool": 8, "string": 9,
    "bytes": 12, "uint32": 13,
}  # fmt: skip
_PACKAGE = "caffe"


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """One field of a message. `type` is a scalar type, or the name of a message or an enum."""

    name: str
    type: str
    number: int
    repeated: bool
    packed: bool
    default: str | None

    @property
    def is_message(self) -> bool:
        """Whether the field holds a message."""
        return self.type in MESSAGES


@functools.cache
def fields_of(name: str) -> dict[str, FieldInfo]:
    """Return the fields of a message of the schema by name; empty for an unknown message."""
    found = {}
    for text in MESSAGES.get(name, "").split(";"):
        if not text.strip():
            continue
        match = _FIELD.fullmatch(text.strip())
        assert match is not None, text
        field, kind, mark, number, default = match.groups()
        found[field] = FieldInfo(field, kind, int(number), bool(mark), mark == "+", default)
    return found


def message_class(name: str) -> type[message.Message]:
    """Return the protobuf class of a message, such as "LayerParameter"."""
    return _classes()[name]


@functools.cache
def _classes() -> dict[str, type[message.Message]]:
    """Return the protobuf classes of all messages by name."""
    file = descriptor_pb2.FileDescriptorProto(
        name="secateur/caffe.proto", package=_PACKAGE, syntax="proto2"
    )
    holders: dict[str, Any] = {}
    for name in sorted(MESSAGES, key=lambda n: n.count(".")):
        outer, _, inner = name.rpartition(".")
        holder = holders[outer].nested_type.add() if outer else file.message_type.add()
        holder.name = inner
        holders[name] = holder
    for name, text in ENUMS.items():
        outer, _, inner = name.rpartition(".")
        enum = (holders[outer] if outer else file).enum_type.add()
        enum.name = inner
        for word in text.split(", "):
            value, number = word.split()
            enum.value.add(name=value, number=int(number))
    for name, holder in holders.items():
        for info in fields_of(name).values():
            _add_field(holder, info)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in MESSAGES
    }


def _add_field(holder: Any, info: FieldInfo) -> None:
    field = holder.field.add(name=info.name, number=info.number, label=3 if info.repeated else 1)
    if info.type in _SCALARS:
        field.type = _SCALARS[info.type]
    else:
        field.type = 11 if info.is_message else 14
        field.type_name = f".{_PACKAGE}.{info.type}"
    if info.packed:
        field.options.packed = True
    if info.default is not None:
        field.default_value = info.default
