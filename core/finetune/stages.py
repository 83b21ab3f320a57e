"""What is trained in which order: stages, each with its losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..data.base import TargetKind
from ..errors import DataError
from ..ir.network import Network
from ..training.losses.euclidean import EuclideanLoss
from ..training.losses.map import MapLoss
from ..training.losses.shares import ShareLoss
from ..training.recipe import Objective
from .options import FinetuneOptions
from .places import places_of
from .targets import LABEL, SHARES, VALUES
from .teacher import Comparisons

__all__ = ["BOTH", "Stage", "matched", "sparsified", "stages_of", "task_objectives"]

BOTH = 0.5
"""Share of the teacher in the loss where there are labels too."""

VECTORS, FEATURES = 0.1, 0.5
"""Where there is a teacher alone: the share of all steps that trains vectors, and the share of the
others that compares features alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A part of training.

    Args:
        name: for people.
        objectives: what is minimised.
        vectors: only parameters with one axis are trained: biases, and factors of normalisations.
        share: of all steps.
        sparsifies: channels leave in this stage.
    """

    name: str
    objectives: tuple[Objective, ...]
    vectors: bool = False
    share: float = 1.0
    sparsifies: bool = False


def task_objectives(network: Network, kind: TargetKind) -> tuple[Objective, ...]:
    """Return the losses that labels call for, where no file names any.

    Args:
        network: the network.
        kind: what is known of the samples.

    Raises:
        DataError: the network has no output for such labels, or only its files could say more.
    """
    places = places_of(network)
    if kind == "label":
        if not places.classes:
            raise DataError("the data has a class a sample, but no output has scores of classes")
        name = next(reversed([n for n in network.outputs if n in places.classes]))
        return (Objective(name="labels", loss=ShareLoss(), reads=(places.scores[name], SHARES)),)
    if kind == "pixels":
        name = next(reversed(network.outputs))
        return (Objective(name="labels", loss=MapLoss(), reads=(places.scores[name], LABEL)),)
    if kind == "values":
        name = next(reversed(network.outputs))
        return (Objective(name="values", loss=EuclideanLoss(), reads=(name, VALUES)),)
    raise DataError(
        "the loss of these boxes stands in files that were not given",
        hint="give a teacher to learn from, or the files that training used",
    )


def matched(options: FinetuneOptions, compared: Comparisons) -> tuple[Objective, ...]:
    """Return what a network is compared with its teacher in, in the end."""
    features, outputs = compared.features, compared.outputs
    return {
        "layers": compared.layers or outputs,
        "features": features or outputs,
        "outputs": outputs,
        "both": (*features, *outputs),
        "auto": (*features, *outputs),
    }[options.match]


def stages_of(
    options: FinetuneOptions, labels: Sequence[Objective], compared: Comparisons | None
) -> tuple[Stage, ...]:
    """Return the stages of a training.

    Args:
        options: what the user asks for.
        labels: losses by labels; empty without labels.
        compared: what the network is compared with its teacher in; None without a teacher.

    Raises:
        DataError: there is nothing to learn from.
    """
    if compared is None:
        if not labels:
            raise DataError(
                "there is nothing to learn from: the data has no labels",
                hint="--teacher FILES: learn from the network before pruning",
            )
        return (Stage(name="labels", objectives=tuple(labels), vectors=options.train == "vectors"),)
    chosen = matched(options, compared)
    share = options.distill if options.distill is not None else BOTH
    if labels:
        both = (*_weighted(labels, 1 - share), *_weighted(chosen, share))
        name = "labels and teacher" if 0 < share < 1 else "teacher" if share else "labels"
        return (Stage(name=name, objectives=both, vectors=options.train == "vectors"),)
    stages = [Stage(name="teacher", objectives=chosen)]
    if options.match == "auto":
        stages = _ladder(compared, chosen)
    if options.train == "vectors":
        return tuple(replace(stage, vectors=True) for stage in stages)
    if options.train == "auto":
        first = Stage(name="vectors", objectives=stages[0].objectives, vectors=True, share=VECTORS)
        rest = [replace(stage, share=stage.share * (1 - VECTORS)) for stage in stages]
        return (first, *rest)
    return tuple(stages)


def sparsified(stages: Sequence[Stage], name: str, ramp: float) -> tuple[Stage, ...]:
    """Return stages with one before them in which channels leave.

    Args:
        stages: those that train what is left; there are none where `ramp` is 1.
        name: of the stage in which channels leave. It minimises what the last stage does.
        ramp: its share of all steps.
    """
    last = stages[-1]
    first = replace(last, name=name, share=ramp, sparsifies=True)
    whole = sum(stage.share for stage in stages)
    rest = (replace(stage, share=stage.share / whole * (1.0 - ramp)) for stage in stages)
    return (first, *rest) if ramp < 1.0 else (first,)


def _ladder(compared: Comparisons, chosen: tuple[Objective, ...]) -> list[Stage]:
    """Return stages that compare what the last layers read, then outputs too."""
    if not compared.features:
        return [Stage(name="outputs", objectives=chosen)]
    return [
        Stage(name="features", objectives=compared.features, share=FEATURES),
        Stage(name="features and outputs", objectives=chosen, share=1 - FEATURES),
    ]


def _weighted(objectives: Sequence[Objective], share: float) -> tuple[Objective, ...]:
    """Return losses times a share; none where the share is 0."""
    if not share:
        return ()
    return tuple(replace(one, weight=one.weight * share) for one in objectives)
