"""Saving a model: render, write to a temporary folder, read again, compare, and move into place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.data import Dataset
from ..core.data.arrays import AnyData, as_dataset
from ..core.data.probe import found_labels, without_labels
from ..core.errors import FormatError, UnsupportedError, located
from ..core.files import same_bytes, write_synced
from ..core.ir.network import Network, Piece
from ..core.ir.windows import restored
from ..core.packed import plain_path, plain_size
from ..core.progress import Progress, silent
from ..core.pruning.companions import verify_companions
from ..core.pruning.result import PruneResult
from ..core.verify.equivalence import verify_equal
from ..core.verify.identity import same
from ..core.verify.small_input import with_noise
from .files import suffixes
from .registry import FORMATS, Format

__all__ = [
    "PLAN_NAME", "Saved", "check_free", "check_target", "file_bytes", "render", "reread", "save",
    "stored_bytes", "written_for",
]  # fmt: skip

PLAN_NAME = "plan.yaml"

DATA = ".onnx.data"
"""The suffix of a file of weights beside an ONNX model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """The files that were written.

    Args:
        paths: the files of the model.
        plan: the plan beside them; None if there is none.
        difference: the largest relative difference between the outputs of the written files and
            those of the network in memory.
        as_read: whether the files are those that the network was read from, byte for byte.
        companions: further descriptions of the network that were written with it.
    """

    paths: tuple[Path, ...]
    plan: Path | None
    difference: float
    as_read: bool = False
    companions: tuple[Path, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the model's files."""
        return sum(path.stat().st_size for path in self.paths)


def render(network: Network, suffix: str | None = None) -> Mapping[str, bytes]:
    """Return the files of a network by suffix: in its own format, or as ONNX for ".onnx".

    Raises:
        UnsupportedError: the network does not come from the format of `suffix`.
    """
    name = _name(network, Path(f"{network.name}{suffix}"), suffix, ".onnx")
    return {end: b"".join(parts) for end, parts in _pieces(network, suffix, name).items()}


def written_for(network: Network, folder: Path, format_name: str) -> dict[str, Path]:
    """Write a network to a folder for a program that reads files; nothing is verified.

    Args:
        network: the network.
        folder: where its files are written, as "model" with their suffixes.
        format_name: of the files: that of its source, or one that any network can be written in.

    Raises:
        UnsupportedError: the network cannot be written so.
        FormatError: the folder cannot be written.
    """
    known = FORMATS[format_name]
    suffix = None if known.export is None else known.suffixes[0]
    paths = {}
    for end, parts in _pieces(network, suffix, f"model{suffix or ''}").items():
        paths[end] = folder / f"model{end}"
        try:
            with paths[end].open("wb") as file:
                file.writelines(parts)
        except OSError as error:
            with located(file=str(paths[end])):
                raise _cannot_write(error) from error
    return paths


def _pieces(network: Network, suffix: str | None, name: str) -> Mapping[str, Sequence[Piece]]:
    """Return the parts of each file by suffix; `name` is the file name of an ONNX model."""
    source = network.source
    export = _exporter(network, suffix)
    if export is not None:
        return export(restored(network), name)
    assert source is not None, "a network without a source is exported"
    files = source.pieces(network)
    if suffix is not None and suffix not in files:
        raise _other_format(files, suffix)
    return files


def _exporter(
    network: Network, suffix: str | None
) -> Callable[[Network, str], Mapping[str, Sequence[Piece]]] | None:
    """Return the export function of a suffix; None if the network's own format writes it."""
    own = network.source.format if network.source is not None else None
    for known in FORMATS.values():
        if known.export is not None and (
            suffix in known.suffixes or own is None or (suffix is None and own == known.name)
        ):
            return known.export
    return None


def save(
    pruned: Network | PruneResult,
    target: str | os.PathLike[str],
    *,
    data: AnyData | None = None,
    progress: Progress = silent,
) -> Saved:
    """Write a network, verify that the files compute the same, and move them into place.

    The companions that it was loaded with are written beside it, under their own names. All texts
    are read again with the written weights before any file is moved.

    Args:
        pruned: the network to write, or the result of a pruning. The plan of a result is written
            with it.
        target: a directory or a file. In a directory, the files keep the base names of the inputs.
            A file names the output itself; its partner is written beside it. ".onnx" writes ONNX.
        data: inputs for the verification *written = dense*; None for noise.
        progress: called as the verification goes on.

    Raises:
        UnsupportedError: the format of `target` is not the network's own, or has no place for its
            companions.
        FormatError: the target cannot be written, or an input would be overwritten.
        VerificationError: the written files do not compute the same. No file is left behind.
    """
    data = as_dataset(data, pruned.network if isinstance(pruned, PruneResult) else pruned)
    if data is not None and found_labels(data):
        data = without_labels(data)  # broken ones are no reason to leave out inputs
    network, plan = (
        (pruned.network, pruned.plan) if isinstance(pruned, PruneResult) else (pruned, None)
    )
    target = Path(target)
    suffix = None if target.is_dir() else _suffix(target)
    files = _pieces(network, suffix, _name(network, target, suffix, ".onnx"))
    folder = target.parent if suffix else target
    paths = {end: folder / _name(network, target, suffix, end) for end in files}
    further = _companions(network, folder, paths)
    plan_path = folder / PLAN_NAME if plan is not None else None
    with located(file=str(target)):
        _refuse_inputs(network, (*paths.values(), *further))
    with _temporary_folder(target, folder) as temporary:
        written = {end: temporary / path.name for end, path in paths.items()}
        for end, parts in files.items():
            write_synced(written[end], parts)
        for path, content in further.items():
            write_synced(temporary / path.name, [content])
        beside = [temporary / path.name for path in further]
        as_read = _as_read(network, written)
        difference = 0.0 if as_read else _verified(network, written, beside, data, progress)
        if plan is not None and plan_path is not None:
            write_synced(temporary / PLAN_NAME, [plan.to_yaml().encode()])
            (temporary / PLAN_NAME).replace(plan_path)
        for path in (*paths.values(), *further):
            (temporary / path.name).replace(path)
    return Saved(
        paths=tuple(paths.values()),
        plan=plan_path,
        difference=difference,
        as_read=as_read,
        companions=tuple(further),
    )


def check_target(
    network: Network,
    target: str | os.PathLike[str],
) -> None:
    """Check before long work that a network made of this one can be written.

    Folders that have to be made are made for a moment.

    Args:
        network: the network, as it was read.
        target: as for :func:`save`.

    Raises:
        UnsupportedError: the format of `target` is not the network's own.
        FormatError: the target cannot be written, an input would be overwritten, a folder has the
            name of a file, or a companion describes another network.
    """
    target = Path(target)
    suffix = None if target.is_dir() else _suffix(target)
    if _exporter(network, suffix) is not None:
        ends: Iterable[str] = (suffix or ".onnx",)
    else:
        assert network.source is not None, "a network without a source is exported"
        ends = network.source.paths
        if suffix is not None and suffix not in ends:
            raise _other_format(ends, suffix)
    folder = target.parent if suffix else target
    paths = {end: folder / _name(network, target, suffix, end) for end in ends}
    further = _companions(network, folder, paths)
    with located(file=str(target)):
        _refuse_inputs(network, (*paths.values(), *further))
    for path in (*paths.values(), *further, folder / PLAN_NAME):
        check_free(path)
    missing = _first_missing(folder)
    with _temporary_folder(target, folder):
        pass
    if missing is not None:
        shutil.rmtree(missing, ignore_errors=True)


def check_free(path: Path) -> None:
    """Raise if a folder stands where a file is to be written.

    Raises:
        FormatError: names it.
    """
    if path.is_dir():
        with located(file=str(path)):
            raise FormatError(
                "cannot be written: a folder has this name", hint="choose another directory"
            )


def _other_format(files: Iterable[str], suffix: str) -> UnsupportedError:
    own = " + ".join(files)
    return UnsupportedError(
        f"a network read from {own} cannot be written as {suffix}",
        hint=f"networks are written back in their own format ({own}) or as .onnx",
    )


def _suffix(target: Path) -> str | None:
    """Return the suffix of a model's file in lower case; None for any other path."""
    suffix = target.suffix.lower()
    return suffix if suffix in suffixes() else None


@contextmanager
def _temporary_folder(target: Path, folder: Path) -> Iterator[Path]:
    """Yield a new folder inside `folder`, which is created if necessary.

    The new folder is removed at the end. After an error, the directories that were created for it
    are removed as well.

    Args:
        target: what the user asked for, for messages.
        folder: where the files will be in the end.

    Raises:
        FormatError: a file or a directory cannot be written.
    """
    missing = _first_missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".secateur-", dir=folder))
    except OSError as error:
        with located(file=str(target)):
            raise _cannot_write(error) from error
    done = False
    try:
        yield temporary
        done = True
    except OSError as error:
        raise _cannot_write(error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not done and missing is not None:
            shutil.rmtree(missing, ignore_errors=True)


def _cannot_write(error: OSError) -> FormatError:
    return FormatError(f"cannot be written: {error.strerror or error}")


def _companions(network: Network, folder: Path, paths: Mapping[str, Path]) -> dict[Path, bytes]:
    """Return the content of each companion by the path it is to be written to.

    Raises:
        UnsupportedError: the network was changed without them, or is written in another format.
        FormatError: two outputs have the same name.
    """
    found: dict[Path, bytes] = {}
    companions = network.source.companions(network) if network.source is not None else {}
    for companion, content in companions.items():
        path = folder / plain_path(companion).name
        with located(file=str(companion)):
            if _exported(paths) is not None:
                raise UnsupportedError(
                    "companions are further descriptions of a Caffe or Darknet network",
                    hint="write the network in its own format, or load it without them",
                )
            if path in found or path in paths.values():
                raise FormatError("another output bears the same name")
            found[path] = content
    return found


def reread(
    network: Network, written: Mapping[str, Path], companions: Sequence[Path] = ()
) -> Network:
    """Read the written files of a network again, with the settings it was read with.

    Args:
        network: the network.
        written: its written files by suffix.
        companions: its written companions, in their order.

    Raises:
        FormatError: a file cannot be read.
    """
    exported = _exported(written)
    if exported is not None:
        return exported.read({suffix: written[suffix] for suffix in exported.suffixes})
    assert network.source is not None, "a network without a source is exported"
    return replace(network.source.reread(written, companions), regions=network.regions)


def _exported(written: Mapping[str, Path]) -> Format | None:
    """Return the format that files were exported to; None for the network's own format."""
    exports = (known for known in FORMATS.values() if known.export is not None)
    return next((known for known in exports if set(known.suffixes) <= set(written)), None)


def _verified(
    network: Network,
    written: Mapping[str, Path],
    companions: Sequence[Path],
    data: Dataset | None,
    progress: Progress,
) -> float:
    """Return the largest relative difference between written files and the network.

    Nothing is run where the written files hold the same graph with the same weights: that cannot
    show a difference.

    Raises:
        VerificationError: the difference is too large, or a companion is not what it should be.
    """
    again = reread(network, written, companions)
    exported = _exported(written)
    same_graph = same if exported is None or exported.same is None else exported.same
    difference = 0.0
    if not same_graph(restored(network), again):
        first, second, inputs = (network, again, data) if data else with_noise(network, again)
        found = verify_equal("written = dense", first, second, inputs, progress=progress)
        difference = found.worst.relative
    if exported is None:
        verify_companions("written = dense", network.companions, again.companions, progress)
    return difference


def stored_bytes(network: Network) -> int:
    """Return how many bytes the files have that a network was read from, unpacked; 0 for none.

    Raises:
        FormatError: one cannot be read any more.
    """
    paths = network.source.paths.values() if network.source is not None else ()
    return sum(plain_size(path) for path in paths)


def file_bytes(network: Network) -> int:
    """Return how many bytes the files of a network would have."""
    files = _pieces(network, None, _name(network, Path(network.name), None, ".onnx"))
    return sum(memoryview(part).nbytes for parts in files.values() for part in parts)


def _as_read(network: Network, written: Mapping[str, Path]) -> bool:
    """Whether a network is as it was read, and its written files are those it was read from."""
    source = network.source
    return (
        source is not None
        and source.unchanged(network)
        and set(written) == set(source.paths)
        and all(same_bytes(path, source.paths[end]) for end, path in written.items())
    )


def _name(network: Network, target: Path, suffix: str | None, end: str) -> str:
    """Return the file name of the output with the suffix `end`."""
    if end == DATA:
        return _name(network, target, suffix, ".onnx") + ".data"
    if suffix is not None:
        return target.name if end == suffix else f"{target.stem}{end}"
    source = network.source.paths.get(end) if network.source is not None else None
    if source is None:
        return f"{network.name}{end}"
    # A further suffix behind it names a container (.caffemodel.h5) that is not written.
    stem, found, _ = source.name.rpartition(end)
    return stem + end if found else source.name


def _refuse_inputs(network: Network, paths: Iterable[Path]) -> None:
    """Raise if a path to be written is one of the files that were read.

    Raises:
        FormatError: names the input.
    """
    own = network.source
    sources = [*own.paths.values(), *own.companions(network)] if own is not None else []
    for path in paths:
        for source in sources:
            if path.exists() and source.exists() and path.samefile(source):
                raise FormatError(
                    f"would overwrite the input {source.name}", hint="choose another directory"
                )


def _first_missing(folder: Path) -> Path | None:
    """Return the outermost directory that does not exist yet; None if all exist."""
    missing = None
    for path in (folder, *folder.parents):
        if path.exists():
            break
        missing = path
    return missing
