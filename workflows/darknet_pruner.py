"""A main cfg of vai_p_darknet with the files it names: found, and ready to be opened."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from ..core.coupling import find_groups
from ..core.data import Dataset
from ..core.data.options import DataOptions
from ..core.data.text import found_beside, read_names
from ..core.errors import DataError, FormatError, PlanError, Where, located
from ..core.files import write_whole
from ..core.ir.heads import box_heads
from ..core.ir.network import Caution, Network
from ..core.plan.files import load_plan
from ..core.plan.plan import Plan
from ..core.plan.zeros import plan_of_zeros
from ..core.progress import Progress, silent
from ..core.pruning.result import PruneResult
from ..formats.darknet.data.data_file import DataFile, read_data_file
from ..formats.darknet.data.lists import listed
from ..formats.darknet.pruning_section import (
    PruningSection,
    is_pruning_cfg,
    read_pruning_section,
)
from ..formats.saving import Saved, check_free, save
from .datasets import open_dataset

__all__ = ["DarknetProject", "is_pruning_cfg", "open_darknet_project", "save_named"]

ABOVE = 3
"""Folders above the main cfg that relative paths may start from."""

BACKUP, RESULTS = "backup", "results"
"""Usual folders of trained weights and of detections. Source: detector.c."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DarknetProject:
    """A main cfg, with the paths where its files are.

    Args:
        section: what `[pruning]` says. Its paths lead from the working directory to the files.
        data: the `.data` file.
        base: the folder that relative paths start from; "." for the working directory.
        notes: what users should know of these files.
    """

    section: PruningSection
    data: DataFile
    base: Path
    notes: tuple[str, ...] = ()

    @property
    def plan(self) -> Path:
        """The plan beside the pruned weights."""
        weights = self.section.prune_out_weights
        return weights.with_name(f"{weights.name}.plan.yaml")

    def plan_of(self, network: Network) -> tuple[Plan, bool]:
        """Return which channels of a network are gone, and whether a file says so.

        Where no plan stands beside the pruned weights (they are of vai_p_darknet itself), the
        channels whose weights are zero are those.

        Args:
            network: of full size.

        Raises:
            PlanError: the file is broken; or there is none, and no channel is zero.
        """
        if self.plan.exists():
            return load_plan(self.plan), True
        try:
            return plan_of_zeros(network, find_groups(network)), False
        except PlanError as error:
            raise PlanError(
                f"there is no plan '{self.plan}', which says what was removed, and {error.message}",
                hint="secateur pruner prune writes it beside the weights that prune_out_weights= "
                "names",
                where=self.section.where("prune_out_weights"),
            ) from error

    @property
    def backup(self) -> Path:
        """The folder of trained weights."""
        return self._folder("backup", BACKUP)

    @property
    def results(self) -> Path:
        """The folder of detections."""
        return self._folder("results", RESULTS)

    @property
    def full_size(self) -> Path:
        """The cfg that belongs to pruned and to fine-tuned weights."""
        pruned = self.section.prunedcfg
        return pruned if pruned.exists() else self.section.modelcfg

    def list_of(self, key: str) -> Path:
        """Return the list of images that `train=` or `valid=` names.

        Raises:
            DataError: the key is missing, or there is no such file.
        """
        found = self.data.file(key)
        if found is None:
            with located(file=str(self.data.path)):
                raise DataError(f"there is no {key}=, which this command needs")
        return found

    def images(self) -> tuple[Path, ...]:
        """Return the images of `valid=`, in the order in which they are read.

        Raises:
            DataError: the list cannot be read.
        """
        return tuple(path for path, _ in listed(self.list_of("valid")))

    def names(self, network: Network) -> Path | None:
        """Return the file with the names of the classes, as the network is told them."""
        keys = ("names", "labels") if network.heads else ("labels", "names")
        return self.data.file(*keys)

    def class_names(self, network: Network) -> tuple[str, ...]:
        """Return the names of a detector's classes.

        Raises:
            DataError: there are too few, or none.
        """
        classes = box_heads(network)[0].classes
        path = self.names(network)
        if path is None:
            with located(file=str(self.data.path)):
                raise DataError("there is no names=, which this command needs")
        names = read_names(path)
        if len(names) < classes:
            with located(file=str(path)):
                raise DataError(f"{len(names)} names for {classes} classes")
        return names[:classes]

    def train(self, network: Network, options: DataOptions | None = None) -> Dataset:
        """Open the images of `train=`.

        Raises:
            DataError: they cannot be opened, or do not fit the network.
        """
        options = replace(options or DataOptions(), names=self.names(network))
        return open_dataset(self.list_of("train"), network, options)

    def valid(self, network: Network, options: DataOptions | None = None) -> Dataset:
        """Open the images of `valid=`.

        Raises:
            DataError: they cannot be opened, or do not fit the network.
        """
        self.list_of("valid")
        return open_dataset(self.data.path, network, options)

    def weights(self, given: str | PathLike[str]) -> Path:
        """Return weights that a command line names: as they are named, or in the workspace.

        Raises:
            FormatError: there are no such weights.
        """
        path = Path(given)
        found = found_beside(str(path), [self.section.workspace])
        if found is None or found.is_dir():
            with located(file=str(path)):
                raise FormatError("no such file")
        return found

    def check_written(self, *keys: str) -> None:
        """Make the folders of files that are to be written, and check that they can be.

        Args:
            keys: of `[pruning]`; "backup" and "results" are folders of the `.data` file.

        Raises:
            FormatError: a folder cannot be made or written to; with the place of the key.
        """
        made: list[Path] = []
        try:
            for key in keys:
                self._make_folder(key, made)
        except FormatError:
            for folder in reversed(made):
                folder.rmdir()
            raise

    def _make_folder(self, key: str, made: list[Path]) -> None:
        """Make the folder of a key's file; what is new is added to `made`.

        Raises:
            FormatError: as for :meth:`check_written`.
        """
        if key in (BACKUP, RESULTS):
            folder = self._folder(key, key)
            line = self.data.values[key][1] if key in self.data.values else None
            where = Where(file=str(self.data.path), line=line, field=key)
        else:
            path: Path = getattr(self.section, key)
            folder = path if key == "workspace" else path.parent
            where = self.section.where(key if key in self.section.lines else "workspace")
            if key != "workspace":
                check_free(path)
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FormatError(
                f"the folder '{folder}' cannot be made: {error.strerror or error}", where=where
            ) from error
        made.extend(reversed(missing))
        if not os.access(folder, os.W_OK):
            raise FormatError(f"the folder '{folder}' cannot be written to", where=where)

    def check_apart(self, weights: Path) -> None:
        """Raise if pruned weights would be written over those that are read.

        Raises:
            FormatError: with the place of the key.
        """
        own = self.section.prune_out_weights
        if own.exists() and own.samefile(weights):
            raise FormatError(
                f"would overwrite the input {weights}",
                hint="give prune_out_weights= another name in each round",
                where=self.section.where("prune_out_weights"),
            )

    def make_pruned_cfg(self) -> bool:
        """Write `prunedcfg`, a copy of the network's cfg, if it is not there; return whether.

        Its keys about training are the user's to edit, so that it is never overwritten.

        Raises:
            FormatError: it cannot be written.
        """
        if self.section.prunedcfg.exists():
            return False
        self.check_written("prunedcfg")
        text = self.section.modelcfg.read_bytes()
        write_whole(self.section.prunedcfg, text, error=FormatError)
        return True

    def _folder(self, key: str, usual: str) -> Path:
        text = self.data.values.get(key, (usual, 0))[0]
        return _from(self.base, Path(text))


