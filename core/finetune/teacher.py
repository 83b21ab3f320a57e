"""Learning from another network: which values are compared, and by which losses.

The teacher is usually the network before pruning. A value of the student is compared with the
teacher's value of the same name. Where pruning removed channels of it, the teacher's others are
left out: the plan says which, or else the values themselves, since channels that were kept still
vary as they did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..coupling import find_groups
from ..data import Batch
from ..engine.session import Session
from ..errors import DataError
from ..ir.heads import BoxHead, GridHead, RegionHead
from ..ir.network import Network, shape_of
from ..plan.plan import Plan, removed_units
from ..training.framework import torch
from ..training.losses.box_divergence import BoxDivergence
from ..training.losses.divergence import SoftmaxDivergence
from ..training.losses.feature_error import FeatureError
from ..training.module import TrainingModule
from ..training.precision import FLOAT32, computed_in
from ..training.recipe import Objective
from .places import Places, places_of
from .sizes import AtSizes, Resize

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TEACHER", "Comparisons", "Teacher", "comparisons"]

TEACHER = "teacher:"
"""Begins the key under which a batch holds a value of the teacher."""

SEEN = 1 << 15
"""Positions of a channel that are looked at to tell it from others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparisons:
    """What a student is compared in, by kind.

    Args:
        layers: what each layer with weights makes.
        features: feature maps before the outputs.
        outputs: outputs, or their scores before a softmax.
    """

    layers: tuple[Objective, ...]
    features: tuple[Objective, ...]
    outputs: tuple[Objective, ...]

    def times(self, factor: float) -> Comparisons:
        """Return the same with other weights."""
        layers, features, outputs = (
            tuple(replace(one, weight=one.weight * factor) for one in kind)
            for kind in (self.layers, self.features, self.outputs)
        )
        return Comparisons(layers=layers, features=features, outputs=outputs)


