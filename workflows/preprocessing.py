"""How images become inputs, where a network's own files do not say it, or the user says otherwise.

What counts, in this order: what the user asks for; what a plan remembers; the network's own files;
its companions; files beside it, if they are of its layers. Options change parts of what is found.
Where nothing says it, 8-bit pixels are taken as they are, and whoever reads data says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.data import DataOptions, Dataset
from ..core.data.opening import with_mean_image
from ..core.data.options import AUTOMATIC, LIKE
from ..core.data.part import some_of
from ..core.data.stated import PREPROCESS, described, preprocess_of
from ..core.data.text import found_beside
from ..core.data.usual import USUAL
from ..core.errors import DataError, FormatError, PlanError, located
from ..core.evaluation.fitted import fit_data
from ..core.evaluation.loss import LossMeter
from ..core.evaluation.task import Task
from ..core.ir.network import Network, Preprocess
from ..core.options import options_of
from ..core.plan.files import load_plan
from ..core.plan.plan import Plan
from ..core.progress import Progress, silent
from ..formats.registry import FORMATS
from ..formats.saving import PLAN_NAME

__all__ = ["PreprocessTrial", "stated_preprocess", "try_preprocess", "with_mean", "with_preprocess"]

TRIED = 200
"""Samples that each preprocessing is tried on, spread over the data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessTrial:
    """What a network is worth with one preprocessing.

    Args:
        name: what it is called.
        preprocess: the preprocessing.
        task: what was measured.
        value: the figure.
        samples: on how many samples.
    """

    name: str
    preprocess: Preprocess
    task: Task
    value: float
    samples: int

    @property
    def text(self) -> str:
        """The figure as people read it."""
        return f"{self.task.metric} {self.task.text(self.value)}"


def with_preprocess(
    network: Network,
    options: DataOptions | None = None,
    *,
    plan: Plan | None = None,
    **settings: Any,
) -> Network:
    """Return the network with the preprocessing that counts for it.

    Where there is no data, the noise that stands for it lies in the range that this gives.

    Args:
        network: the network, unchanged by this.
        options: how data is made into inputs.
        plan: what it was pruned by, or is to be; it remembers what was used.
        settings: fields of :class:`DataOptions`, instead of `options`.

    Raises:
        DataError: the mean file is not there, or broken, or `auto` is asked for, which needs data
            (:func:`try_preprocess`).
        FormatError: a file that the user names says nothing of preprocessing.
        PlanError: what the plan remembers is broken.
    """
    options = options_of(DataOptions, options, settings)
    if options.preprocessing == AUTOMATIC:
        raise DataError(
            "which preprocessing fits is found out by labelled data, and there is none",
            hint="give --data with labels, or like=FILE",
            option="preprocessing",
        )
    found = stated_preprocess(network, options, plan)
    changed = with_mean(network, options.changed(found))
    return replace(network, preprocess=changed)


def stated_preprocess(
    network: Network, options: DataOptions, plan: Plan | None = None
) -> Preprocess:
    """Return what counts for a network before options change parts of it.

    Args:
        network: the network.
        options: of them, the file that the user names.
        plan: as for :func:`with_preprocess`.

    Raises:
        FormatError, PlanError: as for :func:`with_preprocess`.
    """
    asked = options.preprocessing or ""
    if asked.startswith(LIKE):
        return _like(network, Path(asked.removeprefix(LIKE)))
    own = network.preprocess
    if plan is not None and PREPROCESS in plan.provenance:
        with located(file=plan.file):
            origin = plan.file or "the plan"
            found = preprocess_of(plan.provenance[PREPROCESS], origin)
        differs = found != own
        return replace(found, remark=_remark(found, f"{origin} remembers") if differs else "")
    if own.origin or asked in USUAL:
        return own
    for companion in network.companions:
        found = companion.preprocess
        if found.origin:
            return replace(found, remark=_remark(found, f"'{companion.name}' says"))
    return _beside(network, options)


def _remark(found: Preprocess, who: str) -> str:
    return f"images become inputs as {who}: {described(found)}"


