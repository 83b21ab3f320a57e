"""Checkpoints: all that a training needs to go on as if it had never stopped.

A checkpoint is one `.npz` file of plain arrays. It appears whole or not at all, and the two newest
are kept.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..errors import DataError, located
from ..files import write_whole
from .result import FinetuneEntry

__all__ = ["Checkpoint", "Checkpoints"]

VERSION = 4
KINDS = ("now", "best", "sparse", "averages")
"""Fields that hold tensors by their names."""
KEPT = 2
"""Checkpoints that are kept."""

NAME = re.compile(r"checkpoint-(\d{8})\.npz")
UNFINISHED = re.compile(rf"\.{NAME.pattern}\.\d+")
"""Names under which `write_whole` writes one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The state of a training between two updates.

    Args:
        key: digest of all that the training depends on.
        steps: updates that the whole training takes.
        stages: how many the training has.
        stage: number of the stage; that of the stages where training has ended.
        step: updates of the stage so far.
        total: updates of the training so far.
        rate: highest learning rate of the stage.
        losses: sum and number of the training losses since the last measurement.
        seconds: of training so far.
        history: measurements so far.
        notes: what a user must know of it.
        now: the network's tensors by name.
        best: those of the best measurement.
        solver: what the solver keeps: updates, step, and arrays.
        best_solver: what it kept at the best measurement; None where that is not of use.
        random: states of PyTorch's generators, one a process.
        scaling: what losses are multiplied by in float16: the factor, updates since it changed,
            updates left out.
        averages: moving averages of weights, by name; empty without any.
        sparse: what the schedule of masks remembers, by name; empty without one.
    """

    key: str
    steps: int
    stages: int
    stage: int
    step: int
    total: int
    rate: float
    losses: tuple[float, int]
    seconds: float
    history: tuple[FinetuneEntry, ...]
    notes: tuple[str, ...]
    now: Mapping[str, np.ndarray]
    best: Mapping[str, np.ndarray]
    solver: tuple[int, int, tuple[np.ndarray, ...]]
    random: np.ndarray
    best_solver: tuple[int, int, tuple[np.ndarray, ...]] | None = None
    scaling: tuple[float, int, int] = (1.0, 0, 0)
    averages: Mapping[str, np.ndarray] = field(default_factory=dict)
    sparse: Mapping[str, np.ndarray] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the content of a file."""
        plain = {
            "version": VERSION, "key": self.key, "steps": self.steps, "stages": self.stages,
            "stage": self.stage, "step": self.step, "total": self.total, "rate": self.rate,
            "losses": list(self.losses), "seconds": self.seconds, "scaling": list(self.scaling),
            "history": [asdict(entry) for entry in self.history], "notes": list(self.notes),
            "solver": list(self.solver[:2]),
            "best_solver": list(self.best_solver[:2]) if self.best_solver else None,
            "names": [list(tensors) for _, tensors in self._kinds()],
        }  # fmt: skip
        arrays: dict[str, np.ndarray] = {
            "plain": np.frombuffer(json.dumps(plain).encode(), np.uint8),
            "random": self.random,
        }
        for kind, tensors in self._kinds():
            arrays.update({f"{kind}{k}": a for k, a in enumerate(tensors.values())})
        arrays.update({f"solver{k}": a for k, a in enumerate(self.solver[2])})
        kept = self.best_solver[2] if self.best_solver else ()
        arrays.update({f"kept{k}": a for k, a in enumerate(kept)})
        file = io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]  # names are keywords
        return file.getvalue()

    def _kinds(self) -> list[tuple[str, Mapping[str, np.ndarray]]]:
        """Return the kinds of tensors, and those of each."""
        return [(kind, getattr(self, kind)) for kind in KINDS]

    @staticmethod
    def of(content: Mapping[str, np.ndarray]) -> Checkpoint:
        """Return what a file holds.

        Raises:
            KeyError, ValueError, TypeError: it is no checkpoint of this version.
        """
        plain: dict[str, Any] = json.loads(content["plain"].tobytes())
        if plain.pop("version") != VERSION:
            raise ValueError("another version")
        names = plain.pop("names")
        tensors = {
            kind: {name: content[f"{kind}{k}"] for k, name in enumerate(own)}
            for kind, own in zip(KINDS, names, strict=True)
        }
        updates, step = plain.pop("solver")
        kept = plain.pop("best_solver")
        return Checkpoint(
            **{
                **plain,
                "losses": tuple(plain["losses"]),
                "scaling": tuple(plain["scaling"]),
                "history": tuple(FinetuneEntry(**entry) for entry in plain["history"]),
                "notes": tuple(plain["notes"]),
            },
            now=tensors["now"],
            best=tensors["best"],
            sparse=tensors["sparse"],
            averages=tensors["averages"],
            solver=(updates, step, _numbered(content, "solver")),
            best_solver=(*kept, _numbered(content, "kept")) if kept else None,
            random=content["random"],
        )


def _numbered(content: Mapping[str, np.ndarray], word: str) -> tuple[np.ndarray, ...]:
    """Return the arrays whose names are a word and a number, in order."""
    count = sum(name.startswith(word) for name in content)
    return tuple(content[f"{word}{k}"] for k in range(count))


class Checkpoints:
    """The checkpoints in a folder.

    Args:
        folder: it exists.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self._files())

    def newest(self, key: str) -> Checkpoint | None:
        """Return the newest checkpoint; None where there is none.

        Args:
            key: digest of all that the training depends on.

        Raises:
            DataError: it cannot be read, or belongs to another training.
        """
        found = self._files()
        if not found:
            return None
        with located(file=str(found[-1])):
            try:
                data = io.BytesIO(found[-1].read_bytes())
                with np.load(data, allow_pickle=False) as content:
                    checkpoint = Checkpoint.of(dict(content))
            except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
                raise DataError("the checkpoint cannot be read", hint="remove it") from error
            if checkpoint.key != key:
                raise DataError(
                    "the checkpoint belongs to another training",
                    hint="give the files, data and options it began with, or leave out --resume",
                )
        return checkpoint

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and remove all but the newest.

        Where the disk is full, the older ones make room: the newest stays until another is whole.

        Raises:
            DataError: it cannot be written; the newest before it is still there.
        """
        path = self.folder / f"checkpoint-{checkpoint.total:08d}.npz"
        content = checkpoint.to_bytes()
        try:
            write_whole(path, content)
        except DataError:
            older = self._files()[:-1]
            if not older:
                raise
            _remove(older)
            write_whole(path, content)
        _remove(self._files()[:-KEPT])

    def clear(self) -> None:
        """Remove all checkpoints."""
        _remove(self._files())
        self.tidy()

    def tidy(self) -> None:
        """Remove what a killed run had written of a checkpoint. Nobody else may be at work here."""
        _remove(path for path in self.folder.iterdir() if UNFINISHED.fullmatch(path.name))

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if NAME.fullmatch(path.name))


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
