"""The step `transform` of vai_p_caffe: the channels that a sparse model lost are taken out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from ...core.coupling import find_groups
from ...core.errors import FormatError, SecateurError, Where
from ...core.files import folder_aside, same_bytes
from ...core.ir.network import Network
from ...core.plan.files import load_plan
from ...core.plan.plan import Plan
from ...core.plan.zeros import plan_of_zeros
from ...core.progress import Progress, silent
from ...core.pruning.densify import check_finite, densify
from ...core.pruning.result import PruneResult
from ...formats.caffe.data.named import named_data
from ...formats.loading import load
from ...formats.options import LoadOptions
from ...formats.saving import PLAN_NAME, save
from .project import FINAL, NET_FINETUNE

__all__ = ["TransformedModel", "stored_shapes", "transform_model"]


@dataclass(frozen=True, kw_only=True)
class TransformedModel:
    """What taking channels out came to.

    Args:
        result: the small network.
        text: the net of full size that the weights were read with.
        plan: the file that said which channels leave; None where their zeros did.
        weights: the written weights.
        net: the net that they go with.
        shapes: of inputs that the text leaves to its data.
    """

    result: PruneResult
    text: Path
    plan: Path | None
    weights: Path
    net: Path
    shapes: Mapping[str, tuple[int, ...]]


def transform_model(
    model: str | PathLike[str],
    weights: str | PathLike[str],
    output: str | PathLike[str],
    progress: Progress = silent,
) -> TransformedModel:
    """Take the channels that are zero out of a sparse model of vai_p_caffe, and write its weights.

    Which channels leave is said by a plan beside the weights; without one, by their zeros.

    Args:
        model: the net of full size. With the small one, that of full size beside it is taken.
        weights: the sparse weights, trained or not.
        output: the file of the small weights. The net that goes with it is written beside it, if
            it is not there already.
        progress: told how far the work is.

    Raises:
        FormatError: the files do not fit together, or the output cannot be written.
        PlanError: no channel is zero.
        VerificationError: the small network does not compute what the sparse one does.
    """
    model, weights, output = Path(model), Path(weights), Path(output)
    for path in (model, weights):
        if not path.is_file():
            raise FormatError("no such file", where=Where(file=str(path)))
    network, text = _full_size(model, weights)
    check_finite(network)
    result, plan = _small(network, _near(PLAN_NAME, model, weights), progress)
    finals = _near(FINAL, model, weights)
    written, net = _written(result.network, output, [*finals, model], (text, weights), progress)
    return TransformedModel(
        result=result, text=text, plan=plan, weights=written, net=net, shapes=stored_shapes(text)
    )


def stored_shapes(model: Path) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of images that a net's text leaves to its data; {} where there is none."""
    for phase in ("TEST", "TRAIN"):
        try:
            found = named_data(model, phase)
        except SecateurError:  # the reader says better what is missing, if anything is
            continue
        return {found.top: found.shape}
    return {}


def _near(name: str, *files: Path) -> list[Path]:
    """Return the files of a name beside others, and in the folders above them."""
    folders = dict.fromkeys(
        folder
        for path in files
        for folder in (path.parent, path.parent.parent if path.parent.name else Path(".."))
    )
    return [folder / name for folder in folders if (folder / name).is_file()]


def _full_size(model: Path, weights: Path) -> tuple[Network, Path]:
    """Return the network of full size, and its text.

    Raises:
        FormatError: the files do not fit together.
    """
    first: SecateurError | None = None
    for text in (model, *_near(NET_FINETUNE, model, weights)):
        try:
            shapes = LoadOptions(input_shapes=stored_shapes(text))
            return load(text, weights, options=shapes), text
        except SecateurError as error:
            first = first or error
    assert first is not None, "one text is tried at least"
    raise first


def _small(
    network: Network, plans: Sequence[Path], progress: Progress
) -> tuple[PruneResult, Path | None]:
    """Return the small network, and the plan that it was made by.

    Raises:
        PlanError: neither a plan nor zeros say what leaves.
    """
    for path in plans:
        plan = load_plan(path)
        if _fits(network, plan):
            return densify(network, plan, progress=progress), path
    return densify(network, plan_of_zeros(network, find_groups(network)), progress=progress), None


def _fits(network: Network, plan: Plan) -> bool:
    """Whether a plan is of a network of these groups and sizes."""
    sizes = {group.name: len(group.units) for group in find_groups(network).groups}
    return all(sizes.get(entry.name) == entry.channels for entry in plan.groups)


def _written(
    network: Network,
    output: Path,
    finals: Sequence[Path],
    inputs: Sequence[Path],
    progress: Progress,
) -> tuple[Path, Path]:
    """Write the weights; and the net, where no known text is the same. Return both.

    Raises:
        FormatError: they cannot be written, or an input would be overwritten.
    """
    with folder_aside(output.parent, place=output, error=FormatError) as aside:
        saved = save(network, aside / "model.caffemodel", progress=progress)
        made = {path.suffix: path for path in saved.paths}
        text = made[".prototxt"]
        same = next((path for path in finals if same_bytes(path, text)), None)
        targets = {made[".caffemodel"]: output}
        if same is None:
            targets[text] = output.with_suffix(".prototxt")
        _refuse(targets.values(), inputs)
        for path, target in targets.items():
            path.replace(target)
    return output, same if same is not None else output.with_suffix(".prototxt")


def _refuse(targets: Iterable[Path], inputs: Sequence[Path]) -> None:
    """Raise if a path to be written is an input.

    Raises:
        FormatError: names it.
    """
    for target in targets:
        for path in inputs:
            if target.exists() and target.samefile(path):
                raise FormatError(
                    f"would overwrite the input {path.name}",
                    hint="-output names another file",
                )
