"""Data that people name, divided by what it is for: training, validation, test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...core.data.naming import is_made
from ...core.errors import DataError, FormatError, SecateurError, UnsupportedError
from ...core.foreign import is_text
from ...core.ir.network import Preprocess
from ...formats.caffe.data.named import NamedData, named_data
from ...formats.darknet.data.data_file import read_data_file
from ...formats.files import identify

__all__ = ["Split", "is_pruner_config", "splits_of"]

FOLDERS: Mapping[str, tuple[str, ...]] = {
    "training": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test",),
}
"""Usual names of the folders of the parts of data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """A part of data.

    Args:
        path: where it is.
        root: folder that paths in a list start from; None for the usual ones.
        names: file with the names of the classes; None for none.
        batch: samples of an update that a train_val states; None where none does.
        top, shape: the blob with the images of a train_val, and the shape of one; "" and () for
            none.
        preprocess: how images become inputs, as a train_val says; None where none does.
    """

    path: Path
    root: Path | None = None
    names: Path | None = None
    batch: int | None = None
    top: str = ""
    shape: tuple[int, ...] = field(default=())
    preprocess: Preprocess | None = None


def splits_of(path: Path, *, detector: bool) -> dict[str, Split]:
    """Return what data is for → that part of it; all of it is for training where it has no parts.

    A `.data` file names lists, a train_val databases for its phases; folders may be called train,
    val and test.

    Args:
        path: the data.
        detector: whether it is for a network that finds objects.

    Raises:
        DataError: nothing is there, or what it names is not.
        FormatError: a train_val names no data.
        UnsupportedError: its data is of a kind that is not read.
    """
    if not path.exists():
        hint = f"leave it out, and write `calibration: {path}` into the file"
        raise DataError(f"there is no data at '{path}'", hint=hint if is_made(path) else None)
    if path.suffix.lower() == ".data" and path.is_file():
        return _of_data_file(path, detector=detector)
    if path.is_file() and path.suffix.lower() == ".prototxt" and identify(path) == ".prototxt":
        return _of_train_val(path)
    if path.is_dir():
        parts = _of_folders(path)
        if "training" in parts and len(parts) > 1:
            return parts
    return {"training": Split(path=path)}


def _of_data_file(path: Path, *, detector: bool) -> dict[str, Split]:
    data = read_data_file(path)
    keys = ("names", "labels") if detector else ("labels", "names")
    names = data.file(*keys)
    lists = {
        "training": data.file("train"),
        "validation": data.file("valid"),
        "test": data.file("test"),
    }
    found = {role: Split(path=file, names=names) for role, file in lists.items() if file}
    if not found:
        raise DataError(f"'{path}' names no images", hint="train=, valid=")
    return found


def _of_train_val(path: Path) -> dict[str, Split]:
    """Return the data of both phases, or of the one that names any that is there.

    Raises:
        DataError, FormatError, UnsupportedError: neither does.
    """
    found: dict[str, Split] = {}
    failed: list[SecateurError] = []
    for role, phase in (("training", "TRAIN"), ("validation", "TEST")):
        try:
            found[role] = _named(named_data(path, phase))
        except (DataError, FormatError, UnsupportedError) as error:
            failed.append(error)
    if not found:
        raise failed[-1]
    return found


def _named(data: NamedData) -> Split:
    return Split(
        path=data.path, root=data.root, batch=data.batch, top=data.top, shape=data.shape,
        preprocess=data.preprocess,
    )  # fmt: skip


def _of_folders(path: Path) -> dict[str, Split]:
    """Return the subfolders that are called as parts of data are."""
    found = {}
    for role, names in FOLDERS.items():
        folders = [path / name for name in names if (path / name).is_dir()]
        if folders:
            found[role] = Split(path=folders[0])
    return found


def is_pruner_config(files: Sequence[Path]) -> bool:
    """Whether the only file is a config of vai_p_caffe: a text that names a workspace, no layer."""
    if len(files) != 1 or not files[0].is_file():
        return False
    with files[0].open("rb") as file:
        head = file.read(1 << 16)
    if not is_text(head):
        return False
    lines = [line.strip() for line in head.splitlines()]
    named = any(line.partition(b":")[0].strip() == b"workspace" for line in lines if b":" in line)
    return named and not any(line.startswith((b"layer", b"[")) for line in lines)
