"""Saving a model: render, write to a temporary folder, read again, compare, and move into place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.data import Dataset, SyntheticDataset
from ..core.errors import FormatError, UnsupportedError, located
from ..core.files import write_synced
from ..core.ir.network import Network, Piece
from ..core.progress import Progress, silent
from ..core.pruning.apply import NOISE_SAMPLES
from ..core.pruning.result import PruneResult
from ..core.verify.equivalence import verify_equal
from .files import suffixes
from .registry import FORMATS, Format

__all__ = ["PLAN_NAME", "Saved", "render", "reread", "save"]

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
        companions: further descriptions of the network that were written with it.
    """

    paths: tuple[Path, ...]
    plan: Path | None
    difference: float
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


def _pieces(network: Network, suffix: str | None, name: str) -> Mapping[str, Sequence[Piece]]:
    """Return the parts of each file by suffix; `name` is the file name of an ONNX model."""
    source = network.source
    export = _exporter(network, suffix)
    if export is not None:
        return export(network, name)
    assert source is not None, "a network without a source is exported"
    files = source.pieces(network)
    if suffix is not None and suffix not in files:
        own = " + ".join(files)
        raise UnsupportedError(
            f"a network read from {own} cannot be written as {suffix}",
            hint=f"networks are written back in their own format ({own}) or as .onnx",
        )
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
    data: Dataset | None = None,
    companions: Sequence[str | os.PathLike[str]] = (),
    progress: Progress = silent,
) -> Saved:
    """Write a network, verify that the files compute the same, and move them into place.

    Args:
        pruned: the network to write, or the result of a pruning. The plan of a result is written
            with it.
        target: a directory or a file. In a directory, the files keep the base names of the inputs.
            A file names the output itself; its partner is written beside it. ".onnx" writes ONNX.
        data: inputs for the verification *written = dense*; None for noise.
        companions: further descriptions of the same layers (a train_val beside a deploy prototxt).
            They get the same changes and are written beside the output under their own names.
        progress: called as the verification goes on.

    Raises:
        UnsupportedError: the format of `target` is not the network's own.
        FormatError: the target cannot be written, or an input would be overwritten.
        VerificationError: the written files do not compute the same. No file is left behind.
    """
    network, plan = (
        (pruned.network, pruned.plan) if isinstance(pruned, PruneResult) else (pruned, None)
    )
    target = Path(target)
    suffix = None if target.is_dir() else _suffix(target)
    files = _pieces(network, suffix, _name(network, target, suffix, ".onnx"))
    folder = target.parent if suffix else target
    paths = {end: folder / _name(network, target, suffix, end) for end in files}
    further = _companions(network, companions, folder, paths)
    plan_path = folder / PLAN_NAME if plan is not None else None
    with located(file=str(target)):
        _refuse_inputs(network, (*paths.values(), *further), companions)
    with _temporary_folder(target, folder) as temporary:
        written = {end: temporary / path.name for end, path in paths.items()}
        for end, parts in files.items():
            write_synced(written[end], parts)
        for path, content in further.items():
            write_synced(temporary / path.name, [content])
        difference = _verified(network, written, data, progress)
        if plan is not None and plan_path is not None:
            write_synced(temporary / PLAN_NAME, [plan.to_yaml().encode()])
            (temporary / PLAN_NAME).replace(plan_path)
        for path in (*paths.values(), *further):
            (temporary / path.name).replace(path)
    return Saved(
        paths=tuple(paths.values()),
        plan=plan_path,
        difference=difference,
        companions=tuple(further),
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


def _companions(
    network: Network,
    companions: Sequence[str | os.PathLike[str]],
    folder: Path,
    paths: Mapping[str, Path],
) -> dict[Path, bytes]:
    """Return the content of each companion by the path it is to be written to.

    Raises:
        UnsupportedError: the network has no files that could have companions.
        FormatError: a companion does not describe the network, or two outputs have the same name.
    """
    if companions and network.source is None:
        raise UnsupportedError("a network that was not read from files has no companions")
    found: dict[Path, bytes] = {}
    for companion in map(Path, companions):
        assert network.source is not None
        path = folder / companion.name
        with located(file=str(companion)):
            if path in found or path in paths.values():
                raise FormatError("another output bears the same name")
            found[path] = network.source.companion(network, companion)
    return found


def reread(network: Network, written: Mapping[str, Path]) -> Network:
    """Read the written files of a network again, with the settings it was read with.

    Args:
        network: the network.
        written: its written files by suffix.

    Raises:
        FormatError: a file cannot be read.
    """
    exported = _exported(written)
    if exported is not None:
        return exported.read({suffix: written[suffix] for suffix in exported.suffixes})
    assert network.source is not None, "a network without a source is exported"
    return replace(network.source.reread(written), regions=network.regions)


def _exported(written: Mapping[str, Path]) -> Format | None:
    """Return the format that files were exported to; None for the network's own format."""
    exports = (known for known in FORMATS.values() if known.export is not None)
    return next((known for known in exports if set(known.suffixes) <= set(written)), None)


def _verified(
    network: Network, written: Mapping[str, Path], data: Dataset | None, progress: Progress
) -> float:
    """Return the largest relative difference between written files and the network.

    Raises:
        VerificationError: the difference is too large.
    """
    again = reread(network, written)
    exported = _exported(written)
    if exported is not None and exported.same is not None and exported.same(network, again):
        return 0.0  # the same graph with the same weights: running it cannot show a difference
    inputs = data or SyntheticDataset(network, samples=NOISE_SAMPLES)
    return verify_equal("written = dense", network, again, inputs, progress=progress).worst.relative


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


def _refuse_inputs(
    network: Network, paths: Iterable[Path], companions: Iterable[str | os.PathLike[str]]
) -> None:
    """Raise if a path to be written is one of the files that were read.

    Raises:
        FormatError: names the input.
    """
    own = network.source.paths.values() if network.source is not None else ()
    sources = [*own, *map(Path, companions)]
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
