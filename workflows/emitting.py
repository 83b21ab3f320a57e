"""Writing the files with which a pruned network is trained in the user's own framework."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from ..core.errors import FormatError, UnsupportedError, located
from ..core.files import write_synced
from ..core.ir.network import Network
from ..core.pruning.densify import carried_out
from ..core.pruning.result import PruneResult
from ..formats.emission import README, SCRIPT, Emission, readme, script
from ..formats.registry import FORMATS, Format
from ..formats.saving import Saved

__all__ = ["TrainingFiles", "check_training", "emit_training"]

EXECUTABLE = 0o755


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingFiles:
    """Files with which a network is trained elsewhere.

    Args:
        paths: all of them.
        model: usual suffix → file, for the network with its losses and its weights.
        solver: the file with the solver; None where the model's own files hold it.
        loss: what is minimised, in words.
        fill_in: what the user has to fill in before training, each a line.
        notes: what the user must know.
        back: the command that takes the trained weights back.
    """

    paths: tuple[Path, ...]
    model: dict[str, Path]
    solver: Path | None
    loss: str
    fill_in: tuple[str, ...]
    notes: tuple[str, ...]
    back: str


def check_training(
    network: Network,
    folder: str | PathLike[str],
    *,
    solver: str | PathLike[str] | None = None,
    data: str | PathLike[str] | None = None,
) -> None:
    """Check before long work that files for training can be written for what becomes of a network.

    Args:
        network: the network, as it was read.
        folder: as for :func:`emit_training`.
        solver: likewise.
        data: likewise.

    Raises:
        FormatError: as for :func:`emit_training`.
        UnsupportedError: likewise.
    """
    _check_folder(Path(folder))
    known, emission = _emission(network, solver, data)
    assert network.source is not None, "a network without files has nothing to emit"
    weights = {end: path for end, path in network.source.paths.items() if end != _text(emission)}
    with tempfile.TemporaryDirectory(prefix="secateur-") as temporary:
        for name, parts in emission.files.items():
            if name not in (emission.model[end] for end in weights):
                write_synced(Path(temporary) / name, parts)
        _read_again(known, emission, Path(temporary), weights)


def emit_training(
    pruned: Network | PruneResult,
    folder: str | PathLike[str],
    *,
    solver: str | PathLike[str] | None = None,
    data: str | PathLike[str] | None = None,
    saved: Saved | None = None,
) -> TrainingFiles:
    """Write all that the user's own Caffe or Darknet needs to train a pruned network.

    Caffe: a train_val prototxt, a solver, the weights. Where the network's own prototxt has a loss,
    or a companion does, that text is taken, with its data layers as they are; else the loss follows
    from what the outputs mean. Darknet: a cfg with the keys of training, a `.data` file, the
    weights. Both: a script with the command, and a text that says what to fill in.

    Everything is written to a new folder and read again for training before that gets its name.

    Args:
        pruned: the network, or what pruning gave.
        folder: a folder that does not exist, or is empty.
        solver: Caffe: a solver.prototxt, whose settings are kept.
        data: Darknet: a `.data` file, whose paths are kept.
        saved: the written files of the network, for the command that takes weights back.

    Raises:
        FormatError: the folder is not empty, or cannot be written; the solver or the data file is
            broken.
        UnsupportedError: no loss can be derived from the network's files, or its format says
            nothing about training.
    """
    folder = Path(folder)
    _check_folder(folder)
    network, plan = (
        (pruned.network, pruned.plan) if isinstance(pruned, PruneResult) else (pruned, None)
    )
    sparse = plan is not None and plan.removes and not carried_out(network, plan)
    known, emission = _emission(network, solver, data)
    back = _way_back(network, emission, saved, folder, sparse=sparse)
    files = {
        **emission.files,
        SCRIPT: [script(emission)],
        README: [readme(emission, back=back, sparse=sparse)],
    }
    with _new_folder(folder) as temporary:
        for name, parts in files.items():
            write_synced(temporary / name, parts)
        (temporary / SCRIPT).chmod(EXECUTABLE)
        _read_again(known, emission, temporary)
    return TrainingFiles(
        paths=tuple(folder / name for name in files),
        model={end: folder / name for end, name in emission.model.items()},
        solver=folder / emission.solver if emission.solver else None,
        loss=emission.loss,
        fill_in=emission.fill_in,
        notes=emission.notes,
        back=back,
    )


def _emission(
    network: Network, solver: str | PathLike[str] | None, data: str | PathLike[str] | None
) -> tuple[Format, Emission]:
    """Return the format of a network, and what it writes for training.

    Raises:
        UnsupportedError: the format has nothing of that kind.
    """
    name = network.source.format if network.source is not None else "onnx"
    known = FORMATS[name]
    if known.emit is None:
        raise UnsupportedError(
            f"{name} files hold no losses, so that nothing can be trained by them"
        )
    emission = known.emit(
        network, Path(solver) if solver is not None else None, Path(data) if data else None
    )
    return known, emission


def _way_back(
    network: Network, emission: Emission, saved: Saved | None, folder: Path, *, sparse: bool
) -> str:
    """Return the command that takes trained weights back."""
    written = saved.paths if saved is not None else tuple(network.source.paths.values())  # type: ignore[union-attr]
    (text,) = (path for path in written if path.suffix in (".prototxt", ".cfg"))
    plan = saved.plan if saved is not None else None
    parts = ["secateur transform", str(text), str(folder / emission.trained)]
    if sparse:
        parts += ["--plan", str(plan or "plan.yaml")]
        for companion in saved.companions if saved is not None else ():
            parts += ["--companion", str(companion)]
    return " ".join([*parts, "-o final/"])


def _text(emission: Emission) -> str:
    """Return the suffix of the file that describes the network."""
    return next(iter(emission.model))


def _read_again(
    known: Format, emission: Emission, folder: Path, others: Mapping[str, Path] | None = None
) -> None:
    """Read the written files for training.

    Args:
        known: their format.
        emission: what was written.
        folder: where.
        others: usual suffix → file, for those that stand elsewhere.

    Raises:
        FormatError: they cannot be read, or nothing in them is minimised.
    """
    assert known.begin is not None, "what is emitted can be read for training"
    paths = {end: folder / name for end, name in emission.model.items()} | dict(others or {})
    solver = folder / emission.solver if emission.solver else None
    start = known.begin(paths, solver, **emission.settings)
    if not start.recipe.objectives:
        raise UnsupportedError(
            "no loss can be derived: nothing in the network's files is minimised in training"
        )


def _check_folder(folder: Path) -> None:
    """Raise where files of the user might be overwritten.

    Raises:
        FormatError: the folder is a file, or not empty.
    """
    with located(file=str(folder)):
        try:
            if folder.exists() and any(folder.iterdir()):
                raise FormatError(
                    "the folder for training is not empty",
                    hint="files in it may have been filled in; choose a new folder",
                    option="emit_training",
                )
        except OSError as error:
            raise FormatError(f"cannot be written: {error.strerror or error}") from error


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder that gets a name at the end, and is gone after an error.

    Raises:
        FormatError: it cannot be written.
    """
    folder = folder.absolute()
    parents = [path for path in folder.parents if not path.exists()]
    temporary: Path | None = None
    done = False
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".secateur-", dir=folder.parent))
        temporary.chmod(EXECUTABLE)
        yield temporary
        if folder.exists():
            folder.rmdir()
        temporary.replace(folder)
        done = True
    except OSError as error:
        with located(file=str(folder)):
            raise FormatError(f"cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        if not done and parents:
            shutil.rmtree(parents[-1], ignore_errors=True)
