"""What files are that stand where others are expected: a web page, an archive, a pickle.

Downloads and copies go wrong in a few usual ways, and each leaves a file that its first bytes tell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["HDF5", "Foreign", "foreign", "is_text"]

HDF5 = b"\x89HDF\r\n\x1a\n"
"""The first bytes of an HDF5 file."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """What a file is, and what to do about it.

    Args:
        what: with its article ("a web page").
        advice: what to do, as a hint says it.
    """

    what: str
    advice: str


DOWNLOAD = "download the file itself (the raw file, not the page that shows it)"
UNPACK = "unpack it, and give the files in it"
EXPORT = "export the network to ONNX with the program that made it, and give the .onnx"
FETCH = "fetch the file itself: git lfs pull"
AGAIN = "download it again"

_PICKLE = re.compile(rb"\x80[\x02-\x05](?:\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19)?")
_TORCH_MAGIC = b"l\xfc\x9cF\xf9 j\xa8P\x19"
"""The number at the start of a checkpoint of PyTorch before 1.6 (serialization.py MAGIC_NUMBER)."""

_PREFIXES: tuple[tuple[bytes, Foreign], ...] = (
    (b"version https://git-lfs", Foreign("a Git LFS pointer", FETCH)),
    (b"version https://hawser", Foreign("a Git LFS pointer", FETCH)),
    (b"/annex/objects/", Foreign("a git-annex pointer", "fetch the file itself: git annex get")),
    (b"\x1f\x8b", Foreign("a gzip file", UNPACK)),
    (b"BZh", Foreign("a bzip2 file", UNPACK)),
    (b"\xfd7zXZ\0", Foreign("an xz file", UNPACK)),
    (b"\x28\xb5\x2f\xfd", Foreign("a zstd file", UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Foreign("a 7z archive", UNPACK)),
    (b"Rar!\x1a\x07", Foreign("a RAR archive", UNPACK)),
    (b"\x93NUMPY", Foreign("a numpy array (.npy)", "arrays are data: give it to --data")),
    (b"\x89PNG\r\n", Foreign("a PNG image", "images are data: give them to --data")),
    (b"\xff\xd8\xff", Foreign("a JPEG image", "images are data: give them to --data")),
    (b"%PDF-", Foreign("a PDF document", DOWNLOAD)),
    (b"\x7fELF", Foreign("a program", "give the files of the network")),
    (b"MZ\x90\0", Foreign("a program", "give the files of the network")),
    (b"ptrt", Foreign("an engine of TensorRT", "give the network that it was built from")),
    (b"ftrt", Foreign("an engine of TensorRT", "give the network that it was built from")),
    (b"7767517", Foreign("the text of an ncnn network (.param)", "give the network that it was "
                         "converted from")),
)  # fmt: skip
"""First bytes of files of one kind."""

_SERVER = re.compile(rb"\s*(?:\d{3}[:\s]+[A-Z]|Not Found|Access ?Denied|Forbidden|Bad Gateway)")
"""The texts that servers send in the place of a file: "404: Not Found"."""

_ZIP_KINDS: tuple[tuple[bytes, Foreign], ...] = (
    (b"/data.pkl", Foreign("a checkpoint of PyTorch", EXPORT)),
    (b"/constants.pkl", Foreign("a program of TorchScript", EXPORT)),
    (b"model.weights.h5", Foreign("a network of Keras (.keras)", EXPORT)),
    (b"[Content_Types].xml", Foreign("an office document", DOWNLOAD)),
    (b".npy", Foreign("a numpy archive (.npz)", "arrays are data: give it to --data")),
)
"""Names of members near the start of a zip file → what it is."""


def is_text(head: bytes) -> bool:
    """Whether bytes are text: no NUL, and at most 2 % other control characters."""
    control = sum(byte < 9 or 13 < byte < 32 or byte == 127 for byte in head[:4096])
    return b"\0" not in head[:4096] and control * 50 <= len(head[:4096])


def foreign(head: bytes) -> Foreign | None:
    """Return what a file is by its first bytes; None for what could be a network or its weights.

    HDF5 is no stranger: some programs keep weights in it.

    Args:
        head: the first bytes, at least some hundreds where the file has so many.
    """
    for prefix, found in _PREFIXES:
        if head.startswith(prefix):
            return found
    if head.startswith(b"PK\x03\x04"):
        return next(
            (found for name, found in _ZIP_KINDS if name in head[:4096]),
            Foreign("a zip archive", UNPACK),
        )
    if _PICKLE.match(head):
        torch = _TORCH_MAGIC in head[:32] or b"torch" in head[:4096]
        return Foreign("a checkpoint of PyTorch" if torch else "a pickle of Python", EXPORT)
    if head[16:20] == b"\xde\xc0\xef\xbe":
        return Foreign("a database (LMDB)", "databases are data: give its folder to --data")
    if head[257:262] == b"ustar":
        return Foreign("a tar archive", UNPACK)
    if head[4:8] == b"TFL3":
        return Foreign("a network of TensorFlow Lite", "give the network that it was made from")
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 1 << 32:
        return Foreign("a file of safetensors", EXPORT)
    return _text(head) if is_text(head) else None


def _text(head: bytes) -> Foreign | None:
    """Return what a text is that describes no network."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1024]
    if start.startswith(b"<"):
        if re.search(rb"<net\s+name=", start):
            return Foreign("the text of an OpenVINO network (.xml)",
                           "give the network that it was converted from")  # fmt: skip
        page = re.match(rb"<(?:!doctype|html|head|body|script|title)\b", start, re.IGNORECASE)
        return Foreign("a web page" if page else "an XML or HTML text", DOWNLOAD)
    if start.startswith(b"{"):
        return Foreign("a JSON text", DOWNLOAD)
    if _SERVER.match(start) and len(head) < 1024:
        return Foreign("the message of a server", AGAIN)
    return None