def _like(network: Network, path: Path) -> Preprocess:
    """Return what a file says that the user names.

    Raises:
        FormatError: it says nothing.
        PlanError: it is a broken plan, or remembers nothing.
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        plan = load_plan(path)
        with located(file=str(path)):
            if PREPROCESS not in plan.provenance:
                raise PlanError("the plan remembers no preprocessing: it was made without images")
            return preprocess_of(plan.provenance[PREPROCESS], str(path))
    if not path.is_file():
        with located(file=str(path)):
            raise FormatError("no such file")
    reader = next(known.stated for known in FORMATS.values() if known.stated is not None)
    return reader(path, network)


def _beside(network: Network, options: DataOptions) -> Preprocess:
    """Return what files beside a network say; its own, with a remark, where they are of no use."""
    own = network.preprocess
    planned = _plan_beside(network)
    if planned is not None:
        return planned
    found = {
        path: preprocess
        for known in FORMATS.values()
        if known.beside is not None
        for path, preprocess in known.beside(network).items()
    }
    if not found:
        return own
    (path, first), *others = found.items()
    names = ", ".join(f"'{path.name}'" for path in found)
    if any(other != first for _, other in others):
        return replace(own, remark=f"{names} say different things of how images become inputs")
    replaced = options.mean is not None or options.mean_file is not None
    if first.mean_file and not replaced and _mean_path(network, first.mean_file) is None:
        return replace(
            own,
            remark=f"'{path.name}' subtracts the mean image '{first.mean_file}', which is not "
            "there (--mean-file)",
        )
    return replace(first, remark=_remark(first, f"'{path.name}' beside the model says"))


def _plan_beside(network: Network) -> Preprocess | None:
    """Return what the plan remembers that a network was pruned by, if it stands beside it."""
    paths = network.source.paths.values() if network.source is not None else ()
    layers = {layer.name for layer in network.layers}
    for path in sorted({path.parent / PLAN_NAME for path in paths}):
        if not path.is_file():
            continue
        try:
            plan = load_plan(path)
            fits = all(layers.issuperset(group.layers) for group in plan.groups)
            if not fits or plan.provenance.get("model") != network.name:
                continue
            if PREPROCESS in plan.provenance:
                found = preprocess_of(plan.provenance[PREPROCESS], str(path))
                return replace(found, remark=_remark(found, f"{path} remembers"))
        except PlanError:  # of no concern: nobody asked for it
            continue
    return None


def _mean_path(network: Network, name: str) -> Path | None:
    """Return the path of a mean file: as it is named, or beside the network's own files."""
    own = network.source.paths.values() if network.source is not None else ()
    folders = [path.parent for path in own]
    return found_beside(name, folders) or found_beside(Path(name).name, folders)


def with_mean(network: Network, preprocess: Preprocess) -> Preprocess:
    """Return preprocessing with the mean image its file holds.

    The file is looked for as it is named, and beside the network's own files.

    Raises:
        DataError: it is not there, or broken.
    """
    if not preprocess.mean_file or preprocess.mean_image is not None:
        return preprocess
    found = _mean_path(network, preprocess.mean_file)
    if found is None:
        raise DataError(
            f"the mean file '{preprocess.mean_file}' is not there",
            hint="--mean-file says where it is, --mean gives a value a channel instead",
        )
    if found.suffix.lower() == ".npy":
        return with_mean_image(replace(preprocess, mean_file=str(found)))
    read_mean = next(known.read_mean for known in FORMATS.values() if known.read_mean is not None)
    return replace(preprocess, mean_file=str(found), mean_image=read_mean(found))


def try_preprocess(
    network: Network,
    options: DataOptions,
    opened: Callable[[Network, DataOptions], Dataset],
    *,
    task: Task | str | None = None,
    progress: Progress = silent,
) -> tuple[PreprocessTrial, ...]:
    """Measure a network with the usual preprocessings, the best first.

    Arithmetic and order of channels are tried first, then whether the best of these is better with
    images letterboxed, or cut. What options say is not tried otherwise.

    Args:
        network: the network.
        options: how data is read.
        opened: opens the labelled data for a network with some preprocessing.
        task: what is measured, if not what the labels call for.
        progress: told how far the work is.

    Raises:
        DataError: there are no labels, or they do not fit; or the data holds no pixels.
    """
    plainly = replace(options, preprocessing=None)

    def tried(candidates: Iterator[tuple[str, Preprocess]]) -> list[PreprocessTrial]:
        found: list[PreprocessTrial] = []
        for name, preprocess in candidates:
            own = with_mean(network, plainly.changed(preprocess))
            if any(own == other.preprocess for other in (*trials, *found)):
                continue
            prepared = replace(network, preprocess=replace(own, origin=name, remark=""))
            found.append(_trial(name, prepared, opened(prepared, plainly), task, progress))
        return found

    trials: list[PreprocessTrial] = []
    trials += tried(_arithmetics(network, options))
    trials += tried(_geometries(network, _sorted(trials)[0], options))
    return tuple(_sorted(trials))


