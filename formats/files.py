"""Identifying files by their content, and grouping a list of files into models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..core.errors import FormatError, Where, located
from ..core.packed import map_file, plain_path
from .impostors import head_of, refuse_stranger, sniffed, stranger
from .registry import FORMATS

__all__ = ["identify", "map_file", "models", "suffix_sets", "suffixes"]

WHOLE = "give .prototxt + .caffemodel, .cfg + .weights, or .onnx"

DATA = ".data"
"""Ends the names of files of weights beside an ONNX model."""


def suffix_sets() -> list[tuple[str, ...]]:
    """Return the usual suffixes of a model's files, one tuple for each format."""
    return [known.suffixes for known in FORMATS.values()]


def suffixes() -> tuple[str, ...]:
    """Return the usual suffixes of all files that belong to models."""
    return tuple(suffix for known in suffix_sets() for suffix in known)


def identify(path: Path) -> str | None:
    """Return the usual suffix for the content of a file; None if no format recognizes it.

    Raises:
        FormatError: there is no such file.
    """
    if path.is_dir():
        return None
    return sniffed(head_of(path))


def models(paths: Sequence[Path]) -> list[dict[str, Path]]:
    """Group files into models, each a complete set of files of one format by usual suffix.

    The content identifies a file. If that leaves a model incomplete (a file is broken or empty),
    the names of the files are used instead. A folder stands for the one model in it.

    Raises:
        FormatError: a file does not exist or belongs to no model, a model is incomplete, or a
            folder holds none or several.
    """
    for path in paths:
        if not path.exists():
            with located(file=str(path)):
                raise FormatError("no such file")
    if any(path.is_dir() for path in paths):
        paths = [file for path in paths for file in (_model_in(path) if path.is_dir() else [path])]
    names = [_named(path) for path in paths]
    contents: list[str | None] = []
    for path, name in zip(paths, names, strict=True):
        with located(file=str(path)):
            if path.is_file():
                refuse_stranger(head_of(path), name)
            contents.append(identify(path))
    guesses = ([c or n for c, n in zip(contents, names, strict=True)],
               [n or c for c, n in zip(contents, names, strict=True)])  # fmt: skip
    for kinds in guesses:
        found = _complete(paths, kinds)
        if found is not None:
            return found
    raise _incomplete(paths, guesses[0])


def _named(path: Path) -> str | None:
    """Return the usual suffix of a model's file in a name; None if there is none."""
    return next((suffix for suffix in path.suffixes[::-1] if suffix in suffixes()), None)


def _model_in(folder: Path) -> list[Path]:
    """Return the files of the one model in a folder.

    Raises:
        FormatError: there is none, or more than one; lists the files that may belong to one.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        suffix = _named(path) if path.is_file() else None
        if suffix is None or path.name.startswith(".") or plain_path(path).suffix == DATA:
            continue
        with located(file=str(path)):
            if stranger(head_of(path)) is None:  # a solver, for example
                found.setdefault(suffix, []).append(path)
    whole = [pair for pair in suffix_sets() if all(suffix in found for suffix in pair)]
    models = [[found[suffix] for suffix in pair] for pair in whole]
    if len(models) == 1 and all(len(files) == 1 for files in models[0]):
        return [file for (file,) in models[0]]
    shown = ", ".join(path.name for files in found.values() for path in files)
    where = Where(file=str(folder))
    if not models:
        raise FormatError(
            f"this folder holds no whole model: {shown or 'no file of one'}",
            hint=WHOLE,
            where=where,
        )
    raise FormatError(
        f"this folder holds more than one model: {shown}",
        hint="give the files of one of them",
        where=where,
    )


def _complete(paths: Sequence[Path], kinds: Sequence[str | None]) -> list[dict[str, Path]] | None:
    """Return the models in the order of their first files; None if one is incomplete."""
    found: list[dict[str, Path]] = []
    for path, kind in zip(paths, kinds, strict=True):
        if kind is None:
            return None
        pair = next(pair for pair in suffix_sets() if kind in pair)
        partial = next((m for m in found if len(m) < len(pair) and set(m) < set(pair)), None)
        if partial is None:
            found.append({kind: path})
        elif kind in partial:
            return None
        else:
            partial[kind] = path
    whole = all(any(set(model) == set(pair) for pair in suffix_sets()) for model in found)
    return found if whole else None


def _incomplete(paths: Sequence[Path], kinds: Sequence[str | None]) -> FormatError:
    """Return the error for files that do not form complete models."""
    missing = {suffix: text for known in FORMATS.values() for suffix, text in known.missing.items()}
    for path, kind in zip(paths, kinds, strict=True):
        where = Where(file=str(path))
        if kind is None:
            return FormatError(
                "neither a network description nor weights of a known format",
                hint=WHOLE,
                where=where,
            )
        if kinds.count(kind) == len(kinds):
            return FormatError(
                f"looks like a {kind} file, and {missing.get(kind, 'another file')} is missing",
                where=where,
            )
    shown = ", ".join(f"{path.name} ({kind})" for path, kind in zip(paths, kinds, strict=True))
    return FormatError(
        f"these files do not make up a model: {shown}",
        hint=WHOLE,
    )
