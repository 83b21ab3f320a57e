"""Files that are not what they are given as: each is called what it is, with what to do."""

from __future__ import annotations

import re
from pathlib import Path

from ..core.errors import FormatError
from ..core.foreign import EXPORT, HDF5, Foreign, foreign, is_text
from ..core.packed import head_bytes
from .registry import FORMATS, HEAD_BYTES

__all__ = ["head_of", "refuse_impostor", "refuse_stranger", "sniffed", "stranger"]

_PROTOTXT = re.compile(rb"\s*(?:name|layers?|input|input_dim|input_shape|force_backward)\s*[:{]")
"""How a text of Caffe begins; lines `key=value` of a cfg without its [net] do not."""


def head_of(path: Path) -> bytes:
    """Return the first :data:`~.registry.HEAD_BYTES` of a file, unpacked.

    Raises:
        FormatError: it cannot be read.
    """
    return head_bytes(path, HEAD_BYTES)


def sniffed(head: bytes) -> str | None:
    """Return the usual suffix for the first bytes of a file; None if no format knows them."""
    if not head.strip():
        return None
    found = (known.sniff(head) for known in sorted(FORMATS.values(), key=lambda one: one.rank))
    return next((suffix for suffix in found if suffix is not None), None)


def stranger(head: bytes) -> Foreign | None:
    """Return what a file is that belongs to no model; None if it may belong to one."""
    own = (known.relative(head) for known in FORMATS.values() if known.relative is not None)
    return next((found for found in own if found is not None), None) or foreign(head)


def refuse_stranger(head: bytes, wanted: str | None) -> None:
    """Raise if a file belongs to no model.

    Args:
        head: its first bytes.
        wanted: the usual suffix of what it is given as; None if nobody knows.

    Raises:
        FormatError: says what it is.
    """
    found = stranger(head)
    if found is not None:
        expected = f"a {wanted} file" if wanted else "a file of a model"
        raise FormatError(f"this is {found.what}, not {expected}", hint=found.advice)


def refuse_impostor(head: bytes, wanted: str) -> None:
    """Raise if a file is known to be something else than what it is given as.

    A file that merely looks broken passes: its reader says where.

    Args:
        head: its first bytes.
        wanted: the usual suffix of what it is given as (".caffemodel").

    Raises:
        FormatError: says what it is.
    """
    refuse_stranger(head, wanted)
    found = sniffed(head)
    if found == wanted or found is None:
        return
    if head.startswith(HDF5):
        raise FormatError(
            f"this is an HDF5 file, not a {wanted} file",
            hint=f"weights of Caffe in HDF5 go with their .prototxt; for a network of Keras, "
            f"{EXPORT}",
        )
    text = next((known.suffixes[0] for known in FORMATS.values() if wanted in known.suffixes), "")
    if text == wanted and is_text(head) and not _other_text(head, found):
        return
    pair = next(known.suffixes for known in FORMATS.values() if wanted in known.suffixes)
    plain = is_text(head) and not _other_text(head, found)
    raise FormatError(
        f"this {'is a text' if plain else f'looks like a {found} file'}, not a {wanted} file",
        hint=f"give {' + '.join(pair)} of one model" if len(pair) > 1 else f"give a {pair[0]}",
    )


def _other_text(head: bytes, found: str) -> bool:
    """Whether a text is surely of the other format, not a broken one of its own."""
    start = re.sub(rb"(?m)^\s*[#;].*$", b"", head.removeprefix(b"\xef\xbb\xbf")).lstrip()
    return start[:1] == b"[" or (found == ".prototxt" and _PROTOTXT.match(start) is not None)
