"""Archives with data: `.zip`, and `.tar`, packed or not.

What an archive holds is unpacked into a folder of its own among the system's temporary files, and
read from there like any folder; the folder goes with the data. Messages name the archive.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from ..errors import DataError, SecateurError, Where, located
from ..packed import head_bytes, most_unpacked, open_plain
from .base import Dataset, TargetKind
from .opening import kind_of
from .registry import Opening
from .stream import ImageSource, ImageStream, Sample

__all__ = ["is_archive", "open_archive"]

MOST_FILES = 2_000_000
"""Files of one archive. ImageNet has 1.4 million."""

MOST_AT_ONCE = 1 << 26
"""Bytes that may be read from an archive at once: headers that claim more are broken."""

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
"""Usual ends of names of archives."""

CHUNK = 1 << 20

_TAR_MAGIC = slice(257, 262)
"""Where a header of a tar archive says "ustar" (POSIX.1-1988)."""

_PLAIN_ZIP = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
"""Ways of packing whose readers take bounded memory."""

Member = tuple[str, IO[bytes]]
"""The name of a file in an archive, and its bytes."""


def is_archive(path: Path) -> bool:
    """Whether a file begins as a zip or a tar archive does."""
    if not path.is_file():
        return False
    try:
        head = head_bytes(path, 512, DataError, named=False)
    except DataError:
        return path.name.lower().endswith(SUFFIXES)  # whoever reads it says what is wrong
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06")) or head[_TAR_MAGIC] == b"ustar"


def open_archive(path: Path, opening: Opening) -> Dataset:
    """Open what an archive holds.

    Raises:
        DataError: the archive is broken, holds no data, or something that must not be unpacked.
    """
    inside = _Inside(path)
    with inside.opened():
        with located(file=str(path)):
            _unpack(path, inside.folder)
        root = _only_folder(inside.folder)
        dataset = kind_of(root, opening).open(root, opening)
    if isinstance(dataset, ImageStream):
        return dataset.of(_Archived(dataset.source, inside))
    kept: Any = dataset
    kept.name, kept.archive = str(path), inside
    return dataset


class _Inside:
    """A folder that stands for an archive, as long as anything reads from it."""

    def __init__(self, path: Path):
        self.path = str(path)
        self.folder = Path(tempfile.mkdtemp(prefix="secateur-"))
        self._close = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def named(self, text: str) -> str:
        """Return a text in which the archive stands for the folder."""
        return text.replace(str(self.folder), self.path)

    def where(self, where: Where) -> Where:
        """Return a place in the archive."""
        return replace(where, file=self.named(where.file)) if where.file else where

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Remove the folder at once where nothing can be opened."""
        try:
            with self.told():
                yield
        except BaseException:
            self._close()
            raise

    @contextmanager
    def told(self) -> Iterator[None]:
        """Let errors name the archive."""
        try:
            yield
        except SecateurError as error:
            error.message = self.named(error.message)
            error.where = self.where(error.where)
            raise