def _trial(
    name: str, network: Network, dataset: Dataset, task: Task | str | None, progress: Progress
) -> PreprocessTrial:
    """Measure a network on samples that are spread over the data."""
    if getattr(dataset, "preprocess", None) is None:
        raise DataError(
            f"{dataset.name} holds inputs, not images: there is no preprocessing to be tried",
            option="preprocessing",
        )
    fitting = fit_data(network, dataset, task, asked=True)
    if fitting.task.needs_original:
        raise DataError(
            f"{dataset.name} has no labels: which preprocessing fits cannot be found out",
            hint="--preprocess like=FILE, --mean and --scale",
            option="preprocessing",
        )
    some = some_of(dataset, network, TRIED)
    meter = LossMeter.of(network, some, fitting.task, progress=progress)
    value = meter.original_value
    return PreprocessTrial(
        name=name, preprocess=network.preprocess, task=fitting.task,
        value=float("nan") if value is None else value, samples=some.samples,
    )  # fmt: skip


def _sorted(trials: list[PreprocessTrial]) -> list[PreprocessTrial]:
    """Return trials with the best first; of equal ones, the first that was tried."""

    def rank(trial: PreprocessTrial) -> float:
        value = trial.value if np.isfinite(trial.value) else -np.inf
        return -value if trial.task.higher_is_better else value

    return sorted(trials, key=rank)


def _arithmetics(network: Network, options: DataOptions) -> Iterator[tuple[str, Preprocess]]:
    """Yield what the network's own files say, then the usual arithmetic in each order of channels,
    and mean images beside the network.
    """
    own = stated_preprocess(network, replace(options, preprocessing=None))
    if own.origin:
        yield own.origin, own
    shapes = [shape for shape in network.inputs.values() if len(shape) == 4]
    orders = ("gray",) if shapes and shapes[0][1] == 1 else ("bgr", "rgb")
    base = replace(own, mean_file="", mean_image=None)
    for order in orders:
        for name, usual in USUAL.items():
            called = name if order == "gray" else f"{name}, {order}"
            yield (
                called,
                replace(base, channels=order, mean=usual.means(order), scale=usual.scale),
            )
        for path in _mean_images(network):
            preprocess = replace(base, channels=order, mean=(), scale=1.0, mean_file=str(path))
            yield f"{path.name}, {order}", preprocess


def _mean_images(network: Network) -> list[Path]:
    """Return the mean images that stand beside a network."""
    own = network.source.paths.values() if network.source is not None else ()
    folders = sorted({path.parent for path in own})
    return [path for folder in folders for path in sorted(folder.glob("*mean*.binaryproto"))]


def _geometries(
    network: Network, best: PreprocessTrial, options: DataOptions
) -> Iterator[tuple[str, Preprocess]]:
    """Yield the other ways to fit images into the input, where the user does not say one."""
    given = best.preprocess
    shapes = [shape[2:] for shape in network.inputs.values() if len(shape) == 4]
    sizes = {size for size in shapes[0] if isinstance(size, int)} if shapes else set()
    side = sizes.pop() if len(sizes) == 1 else None
    if options.letterbox is not None or options.crop or options.resize is not None:
        return
    plainly = replace(given, letterbox=False, crop=False, resize=())
    yield f"{best.name}, stretched", plainly
    yield f"{best.name}, letterboxed", replace(plainly, letterbox=True)
    if side is not None:
        yield f"{best.name}, cut", replace(plainly, crop=True, resize=(side,))