def open_darknet_project(path: str | PathLike[str]) -> DarknetProject:
    """Read a main cfg of vai_p_darknet and the `.data` file that it names.

    Relative paths start from the working directory, as for Darknet. If the network is not there,
    they start from the nearest folder above the main cfg where it is.

    Raises:
        FormatError: the main cfg is broken, or the network that it names is not there.
        DataError: the `.data` file is broken, or not there.
    """
    path = Path(path)
    section = read_pruning_section(path)
    folders = list(path.absolute().parents[:ABOVE])
    base = _base(section, folders)
    data = _from(base, section.datacfg)
    if not data.is_file():
        raise DataError(f"there is no file '{section.datacfg}'", where=section.where("datacfg"))
    notes = list(section.notes)
    if base != Path():
        notes.append(Caution(f"{path}: its paths start from {base}, where the network is"))
    placed = replace(
        section,
        workspace=_from(base, section.workspace), datacfg=data,
        modelcfg=_from(base, section.modelcfg), prunedcfg=_from(base, section.prunedcfg),
        ana_out_file=_from(base, section.ana_out_file),
        prune_out_weights=_from(base, section.prune_out_weights),
    )  # fmt: skip
    found = read_data_file(data)
    lists = [found.values[key][0] for key in ("train", "valid") if key in found.values]
    if len(lists) == 2 and lists[0] == lists[1]:
        notes.append(
            Caution(f"{data}: train= and valid= are the same images, which say little of others")
        )
    return DarknetProject(section=placed, data=found, base=base, notes=tuple(notes))


def _base(section: PruningSection, folders: list[Path]) -> Path:
    """Return the folder that relative paths start from.

    Raises:
        FormatError: the network is in none.
    """
    model = section.modelcfg
    for base in (Path(), *folders):
        if (base / model).is_file():
            return Path() if model.is_absolute() else base
    raise FormatError(
        f"there is no file '{model}'",
        hint="it is looked for in the working directory, and above the main cfg",
        where=section.where("modelcfg"),
    )


def _from(base: Path, path: Path) -> Path:
    return path if base == Path() or path.is_absolute() else base / path


def save_named(
    pruned: Network | PruneResult,
    names: Mapping[str, Path],
    *,
    plan: Path | None = None,
    data: Dataset | None = None,
    progress: Progress = silent,
) -> Saved:
    """Write a network under names of its own for each file, verified like any other.

    All files are written and verified aside, and only then moved into place.

    Args:
        pruned: the network, or the result of a pruning.
        names: usual suffix → the file. Files that are not named are verified and not kept.
        plan: the file of the plan; None to write none.
        data: as for :func:`save`.
        progress: likewise.

    Raises:
        FormatError: a file cannot be written, or is an input.
        VerificationError: the written files do not compute the same.
    """
    network = pruned.network if isinstance(pruned, PruneResult) else pruned
    own = network.source.paths if network.source is not None else {}
    targets = [*names.values(), *([plan] if plan is not None else [])]
    for target in targets:
        check_free(target)
        if any(target.exists() and target.samefile(source) for source in own.values()):
            with located(file=str(target)):
                raise FormatError(f"would overwrite the input {target.name}")
    aside: Path | None = None
    try:
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".secateur-", dir=targets[0].parent))
        saved = save(pruned, aside, data=data, progress=progress)
        written = dict(zip(own, saved.paths, strict=True))
        for suffix, target in names.items():
            shutil.move(written[suffix], target)
        if plan is not None and saved.plan is not None:
            shutil.move(saved.plan, plan)
    except OSError as error:
        where = Where(file=str(error.filename or targets[0]))
        raise FormatError(f"cannot be written: {error.strerror or error}", where=where) from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
    return replace(saved, paths=tuple(names.values()), plan=plan if saved.plan else None)
