"""Fine-tuning the rounds of an iteration, each in a folder where it goes on after any stop."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core.data import Dataset
from ..core.errors import DataError, FormatError, located
from ..core.files import swept
from ..core.finetune.checkpoint import Checkpoints
from ..core.finetune.lessons import Lessons
from ..core.finetune.options import FinetuneOptions
from ..core.ir.network import Network
from ..core.plan.plan import Plan
from ..core.progress import Progress, silent
from ..core.pruning.rounds import Trained
from ..core.training.recipe import Start
from ..formats.training import begin
from .finetuning import FINETUNE_FILE, HISTORY_FILE, finetune_files, from_files

__all__ = ["RoundTraining", "finished"]

NOTHING_BETTER = "training made nothing better: the network is as pruning and repair left it"


class RoundTraining:
    """Trains pruned networks to compute what the original computes, and by labels where there are.

    Args:
        original: the network before pruning: the teacher.
        data: training data.
        options: how networks are trained.
        solver: a file with the schedule, for formats that have such.
    """

    def __init__(
        self,
        original: Network,
        data: Dataset,
        options: FinetuneOptions,
        solver: Path | None = None,
    ):
        self._original, self._data, self._options = original, data, options
        self._solver = solver
        self.settings = "" if solver is None else f" {_digest(solver)}"
        """What rounds depend on beside the options, as a part of their key."""

    def check(self) -> None:
        """Look before long work whether the original could be trained so.

        Raises:
            DataError, PlanError, UnsupportedError: it could not.
        """
        from ..core.finetune.finetune import check as check_training  # needs PyTorch

        source = self._original.source
        if source is None or not source.unchanged(self._original):
            lessons = Lessons(teacher=self._original)
            check_training(self._original, self._data, self._options, lessons)
            return
        start = self._start(list(source.paths.values()))
        lessons = Lessons(teacher=self._original, **from_files(start, self._options))
        check_training(start.network, self._data, self._options, lessons)

    def __call__(
        self, files: Sequence[Path], plan: Plan, folder: Path, progress: Progress = silent
    ) -> Trained:
        """Train a pruned model, and write it to a folder; go on where an earlier call was stopped.

        Args:
            files: the model.
            plan: what was removed from the original.
            folder: where the model and, while it is trained, its checkpoints stand.
            progress: told how far the work is.

        Raises:
            DataError, FormatError, UnsupportedError, VerificationError: as for
                :func:`~.finetuning.finetune_files`.
        """
        swept(folder)
        if not finished(folder):
            finetune_files(
                files, self._data, folder, self._options,
                lessons=Lessons(teacher=self._original, plan=plan),
                start=self._start(files), resume=True, progress=progress,
            )  # fmt: skip
        return _trained(folder / FINETUNE_FILE)

    def _start(self, files: Sequence[Path]) -> Start:
        return begin(
            *files, solver=self._solver, all_layers=not self._options.own_solver,
            like=self._original,
        )  # fmt: skip


def _digest(path: Path) -> str:
    """Return the digest of a file.

    Raises:
        FormatError: it cannot be read.
    """
    with located(file=str(path)):
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise FormatError(f"cannot be read: {error.strerror or error}") from error


def finished(folder: Path) -> bool:
    """Whether a model is trained and written: checkpoints go last."""
    there = (folder / FINETUNE_FILE).is_file() and (folder / HISTORY_FILE).is_file()
    return there and not Checkpoints(folder).any


def _trained(path: Path) -> Trained:
    """Return what a training came to, from its file.

    Raises:
        DataError: it is broken.
    """
    with located(file=str(path)):
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            notes = tuple(content["notes"])
            if not content["best"]["step"]:
                notes = (*notes, NOTHING_BETTER)
            return Trained(seconds=float(content["history"][-1]["seconds"]), notes=notes)
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise DataError("broken", hint="--restart starts anew") from error