class Teacher:
    """A network that a student is compared with.

    Args:
        network: the teacher.
        wanted: names of its values that are compared.
        device: where it runs.
        make: makes the network of other sizes of its input; None where there are none.
        precision: type that the network is computed in; its values are float32.
    """

    def __init__(
        self,
        network: Network,
        wanted: Iterable[str],
        device: str = "cpu",
        make: Resize | None = None,
        precision: str = FLOAT32,
    ):
        fixed = frozenset(network.graph.initializers)
        module = TrainingModule(network, frozen=fixed, channels_last=True).eval().to(device)
        self._kind, self._precision = device.partition(":")[0], precision
        (self._input, shape), *_ = network.inputs.items()
        self._modules = AtSizes(module, _sides(shape), make)
        self.wanted = tuple(dict.fromkeys(wanted))

    def __call__(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the values of a batch by :data:`TEACHER` + name."""
        module = self._modules.at(_sides(feeds[self._input].shape))
        with torch.no_grad(), computed_in(self._precision, self._kind):
            values = module(feeds, self.wanted)
        return {TEACHER + name: value.float() for name, value in values.items()}


def _sides(shape: Sequence[int | str]) -> tuple[int, int]:
    """Return height and width of an image's shape; 0 for what is not there or open."""
    height, width = (side if isinstance(side, int) else 0 for side in (*shape[2:4], 0, 0)[:2])
    return height, width


def comparisons(
    student: Network,
    teacher: Network,
    batches: Sequence[Batch],
    *,
    plan: Plan | None = None,
    whole: Network | None = None,
    temperature: float = 1.0,
    layers: bool = False,
) -> Comparisons:
    """Return what a student can be compared in.

    Args:
        student: the network that is trained.
        teacher: the network that it learns from.
        batches: a few samples, to tell channels apart where no plan does.
        plan: what was removed from the teacher to make the student.
        whole: the network that the plan removes channels of: the teacher without the blocks that
            left; None for the teacher itself.
        temperature: of the softmax that compares classes.
        layers: whether what each layer makes is compared, too.

    Raises:
        DataError: the networks have no output in common.
        PlanError: the plan does not fit the teacher.
    """
    places = places_of(student)
    outputs = tuple(
        objective
        for name, scores in places.scores.items()
        if (objective := _output(student, teacher, places, name, scores, temperature))
    )
    if not outputs:
        raise DataError(
            f"the teacher '{teacher.name}' has none of the outputs of '{student.name}'",
            hint=f"they are {', '.join(student.outputs)}",
        )
    theirs = teacher.values()
    wanted = dict.fromkeys((*places.features, *(places.layers if layers else ())))
    planned = _planned(whole or teacher, plan)
    kept = _kept(student, teacher, [name for name in wanted if name in theirs], batches, planned)
    return Comparisons(
        layers=_errors("layer", places.layers if layers else (), kept),
        features=_errors("features", places.features, kept),
        outputs=outputs,
    )


def _errors(
    kind: str, names: Iterable[str], kept: Mapping[str, tuple[int, ...] | None]
) -> tuple[Objective, ...]:
    """Return the mean of the errors of some values, those left out that cannot be compared."""
    found = [name for name in names if name in kept]
    return tuple(
        Objective(
            name=f"{kind} '{name}'",
            loss=FeatureError(kept=kept[name]),
            reads=(name, TEACHER + name),
            weight=1.0 / len(found),
        )
        for name in found
    )


def _output(
    student: Network,
    teacher: Network,
    places: Places,
    name: str,
    scores: str,
    temperature: float,
) -> Objective | None:
    """Return how an output is compared; None where the teacher lacks it or its shape differs."""
    mine, theirs = student.values(), teacher.values()
    if scores not in theirs or shape_of(mine[scores])[1:] != shape_of(theirs[scores])[1:]:
        return None
    reads = (scores, TEACHER + scores)
    for head in places.boxes:
        if name == head.output and isinstance(head, GridHead):
            return Objective(name=f"boxes '{name}'", loss=_boxes(head), reads=reads)
    if name in places.classes and (scores != name or not places.boxes):
        loss = SoftmaxDivergence(temperature=temperature)
        return Objective(name=f"classes '{name}'", loss=loss, reads=reads)
    return Objective(name=f"output '{name}'", loss=FeatureError(), reads=reads)


def _boxes(head: GridHead) -> BoxDivergence:
    alternatives = isinstance(head, RegionHead) and head.softmax
    return BoxDivergence(
        anchors=_anchors(head),
        objectness=head.objectness,
        channels_last=head.channels_last,
        softmax=alternatives,
    )


def _anchors(head: BoxHead) -> int:
    """Return the boxes of a cell."""
    mask = getattr(head, "mask", ())
    return len(mask) if mask else len(getattr(head, "anchors", ()))


def _kept(
    student: Network,
    teacher: Network,
    names: Iterable[str],
    batches: Sequence[Batch],
    planned: Mapping[str, tuple[int, ...]],
) -> dict[str, tuple[int, ...] | None]:
    """Return for each value the teacher's channels that the student kept; None for all.

    Values whose other sizes differ, or whose channels cannot be told, are left out.
    """
    mine, theirs = student.values(), teacher.values()
    found: dict[str, tuple[int, ...] | None] = {}
    unknown = []
    for name in names:
        own, other = shape_of(mine[name]), shape_of(theirs[name])
        if own[1:] == other[1:]:
            found[name] = None
        elif len(own) != len(other) or own[2:] != other[2:]:
            continue
        elif name in planned and len(planned[name]) == own[1]:
            found[name] = planned[name]
        else:
            unknown.append(name)
    return {**found, **_matched(student, teacher, unknown, batches)}


def _planned(teacher: Network, plan: Plan | None) -> dict[str, tuple[int, ...]]:
    """Return value → channels that a plan keeps, for values with channels along axis 1."""
    if plan is None:
        return {}
    groups = find_groups(teacher)
    surviving = groups.surviving(removed_units(plan, groups))
    return {
        name: tuple(np.flatnonzero(surviving[labels.vector]).tolist())
        for name, labels in groups.values.items()
        if labels.axis == 1
    }


def _matched(
    student: Network, teacher: Network, names: Sequence[str], batches: Sequence[Batch]
) -> dict[str, tuple[int, ...]]:
    """Return for each value the teacher's channels that vary most like the student's.

    Each channel of the student gets one of the teacher's, so that the sum of correlations is
    largest.
    """
    if not names or not batches:
        return {}
    runs = [
        [session.run(batch.inputs) for batch in batches]
        for session in (Session(network, fetch=names) for network in (student, teacher))
    ]
    mine, theirs = runs
    found = {}
    for name in names:
        a, b = (_channels([run[name] for run in part]) for part in (mine, theirs))
        if len(a) <= len(b):
            rows, columns = linear_sum_assignment(-(a @ b.T))
            found[name] = tuple(columns[np.argsort(rows)].tolist())
    return found


def _channels(values: Sequence[np.ndarray]) -> np.ndarray:
    """Return the channels of a value, C × positions, each with mean 0 and norm 1."""
    rows = np.concatenate(
        [np.moveaxis(v, 1, 0).reshape(v.shape[1], -1) for v in values], axis=1
    ).astype(np.float64)
    step = max(1, rows.shape[1] // SEEN)
    rows = rows[:, ::step]
    rows = rows - rows.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norm > 0, norm, 1.0))
