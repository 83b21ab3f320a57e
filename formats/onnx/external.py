"""External weights of an ONNX model: the files beside it are mapped, not read.

Source: onnx.proto (TensorProto.external_data: location, offset, length).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from ...core.errors import FormatError

__all__ = ["External", "map_external"]

MAPPED: Mapping[int, str] = {onnx.TensorProto.FLOAT: "<f4", onnx.TensorProto.FLOAT16: "<f2",
          onnx.TensorProto.DOUBLE: "<f8"}  # fmt: skip
"""Types that are mapped. Others are small (sizes, axes) and are read."""


@dataclass(frozen=True)
class External:
    """The mapped tensors by name, and their mapped files."""

    tensors: dict[str, ir.Tensor[np.ndarray]] = field(default_factory=dict)
    maps: dict[Path, mmap.mmap] = field(default_factory=dict)


def map_external(proto: onnx.ModelProto, folder: Path, inline: int) -> External:
    """Map the external float tensors of more than `inline` bytes.

    Args:
        proto: the model; it is not changed.
        folder: folder of the model. Files outside it are refused.
        inline: largest size in bytes of a tensor that is not mapped.

    Raises:
        FormatError: a file is missing or outside the folder, or a tensor does not fit its file.
    """
    found = External()
    for tensor in proto.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        path = _path(tensor.name, entries.get("location", ""), folder)
        offset = _number(tensor.name, entries, "offset", 0)
        kind = MAPPED.get(tensor.data_type)
        size = math.prod(tensor.dims) * np.dtype(kind or "u1").itemsize
        length = _number(tensor.name, entries, "length", size)
        if kind is None or size <= inline:
            continue
        if any(dim < 0 for dim in tensor.dims) or size != length:
            raise FormatError(
                f"tensor '{tensor.name[:80]}' of {list(tensor.dims)} has {length} bytes"
            )
        if path not in found.maps:
            found.maps[path] = _mapped(path)
        if offset + size > len(found.maps[path]):
            raise FormatError(
                f"tensor '{tensor.name[:80]}' ends at byte {offset + size}, but {path.name} holds "
                f"{len(found.maps[path])}"
            )
        values = np.frombuffer(found.maps[path], kind, math.prod(tensor.dims), offset)
        found.tensors[tensor.name] = ir.Tensor(values.reshape(tuple(tensor.dims)), name=tensor.name)
    return found


def _path(name: str, location: str, folder: Path) -> Path:
    """Return the file of a tensor.

    Raises:
        FormatError: the file is missing, or outside the folder.
    """
    path = folder / location
    if not location or not path.resolve().is_relative_to(folder.resolve()):
        raise FormatError(
            f"tensor '{name[:80]}' stands outside the model's folder: {location!r}",
            hint="external data must lie beside the model",
        )
    if not path.is_file():
        raise FormatError(f"{location}, which holds tensor '{name[:80]}', is missing")
    return path


def _number(name: str, entries: Mapping[str, str], key: str, default: int) -> int:
    text = entries.get(key, str(default))
    if not text.isdecimal():
        raise FormatError(f"tensor '{name[:80]}' has an impossible {key}: {text[:40]!r}")
    return int(text)


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise FormatError(f"{path.name} cannot be read: {error}") from error
