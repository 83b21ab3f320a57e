"""Reading lists from text files, with line numbers for errors."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import DataError, located

__all__ = [
    "MOST_BYTES",
    "base_of_list",
    "column_of",
    "first_lines",
    "found_beside",
    "numbered_lines",
    "read_names",
    "reading",
]

MOST_BYTES = 1 << 30
"""Largest size of a list of samples."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn errors of reading a text file into a DataError that names the file."""
    with located(file=str(path)):
        try:
            yield
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise DataError(f"this is no UTF-8 text: {error.reason}") from error


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number (from 1) and stripped text of each line that is not blank.

    Raises:
        DataError: the file cannot be read, is too large, or is no text.
    """
    with reading(path):
        if path.stat().st_size > MOST_BYTES:
            raise DataError("too large for a list")
        with path.open(encoding="utf-8-sig", newline=None) as file:
            for number, line in enumerate(file, 1):
                if text := line.strip():
                    yield number, text


def first_lines(path: Path, count: int = 8) -> list[str]:
    """Return the first lines of a file that are not blank; [] if it is no text."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError:
        return []
    if b"\0" in head:
        return []
    text = head.decode("utf-8-sig", errors="replace").splitlines()
    return [line.strip() for line in text if line.strip()][:count]


def read_names(path: Path) -> tuple[str, ...]:
    """Return the names of classes from a file with one name on each line.

    Raises:
        DataError: the file cannot be read, or has no names.
    """
    names = tuple(text for _, text in numbered_lines(path))
    if not names:
        with located(file=str(path)):
            raise DataError("there are no names of classes in the file", hint="one name a line")
    return names


def column_of(names: Sequence[str], wanted: Collection[str]) -> tuple[str, ...]:
    """Return the column of a list of classes that has all wanted names, in the order of classes.

    Lists of classes have lines such as `n01440764 tench` or `0 n01440764 tench`. A column that
    counts all lines from 0 says the order.

    Args:
        names: the lines.
        wanted: names that must occur.

    Returns:
        the column; the lines themselves where they have all names, or no column has them.
    """
    if set(wanted) <= set(names):
        return tuple(names)
    rows = [re.split(r"\s*[,;\t]\s*|\s+", name) for name in names]
    columns = list(zip(*(row[: min(map(len, rows))] for row in rows), strict=True))
    found = next((column for column in columns if set(wanted) <= set(column)), None)
    if found is None:
        return tuple(names)
    count = [str(number) for number in range(len(rows))]
    order = next((column for column in columns if sorted(column) == sorted(count)), count)
    return tuple(name for _, name in sorted(zip(map(int, order), found, strict=True)))


def found_beside(name: str, folders: Sequence[Path]) -> Path | None:
    """Return the file with a name; None if there is none.

    A relative name is looked for in the working directory first, and then in the folders. So it has
    the same meaning as for the program that the text was written for.
    """
    path = Path(name)
    candidates = [path] if path.is_absolute() else [path, *(folder / path for folder in folders)]
    return next((candidate for candidate in candidates if candidate.exists()), None)


def base_of_list(path: Path, names: Sequence[str]) -> Path:
    """Return the folder that relative paths in a list of images start from.

    It is the first of the working directory, the folder of the list and the folder above it that
    has the list's first image.

    Args:
        path: the list.
        names: the first path in the list, and other forms of it that are tried.

    Raises:
        DataError: the image is not found.
    """
    for name in names:
        found = found_beside(name, [path.parent, path.parent.parent])
        if found is not None:
            return Path(str(found).removesuffix(str(Path(name))) or ".")
    raise DataError(
        f"there is no image '{names[0]}'",
        hint="--root names the folder that relative paths start from",
    )