class _Archived:
    """The images of a folder that stands for an archive."""

    def __init__(self, source: ImageSource, inside: _Inside):
        self._source, self._inside = source, inside
        self.name = inside.path

    def __getattr__(self, name: str) -> Any:
        """Return what only some sources have: names of classes, labels in memory."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._source, name)

    @property
    def target_kind(self) -> TargetKind:
        """What is known of each image."""
        return self._source.target_kind

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int, *, gray: bool) -> Sample:
        """Return an image with what is known of it."""
        with self._inside.told():
            sample = self._source.read(index, gray=gray)
        return replace(sample, where=self._inside.where(sample.where))

    def classes_in(self, index: int) -> Any:
        """Return the classes in an image, where its source can tell them."""
        with self._inside.told():
            own: Any = self._source
            return own.classes_in(index)

    def place_of(self, index: int) -> Where:
        """Return where the label of an image stands."""
        own: Any = self._source
        return self._inside.where(own.place_of(index))

    def unlabelled(self) -> ImageSource:
        """Return the same images without what is known of them."""
        return _Archived(ImageStream.plain(self._source), self._inside)


def _unpack(path: Path, folder: Path) -> None:
    """Write the files of an archive into an empty folder.

    Raises:
        DataError: the archive is broken, too large, or a name leads out of the folder.
    """
    left, files = most_unpacked(path.stat().st_size), 0
    with _reading(), closing(_members(path)) as members:
        for name, data in members:
            files += 1
            target = _target(folder, name)
            if target is None:
                continue
            if files > MOST_FILES:
                raise DataError(f"the archive holds more than {MOST_FILES} files")
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                while part := data.read(CHUNK):
                    left -= len(part)
                    if left < 0:
                        raise DataError(
                            "unpacked, the archive is more than a hundred times as large",
                            hint="if that is right, unpack it yourself",
                        )
                    file.write(part)


@contextmanager
def _reading() -> Iterator[None]:
    """Turn what broken archives raise into a DataError."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"the archive is broken: {error}", hint="copy it again") from error
    except NotImplementedError as error:
        raise DataError(f"the archive is packed in a way that is not read: {error}") from error
    except OSError as error:
        raise DataError(f"the archive cannot be unpacked: {error.strerror or error}") from error


def _target(folder: Path, name: str) -> Path | None:
    """Return where a file of an archive goes; None for what file managers leave in archives.

    Raises:
        DataError: the name leads out of the folder.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
        raise DataError(
            f"'{name[:80]}' would lie outside of the folder that it is unpacked to",
            hint="make the archive anew, with relative paths",
        )
    if any(part.startswith(".") or part == "__MACOSX" for part in parts):
        return None
    return folder.joinpath(*parts)


def _members(path: Path) -> Generator[Member, None, None]:
    """Yield the files of an archive in their order.

    Raises:
        DataError: one is a link or encrypted.
    """
    with open_plain(path, DataError, named=False) as file:
        if file.read(2) == b"PK":
            yield from _zip_members(file)
        else:
            file.seek(0)
            yield from _tar_members(file)


def _zip_members(file: BinaryIO) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            if info.flag_bits & 1:
                raise DataError(f"'{info.filename[:80]}' is encrypted")
            if stat.S_ISLNK(info.external_attr >> 16):
                raise _link(info.filename)
            if info.compress_type not in _PLAIN_ZIP:
                raise NotImplementedError(f"method {info.compress_type}")
            with archive.open(info) as data:
                yield info.filename, data


def _tar_members(file: BinaryIO) -> Iterator[Member]:
    # The module reads what a header claims at once; `_Careful` refuses more than any header needs.
    careful: Any = _Careful(file)
    with tarfile.open(fileobj=careful, mode="r:") as archive:
        opened: Any = archive
        for member in archive:
            if member.issym() or member.islnk():
                raise _link(member.name)
            data = archive.extractfile(member) if member.isfile() else None
            opened.members = []  # it would keep every header
            if data is not None:
                yield member.name, data


def _link(name: str) -> DataError:
    return DataError(
        f"'{name[:80]}' is a link, which is not unpacked",
        hint="unpack the archive yourself, and give the folder",
    )


class _Careful:
    """A file that is read in parts of bounded size."""

    def __init__(self, file: BinaryIO):
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes.

        Raises:
            DataError: more are wanted than any header has.
        """
        if not 0 <= size <= MOST_AT_ONCE:
            raise DataError("the archive is broken: a header claims to be too long")
        return self._file.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        """Go to a place."""
        return self._file.seek(place, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()


def _only_folder(folder: Path) -> Path:
    """Return the folder that holds more than one folder; archives often have one around all."""
    while True:
        entries = list(folder.iterdir())
        if len(entries) != 1:
            return folder
        if not entries[0].is_dir():
            return folder
        folder = entries[0]
