"""Telling files apart by their content, and models apart in a list of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import FormatError, Where, located

__all__ = ["PAIRS", "identify", "models"]

HEAD = 65536
"""Bytes of a file that are looked at."""

PAIRS: tuple[tuple[str, ...], ...] = (
    (".prototxt", ".caffemodel"),
    (".cfg", ".weights"),
    (".onnx",),
)
"""The files of a model in each format, by their usual suffixes."""

SUFFIXES = tuple(suffix for pair in PAIRS for suffix in pair)


@dataclass(frozen=True, slots=True)
class Signature:
    """A test that recognises one kind of binary file by its first bytes."""

    suffix: str
    matches: Callable[[bytes], bool]


def _is_weights(head: bytes) -> bool:
    """Three small int32 version numbers, then the number of images seen."""
    return len(head) >= 16 and all(
        0 <= int.from_bytes(head[k : k + 4], "little", signed=True) < 1 << 16 for k in (0, 4, 8)
    )


_BINARY = (
    Signature(".weights", _is_weights),
    Signature(".onnx", lambda head: head[:1] == b"\x08"),
    Signature(".caffemodel", lambda head: head[:8] == b"\x89HDF\r\n\x1a\n"),
    # NetParameter: name (1), layers (2), input (3), or layer (100) comes first.
    Signature(
        ".caffemodel",
        lambda head: head[:1] in (b"\x0a", b"\x12", b"\x1a") or head[:2] == b"\xa2\x06",
    ),
)


def identify(path: Path) -> str | None:
    """Return the usual suffix of what a file holds, or None where the content does not say.

    Raises:
        FormatError: there is no such file.
    """
    if path.is_dir():
        return None
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror or error}") from error
    if not head.strip():
        return None
    if _is_text(head):
        return _text_kind(head)
    return next((s.suffix for s in _BINARY if s.matches(head)), None)


def models(paths: Sequence[Path]) -> list[dict[str, Path]]:
    """Sort files into models: usual suffix → path, each a complete set of one format.

    Content decides what a file is; where that leaves a model incomplete (a broken or empty file),
    the names decide.

    Raises:
        FormatError: a file is missing, or its partner is.
    """
    for path in paths:
        if not path.exists():
            with located(file=str(path)):
                raise FormatError("no such file")
    contents: list[str | None] = []
    for path in paths:
        with located(file=str(path)):
            contents.append(identify(path))
    names = [next((s for s in path.suffixes[::-1] if s in SUFFIXES), None) for path in paths]
    guesses = ([c or n for c, n in zip(contents, names, strict=True)],
               [n or c for c, n in zip(contents, names, strict=True)])  # fmt: skip
    for kinds in guesses:
        found = _complete(paths, kinds)
        if found is not None:
            return found
    raise _incomplete(paths, guesses[0])


def _complete(paths: Sequence[Path], kinds: Sequence[str | None]) -> list[dict[str, Path]] | None:
    """Return the models in order of their first file, or None where one is incomplete."""
    found: list[dict[str, Path]] = []
    for path, kind in zip(paths, kinds, strict=True):
        if kind is None:
            return None
        pair = next(pair for pair in PAIRS if kind in pair)
        partial = next((m for m in found if len(m) < len(pair) and set(m) < set(pair)), None)
        if partial is None:
            found.append({kind: path})
        elif kind in partial:
            return None
        else:
            partial[kind] = path
    whole = all(any(set(model) == set(pair) for pair in PAIRS) for model in found)
    return found if whole else None


def _incomplete(paths: Sequence[Path], kinds: Sequence[str | None]) -> FormatError:
    what: Mapping[str, str] = {
        ".prototxt": "a .caffemodel with its weights",
        ".caffemodel": "its .prototxt",
        ".cfg": "a .weights file",
        ".weights": "its .cfg",
    }
    for path, kind in zip(paths, kinds, strict=True):
        where = Where(file=str(path))
        if kind is None:
            return FormatError(
                "neither a network description nor weights of a known format",
                hint="give .prototxt + .caffemodel, .cfg + .weights, or .onnx",
                where=where,
            )
        if kinds.count(kind) == len(kinds):
            return FormatError(
                f"looks like a {kind} file, and {what.get(kind, 'another file')} is missing",
                where=where,
            )
    shown = ", ".join(f"{path.name} ({kind})" for path, kind in zip(paths, kinds, strict=True))
    return FormatError(
        f"these files do not make up a model: {shown}",
        hint="give .prototxt + .caffemodel, .cfg + .weights, or .onnx",
    )


def _is_text(head: bytes) -> bool:
    """Whether the bytes read as text: no NUL, and few other control characters."""
    control = sum(byte < 9 or 13 < byte < 32 for byte in head[:4096])
    return b"\0" not in head[:4096] and control * 50 <= len(head[:4096])


def _text_kind(head: bytes) -> str | None:
    """Return ".cfg" where the first line that counts opens a section, else ".prototxt"."""
    for line in head.removeprefix(b"\xef\xbb\xbf").splitlines():
        text = line.strip()
        if text and text[:1] not in (b"#", b";"):
            if text.startswith(b"<"):
                return None
            return ".cfg" if text.startswith(b"[") else ".prototxt"
    return None
