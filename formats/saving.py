"""Saving a model: rendered, written aside, read again, compared, and only then put in place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
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
"""By what the weights beside an ONNX model are known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """What was written: the files of the model, the plan beside them, and the proof.

    `difference` is the largest relative difference between what the written files compute and
    what the network in memory computes.
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
    """Return the parts of each file; `name` is what an ONNX model will be called."""
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
    """Return what exports a network to the format of a suffix; None where its own writes it."""
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
    """Write a network, prove that the files compute the same, and put them in place.

    Args:
        pruned: the network to write, or the result of a pruning: its plan is written, too.
        target: a directory, in which the files keep the base names of the inputs, or a file that
            names the output itself (its partner stands beside it). ".onnx" writes ONNX.
        data: inputs for the proof *written = dense*; noise where there is none.
        companions: further descriptions of the same layers (a train_val beside a deploy prototxt),
            which get the same changes and are written beside the output under their own names.
        progress: told how far the proof is.

    Raises:
        UnsupportedError: the format of `target` is not the network's own.
        FormatError: the target cannot be written, or an input would be overwritten.
        VerificationError: the written files do not compute the same; nothing is left behind.
    """
    network, made = (
        (pruned.network, pruned.plan) if isinstance(pruned, PruneResult) else (pruned, None)
    )
    target = Path(target)
    suffix = target.suffix.lower() if target.suffix.lower() in suffixes() else None
    if target.is_dir():
        suffix = None
    files = _pieces(network, suffix, _name(network, target, suffix, ".onnx"))
    folder = target.parent if suffix else target
    paths = {end: folder / _name(network, target, suffix, end) for end in files}
    further = _companions(network, companions, folder, paths)
    plan = folder / PLAN_NAME if made is not None else None
    with located(file=str(target)):
        _refuse_inputs(network, (*paths.values(), *further), companions)
        folder_made = _first_missing(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=".secateur-", dir=folder))
        except OSError as error:
            raise FormatError(f"cannot be written: {error.strerror or error}") from error
    done = False
    try:
        written = {end: aside / path.name for end, path in paths.items()}
        for end, parts in files.items():
            write_synced(written[end], parts)
        for path, content in further.items():
            write_synced(aside / path.name, [content])
        difference = _verified(network, written, data, progress)
        if plan is not None and made is not None:
            write_synced(aside / PLAN_NAME, [made.to_yaml().encode()])
            (aside / PLAN_NAME).replace(plan)
        for path in (*paths.values(), *further):
            (aside / path.name).replace(path)
        done = True
    except OSError as error:
        raise FormatError(f"cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if not done and folder_made is not None:
            shutil.rmtree(folder_made, ignore_errors=True)
    return Saved(
        paths=tuple(paths.values()), plan=plan, difference=difference, companions=tuple(further)
    )


def _companions(
    network: Network,
    companions: Sequence[str | os.PathLike[str]],
    folder: Path,
    paths: Mapping[str, Path],
) -> dict[Path, bytes]:
    """Return where each companion is to be written, and what.

    Raises:
        UnsupportedError: the network has no files that could have companions.
        FormatError: a companion does not describe the network, or two files would bear one name.
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
    """Read files that were written of a network again, with the settings it was read with.

    Args:
        network: the network.
        written: its files by suffix.

    Raises:
        FormatError: a file cannot be read.
    """
    exported = _exported(written)
    if exported is not None:
        return exported.read({suffix: written[suffix] for suffix in exported.suffixes})
    assert network.source is not None, "a network without a source is exported"
    return network.source.reread(written)


def _exported(written: Mapping[str, Path]) -> Format | None:
    """Return the format that files were exported to, None where they are in their own."""
    exports = (known for known in FORMATS.values() if known.export is not None)
    return next((known for known in exports if set(known.suffixes) <= set(written)), None)


def _verified(
    network: Network, written: Mapping[str, Path], data: Dataset | None, progress: Progress
) -> float:
    again = reread(network, written)
    exported = _exported(written)
    if exported is not None and exported.same is not None and exported.same(network, again):
        return 0.0  # the very graph with the very weights; running it would show no more
    inputs = data or SyntheticDataset(network, samples=NOISE_SAMPLES)
    return verify_equal("written = dense", network, again, inputs, progress=progress).worst.relative


def _name(network: Network, target: Path, suffix: str | None, end: str) -> str:
    """Return the name of an output that is known by `end`."""
    if end == DATA:
        return _name(network, target, suffix, ".onnx") + ".data"
    if suffix is not None:
        return target.name if end == suffix else f"{target.stem}{end}"
    source = network.source.paths.get(end) if network.source is not None else None
    if source is None:
        return f"{network.name}{end}"
    # What stands behind the suffix is a container (.caffemodel.h5) that is not written.
    stem, found, _ = source.name.rpartition(end)
    return stem + end if found else source.name


def _refuse_inputs(
    network: Network, paths: Iterable[Path], companions: Iterable[str | os.PathLike[str]]
) -> None:
    own = network.source.paths.values() if network.source is not None else ()
    sources = [*own, *map(Path, companions)]
    for path in paths:
        for source in sources:
            if path.exists() and source.exists() and path.samefile(source):
                raise FormatError(
                    f"would overwrite the input {source.name}", hint="choose another directory"
                )


def _first_missing(folder: Path) -> Path | None:
    """Return the outermost directory that does not exist yet, to be taken away on failure."""
    missing = None
    for path in (folder, *folder.parents):
        if path.exists():
            break
        missing = path
    return missing
