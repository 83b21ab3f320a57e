"""The folder of a pipeline: a folder a step, which appears whole, with what it was made from.

A step is at work in a hidden folder. It goes on there after a stop, as long as it is still the same
work; when it is done, the folder gets its name.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import DataError, FormatError, located
from ...core.files import json_bytes, write_whole

__all__ = ["STEP_FILE", "Kept", "Store"]

STEP_FILE = "step.json"
"""Name of what a step came to, beside its files."""

KEY = ".key"
"""Suffix of the file beside a hidden folder that says which work it holds."""

WORK, OLD = ".work-", ".old-"
"""Beginnings of the names of hidden folders: steps at work, and steps that are being replaced."""

VERSION = 2

NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A step that is done, as its folder tells.

    Args:
        folder: its folder.
        key: digest of all that it was made from.
        files: names of the model's files in the folder; empty where it makes no model.
        companions: names of further descriptions.
        plan: name of the plan; None where there is none.
        figures: what it came to, as plain values.
        details: what a report tells beside, as plain values.
        seconds: how long it took.
        digest: of the files that it made.
    """

    folder: Path
    key: str
    files: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    plan: str | None = None
    figures: Mapping[str, Any]
    details: Mapping[str, Any]
    seconds: float
    digest: str

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the model."""
        return tuple(self.folder / name for name in self.files)


@dataclass(frozen=True, slots=True)
class Store:
    """Steps in a folder."""

    folder: Path

    def of(self, step: str) -> Path:
        """Return the folder of a step."""
        return self.folder / step

    def known(self, step: str) -> Kept | None:
        """Return what a step came to earlier; None where it has not run, or its files changed."""
        folder = self.of(step)
        try:
            content = json.loads((folder / STEP_FILE).read_bytes())
            if content["version"] != VERSION or content["step"] != step:
                return None
            outputs: dict[str, str] = content["outputs"]
            if any(_digest(folder / name) != digest for name, digest in outputs.items()):
                return None
            return _kept(folder, content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def sweep(self, step: str) -> None:
        """Finish what a killed run had begun: a finished step gets its name, an old one goes.

        Raises:
            FormatError: the folder cannot be written.
        """
        work, old = self.folder / f"{WORK}{step}", self.folder / f"{OLD}{step}"
        with located(file=str(self.folder)):
            try:
                if (work / STEP_FILE).is_file():
                    self._publish(step)
                elif old.is_dir() and not self.of(step).exists():
                    old.replace(self.of(step))
                _remove(old)
            except OSError as error:
                raise FormatError(f"cannot be written: {error.strerror or error}") from error

    def begin(self, step: str, key: str, *, resumes: bool) -> Path:
        """Return the hidden folder of a step: as a stopped run of the same work left it, or empty.

        Args:
            step: the step.
            key: digest of all that it is made from.
            resumes: whether the step goes on from what a stopped run left.

        Raises:
            FormatError: the folder cannot be written.
        """
        work = self.folder / f"{WORK}{step}"
        with located(file=str(work)):
            try:
                if not (resumes and self.begun(step, key)):
                    _remove(work)
                    write_whole(self._key_file(step), key.encode(), error=FormatError)
                work.mkdir(exist_ok=True)
            except OSError as error:
                raise FormatError(f"cannot be written: {error.strerror or error}") from error
        return work

    def begun(self, step: str, key: str) -> bool:
        """Whether a stopped run left a part of this work."""
        try:
            there = (self.folder / f"{WORK}{step}").is_dir()
            return there and self._key_file(step).read_bytes() == key.encode()
        except OSError:
            return False

    def keep(
        self,
        step: str,
        key: str,
        *,
        files: Sequence[str] = (),
        companions: Sequence[str] = (),
        plan: str | None = None,
        figures: Mapping[str, Any],
        details: Mapping[str, Any] = NOTHING,
        seconds: float,
    ) -> Kept:
        """Give the hidden folder of a step its name, in place of that of an earlier run.

        Raises:
            FormatError: the folder cannot be written.
        """
        work = self.folder / f"{WORK}{step}"
        with located(file=str(work)):
            try:
                outputs = {
                    path.name: _digest(path)
                    for path in sorted(work.iterdir())
                    if path.is_file() and not path.name.startswith(".")
                }
                content = {
                    "version": VERSION, "step": step, "key": key, "files": list(files),
                    "companions": list(companions), "plan": plan, "seconds": round(seconds, 1),
                    "figures": figures, "details": dict(details), "outputs": outputs,
                }  # fmt: skip
                write_whole(work / STEP_FILE, json_bytes(content), error=FormatError)
                self._publish(step)
            except OSError as error:
                raise FormatError(f"cannot be written: {error.strerror or error}") from error
        found = self.known(step)
        if found is None:
            raise DataError("its files changed while they were written", hint="run it again")
        return found

    def forget(self, step: str) -> None:
        """Remove a step and what was begun of it.

        Raises:
            FormatError: the folder cannot be written.
        """
        with located(file=str(self.folder)):
            try:
                if (self.of(step) / STEP_FILE).is_file():
                    _remove(self.of(step))
                for start in (WORK, OLD):
                    _remove(self.folder / f"{start}{step}")
                self._key_file(step).unlink(missing_ok=True)
            except OSError as error:
                raise FormatError(f"cannot be written: {error.strerror or error}") from error

    def check(self, step: str) -> None:
        """Raise if something stands at the place of a step that no pipeline made.

        Raises:
            FormatError: names it.
        """
        folder = self.of(step)
        if folder.exists() and not (folder / STEP_FILE).is_file():
            with located(file=str(folder)):
                raise FormatError(
                    "is in the way: no pipeline made it",
                    hint="another `output:` folder, or move it away",
                )

    def _publish(self, step: str) -> None:
        work, old = self.folder / f"{WORK}{step}", self.folder / f"{OLD}{step}"
        _remove(old)
        if self.of(step).exists():
            self.of(step).replace(old)
        work.replace(self.of(step))
        self._key_file(step).unlink(missing_ok=True)
        _remove(old)

    def _key_file(self, step: str) -> Path:
        return self.folder / f"{WORK}{step}{KEY}"


def _kept(folder: Path, content: Mapping[str, Any]) -> Kept:
    return Kept(
        folder=folder,
        key=content["key"],
        files=tuple(content["files"]),
        companions=tuple(content["companions"]),
        plan=content["plan"],
        figures=content["figures"],
        details=content["details"],
        seconds=float(content["seconds"]),
        digest=hashlib.sha256(json.dumps(content["outputs"], sort_keys=True).encode()).hexdigest(),
    )


def _digest(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            state.update(part)
    return state.hexdigest()


def _remove(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
