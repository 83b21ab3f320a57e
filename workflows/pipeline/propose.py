"""A pipeline for a model: what its files and data tell, and settings that are a sensible start."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

from ...core.cost.budgets import CONVOLUTIONS, OPERATIONS
from ...core.cost.network_cost import measure_cost
from ...core.coupling import find_groups
from ...core.data.options import DataOptions
from ...core.errors import FormatError, SecateurError, located
from ...core.evaluation.task import Task, find_task
from ...core.files import write_whole
from ...core.ir.heads import box_heads, classes_of
from ...core.ir.network import Caution, Network, Preprocess
from ...core.plan.limits import Limits
from ...core.training.framework import check_installed
from ...formats.caffe.pruner_config import read_pruner_config
from ...formats.loading import load
from ...formats.options import LoadOptions
from ...formats.saving import check_free
from ..caffe_pruner.project import excluded_layers, found_file
from ..darknet_pruner import is_pruning_cfg, open_darknet_project
from ..datasets import open_dataset
from ..preprocessing import with_preprocess
from .options import DataSource, PruneStep
from .run import reach_demand
from .splits import Split, is_pruner_config, splits_of

__all__ = ["Proposal", "check_new", "propose_pipeline", "save_text"]

RATE = 0.3
"""Rate to begin with: what most networks lose without training (docs/results.md)."""

PART = 0.7
"""Of a largest rate below that: this part."""

CALIBRATED = 500
"""Samples to choose channels by. More make hardly a difference (docs/results.md)."""

TIME = 600
"""Seconds of fine-tuning to begin with."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A pipeline for a model, and what was found on the way.

    Args:
        model: the files of the model.
        companions: further descriptions.
        loading: how the files are read: options that are not the usual ones.
        facts: what was found, a line each.
        preprocess: how images become inputs, as it was found.
        stated: whether a file says so.
        differs: options of data that the data's own files ask for.
        data: what data is for → it.
        same: whether the test data also chooses channels or trains.
        task: what the network is measured by; None where nobody knows.
        steps: step → its options, in the names of fields.
        without: step → why it is left out.
        most: the largest rate.
        notes: what must be told.
    """

    model: tuple[Path, ...]
    companions: tuple[Path, ...]
    loading: LoadOptions
    facts: tuple[str, ...]
    preprocess: Preprocess
    stated: bool
    differs: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, DataSource]
    same: bool
    task: str | None
    steps: Mapping[str, Mapping[str, Any]]
    without: Mapping[str, str]
    most: float
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What a user named, or a config of a predecessor."""

    files: tuple[Path, ...]
    companions: tuple[Path, ...] = ()
    loading: LoadOptions
    splits: Mapping[str, Split]
    prune: Mapping[str, Any] = field(default_factory=dict)
    finetune: Mapping[str, Any] = field(default_factory=dict)
    ana: Mapping[str, Any] | None = None
    valid: Mapping[str, Any] = field(default_factory=dict)
    sparse: bool = False
    limit: int | None = None
    notes: tuple[str, ...] = ()


def propose_pipeline(
    *files: str | PathLike[str],
    companions: Sequence[str | PathLike[str]] = (),
    data: str | PathLike[str] | None = None,
    validation: str | PathLike[str] | None = None,
    test: str | PathLike[str] | None = None,
    loading: LoadOptions | None = None,
) -> Proposal:
    """Return a pipeline for a model.

    Args:
        files: the files of the model; or the config of vai_p_caffe, or the main cfg of
            vai_p_darknet with weights.
        companions: further descriptions of the model.
        data: data of any kind; a `.data` file and a train_val name several parts, and folders may
            be called train, val and test.
        validation: data for validation.
        test: data for the final figures.
        loading: how files are read.

    Raises:
        SecateurError: files or data cannot be read, do not fit, or nothing can be pruned.
    """
    wanted = _wanted(tuple(map(Path, files)), loading or LoadOptions(), data)
    wanted = replace(wanted, companions=tuple(map(Path, companions)))
    network = with_preprocess(
        load(*wanted.files, companions=wanted.companions, options=wanted.loading)
    )
    splits = dict(wanted.splits)
    if data is not None:
        splits = splits_of(Path(data), detector=bool(box_heads(network)))
        wanted = replace(wanted, splits=splits)
    for role, path in (("validation", validation), ("test", test)):
        if path is not None:
            found = splits_of(Path(path), detector=bool(box_heads(network)))
            splits[role] = found.get(role) or found.get("validation") or found["training"]
    differs = _differing(network, splits)
    sources = _sources(splits, differs, wanted.limit)
    task, notes = _looked_at(network, sources)
    without = _without(sources)
    demand = reach_demand(network, _asked(wanted.prune))
    assert demand is not None, "no plan is given"
    most = demand.reach().sure
    test_path = sources["test"].path if "test" in sources else None
    return Proposal(
        model=wanted.files,
        companions=wanted.companions,
        loading=wanted.loading,
        facts=_facts(network, task),
        preprocess=DataOptions(**differs).changed(network.preprocess),
        stated=bool(network.preprocess.origin)
        or network.preprocess != Preprocess(channels=network.preprocess.channels),
        differs=differs,
        data=sources,
        same=test_path is not None and test_path in (
            sources[role].path for role in ("calibration", "training") if role in sources
        ),
        task=task.name if task is not None and not task.needs_original else None,
        steps=_steps(wanted, most, without),
        without=without,
        most=most,
        notes=(*wanted.notes, *(n for n in network.notes if isinstance(n, Caution)), *notes),
    )  # fmt: skip


