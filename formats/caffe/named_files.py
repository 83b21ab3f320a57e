"""Files that a net names: small ones go with it to another folder, others are found from there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...core.data.text import found_beside
from ...core.errors import FormatError, located
from .document import Document, Insert, Message, Replace, Scalar
from .new_layer import quoted

__all__ = ["NamedFiles", "named_files"]

_SMALL = ("mean_file", "label_map_file", "name_size_file")
"""Fields that name files of a net itself. Source: caffe.proto, that of the SSD fork."""
_DATA = ("source", "root_folder")
"""Fields that name data, or the file of a loss (`infogain_loss_param`)."""
MOST_BYTES = 1 << 26
"""Largest file that is copied."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedFiles:
    """A net that stands in another folder.

    Args:
        text: the net with paths that lead to the same files.
        files: name → content of the small files, which go with it.
        missing: line, field and path of what was not found.
    """

    text: bytes
    files: dict[str, bytes]
    missing: tuple[tuple[int, str, str], ...]


def named_files(document: Document, folder: Path) -> NamedFiles:
    """Return a net for another folder.

    Args:
        document: the net.
        folder: where relative paths start from, after the working directory.

    Raises:
        FormatError: a file cannot be read, or two files have one name.
    """
    edits: list[Replace | Insert] = []
    files: dict[str, bytes] = {}
    origins: dict[str, Path] = {}
    missing: list[tuple[int, str, str]] = []
    for holder, field, value in _paths(document.root, ""):
        found = found_beside(value.text, [folder]) if value.text else None
        if found is None:
            missing.append((value.line, field, value.text))
            continue
        small = field in _SMALL or holder == "infogain_loss_param"
        if not small or found.is_dir() or found.stat().st_size > MOST_BYTES:
            end = "/" if value.text.endswith("/") else ""
            if not Path(value.text).is_absolute():
                edits.append(Replace(value, quoted(f"{found.resolve()}{end}")))
            continue
        with located(file=document.file, line=value.line, field=field):
            same = origins.setdefault(found.name, found)
            if same.resolve() != found.resolve():
                raise FormatError(f"two files have the name {found.name}")
            files[found.name] = _content(found)
        edits.append(Replace(value, quoted(found.name)))
    return NamedFiles(
        text=bytes(document.replace(edits)) if edits else document.data, files=files,
        missing=tuple(missing),
    )  # fmt: skip


def _paths(message: Message, name: str) -> Iterator[tuple[str, str, Scalar]]:
    """Yield the message, the field and the value of every path."""
    for field in message.fields:
        if isinstance(field.value, Message):
            yield from _paths(field.value, field.name)
        elif field.name in _SMALL or field.name in _DATA:
            yield name, field.name, field.value


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror or error}") from error