def _wanted(files: tuple[Path, ...], loading: LoadOptions, data: object) -> _Wanted:
    """Return what the files are: a model, or a config that names one."""
    if is_pruner_config(files):
        return _of_pruner_config(files[0], loading)
    cfgs = [path for path in files if path.is_file() and is_pruning_cfg(path)]
    if cfgs:
        return _of_pruning_cfg(cfgs[0], tuple(path for path in files if path not in cfgs), loading)
    splits: Mapping[str, Split] = {}
    texts = [path for path in files if path.suffix.lower() == ".prototxt" and path.is_file()]
    if data is None and texts:
        try:  # a train_val may name data that is here
            splits = splits_of(texts[0], detector=False)
        except SecateurError:
            splits = {}
    return _Wanted(files=files, loading=loading, splits=splits)


def _of_pruner_config(path: Path, loading: LoadOptions) -> _Wanted:
    """Return what a config of vai_p_caffe names."""
    config = read_pruner_config(path)
    model = found_file(config, "model", config.model)
    weights = found_file(config, "weights", config.weights)
    splits = splits_of(model, detector=False)
    shaped = next((split for split in reversed([*splits.values()]) if split.top), None)
    if shaped is not None:
        loading = replace(loading, input_shapes={shaped.top: shaped.shape})
    network = load(model, weights, options=loading)
    solver = found_file(config, "solver", config.solver) if config.solver else None
    training = splits.get("training")
    test = splits.get("validation")
    return _Wanted(
        files=(model, weights),
        loading=loading,
        splits=splits,
        prune={
            "exclude": excluded_layers(network, config),
            "budget": CONVOLUTIONS,
            "round_to": 2,
            **({"rate": config.rate} if config.rate is not None else {}),
        },
        finetune={
            **({"solver": solver} if solver is not None else {}),
            **({"batch_size": training.batch} if training is not None and training.batch else {}),
        },
        sparse=True,
        limit=None if test is None else config.test_iter * (test.batch or 1),
    )


def _of_pruning_cfg(path: Path, rest: tuple[Path, ...], loading: LoadOptions) -> _Wanted:
    """Return what a main cfg of vai_p_darknet names."""
    project = open_darknet_project(path)
    section = project.section
    if not rest:
        with located(file=str(path)):
            raise FormatError("the weights are missing", hint="give the .weights with the main cfg")
    names = [str(number) for number in section.ignore_layer]
    prune: dict[str, Any] = {"round_to": section.kernel_batch, "exclude": tuple(names)}
    ana = None
    if section.threshold is not None:
        prune |= {"threshold": section.threshold, "criterion": "obs"}
        ana = {"threshold": section.threshold}
    network = load(section.modelcfg, *rest, options=loading)
    return _Wanted(
        files=(section.modelcfg, *(project.weights(each) for each in rest)),
        loading=loading,
        splits=splits_of(project.data.path, detector=bool(box_heads(network))),
        prune=prune,
        ana=ana,
        sparse=True,
        notes=project.notes,
    )


def _asked(prune: Mapping[str, Any]) -> PruneStep:
    """Return what bounds the rate, whatever it is."""
    return PruneStep(
        rate=0.0,
        budget=prune.get("budget", OPERATIONS),
        exclude=prune.get("exclude", ()),
        limits=Limits(round_to=prune.get("round_to", 1)),
    )


def _differing(network: Network, splits: Mapping[str, Split]) -> dict[str, Any]:
    """Return options that make data as its own files say, where the model's say otherwise."""
    stated = next((s.preprocess for s in reversed([*splits.values()]) if s.preprocess), None)
    own = network.preprocess
    if stated is None or stated == own:
        return {}
    found: dict[str, Any] = {}
    for name in ("mean", "mean_file", "scale", "channels"):
        value = getattr(stated, name)
        if value != getattr(own, name) and value != getattr(Preprocess(), name):
            found[name] = value
    if stated.resize and stated.resize != own.resize:
        found["resize"] = stated.resize
    elif stated.crop and not own.crop:
        found["crop"] = True
    return found


def _sources(
    splits: Mapping[str, Split], differs: Mapping[str, Any], limit: int | None
) -> dict[str, DataSource]:
    """Return data by what it is for: some of the training data calibrates."""
    found: dict[str, DataSource] = {}
    first = splits.get("training") or splits.get("validation") or splits.get("test")
    if first is None:
        return found

    def source(split: Split, **more: Any) -> DataSource:
        options = DataOptions(root=split.root, names=split.names, **differs, **more)
        return DataSource(path=split.path, options=options)

    found["calibration"] = source(first, limit=CALIBRATED)
    if "training" in splits:
        found["training"] = source(splits["training"])
    if "validation" in splits:
        found["validation"] = source(splits["validation"], limit=limit)
    test = splits.get("test") or splits.get("validation") or first
    found["test"] = source(test, limit=limit)
    return found


def _looked_at(
    network: Network, sources: Mapping[str, DataSource]
) -> tuple[Task | None, list[str]]:
    """Return what the network is measured by, and what must be told; all data is opened.

    Raises:
        DataError: data cannot be opened.
    """
    task = None
    notes: list[str] = []
    for role, source in sources.items():
        dataset = open_dataset(Path(source.path), network, source.options)
        if role == "test":
            task = find_task(network, dataset)
            if not dataset.labelled:
                notes.append(f"{dataset.name} has no labels: models are compared by their outputs")
    return task, notes


def _without(sources: Mapping[str, DataSource]) -> dict[str, str]:
    """Return which steps are left out, and why."""
    if not sources:
        why = "there is no data: `secateur init … --data` adds it"
        return {"finetune": why, "valid": why}
    if "training" not in sources:
        return {"finetune": "there is no data to train on"}
    try:
        check_installed()
    except SecateurError as error:
        return {"finetune": f"{error.message} ({error.hint})"}
    return {}


def _steps(
    wanted: _Wanted, most: float, without: Mapping[str, str]
) -> dict[str, Mapping[str, Any]]:
    """Return the steps with their options."""
    steps: dict[str, Mapping[str, Any]] = {}
    if wanted.ana is not None:
        steps["ana"] = wanted.ana
    prune = {"rate": _rate(most), "budget": OPERATIONS, **wanted.prune}
    if "threshold" in prune:
        del prune["rate"], prune["budget"]
    steps["prune"] = {**prune, "sparse": wanted.sparse}
    if "finetune" not in without:
        time = {} if "solver" in wanted.finetune else {"time": float(TIME)}
        steps["finetune"] = {**time, **wanted.finetune}
    if wanted.sparse:
        steps["transform"] = {}
    if "valid" not in without:
        steps["valid"] = wanted.valid
    return steps


def _rate(most: float) -> float:
    """Return a rate to begin with, which can be reached."""
    if most >= RATE / PART:
        return RATE
    digits = 100 if most >= 0.02 else 1000
    return max(1, math.floor(most * PART * digits)) / digits


def _facts(network: Network, task: Task | None) -> tuple[str, ...]:
    """Return what was found, a line each."""
    cost = measure_cost(network, find_groups(network))
    source = network.source.format if network.source is not None else "onnx"
    inputs = ", ".join(
        f"{name} {'×'.join(str(size) for size in shape[1:])}"
        for name, shape in network.inputs.items()
    )
    kinds = {"caffe": "Caffe", "darknet": "Darknet", "onnx": "ONNX"}
    lines = [
        f"{network.name}: {kinds.get(source, source)}, input {inputs}",
        f"{cost.operations:,} operations a sample, {cost.parameters:,} parameters",
    ]
    boxes = box_heads(network)
    if boxes:
        lines.append(f"a detector of {boxes[0].classes} classes")
    elif classes := classes_of(network):
        lines.append(f"a classifier of {classes} classes")
    if task is not None:
        lines.append(f"measured by: {task.metric} ({task.name})")
    return tuple(lines)


def check_new(path: str | PathLike[str], *, force: bool = False) -> None:
    """Check before work that a file can be written where there is none.

    Args:
        path: the file.
        force: whether an existing file may be replaced.

    Raises:
        FormatError: it exists, or has no folder.
    """
    target = Path(path)
    check_free(target)
    with located(file=str(target)):
        if target.exists() and not force:
            raise FormatError(
                "it is there already", hint="--force writes over it, -o gives another name"
            )
        if not target.absolute().parent.is_dir():
            raise FormatError(f"there is no folder '{target.parent}'")


def save_text(text: str, path: str | PathLike[str], *, force: bool = False) -> None:
    """Write a text to a new file, whole or not at all.

    Args:
        text: its content.
        path: the file.
        force: whether an existing file is replaced.

    Raises:
        FormatError: the file exists, or cannot be written.
    """
    check_new(path, force=force)
    write_whole(Path(path), text.encode(), error=FormatError)
