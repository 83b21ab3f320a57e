"""What a network and options make of a training: weights, rules, masks, what is to leave."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..coupling import find_groups
from ..coupling.edit import mask
from ..errors import DataError, PlanError
from ..ir.digest import digest
from ..ir.network import Network, blob_refs, shape_of
from ..ir.rebuild import node_key, rebuild
from ..ir.weighted import WEIGHTED
from ..plan.plan import Plan, removed_units
from ..training.framework import torch
from ..training.losses.multibox import MultiBoxLoss
from ..training.module import TrainingModule
from ..training.passing import Passing
from ..training.recipe import Objective, Recipe, Rule, Statistics
from ..training.solvers.solver import Progress as SolverProgress
from .course import Feeding
from .lessons import Lessons
from .options import FinetuneOptions
from .rewind import reinitialized, rewound
from .schedules import SCHEDULES
from .sparsify import SparsifyOptions
from .sparsity import Places, Sparsity
from .stages import Stage
from .target import Target
from .targets import SHARES, TRUTH

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "NORMALIZED_FROM",
    "background_of",
    "begun",
    "class_count",
    "key_of",
    "masks_of",
    "norm_statistics",
    "passings_of",
    "rules_of",
    "sparsity_of",
    "target_of",
    "with_zeros",
    "zeros_of",
]

NORMALIZED_FROM = 16
"""Samples of a batch from which its own statistics are good enough to normalise by."""


def begun(network: Network, options: FinetuneOptions, lessons: Lessons) -> Network:
    """Return the network with the weights that training begins with.

    Raises:
        DataError: options contradict each other.
        PlanError: the early network does not fit, or the plan.
    """
    early, plan = lessons.early, lessons.plan
    if options.rewind_rate and lessons.recipe.settings is None:
        raise DataError(
            "only the files' schedule has a moment to go back to; any other begins anew",
            hint="--own-solver, or --solver FILE",
            option="rewind_rate",
        )
    if options.reinitialize:
        if early is not None:
            raise DataError(
                "weights are fresh or those of an early model, not both", option="reinitialize"
            )
        sparse = plan if plan is not None and _fits(network, plan) else None
        factors = {rule.factor for rule in lessons.recipe.statistics.values()} - {""}
        return reinitialized(network, options.seed, sparse, factors)
    if early is not None and not options.rewind_rate:
        return rewound(network, early, plan)
    return network


def norm_statistics(
    network: Network, recipe: Recipe, options: FinetuneOptions, batch: int
) -> Mapping[str, Statistics]:
    """Return node key → how each batch normalisation behaves in training."""
    stored = options.normalize == "stored" or (
        options.normalize == "auto" and batch < NORMALIZED_FROM
    )
    found = dict(recipe.statistics)
    if not stored:
        return found
    for node in network.graph:
        if node.op_type == "BatchNormalization":
            key = node_key(node)
            found[key] = replace(found.get(key, Statistics()), frozen=True)
    return found


def passings_of(recipe: Recipe, stages: Sequence[Stage]) -> Mapping[str, Passing]:
    """Return how gradients pass: as the files' engine does it for its own losses, else truly."""
    names = {objective.name for objective in recipe.objectives}
    used = any(one.name in names for stage in stages for one in stage.objectives)
    return recipe.passings if used else {}


def background_of(labels: Sequence[Objective]) -> int | None:
    """Return the class of nothing of losses that read lists of objects; None for others."""
    losses = (one.loss for one in labels)
    return next((loss.background for loss in losses if isinstance(loss, MultiBoxLoss)), None)


def class_count(network: Network, stages: Sequence[Stage]) -> int:
    """Return how many classes the scores have that labels are compared with; 0 for none."""
    values = network.values()
    for objective in stages[-1].objectives:
        if {SHARES, TRUTH} & set(objective.reads):
            scores = next((values[name] for name in objective.reads if name in values), None)
            if scores is not None and scores.shape is not None:
                return math.prod(size for size in shape_of(scores)[1:] if isinstance(size, int))
    return 0


def rules_of(
    network: Network, module: TrainingModule, options: FinetuneOptions, recipe: Recipe
) -> tuple[Rule, ...]:
    """Return what the solver does with each parameter.

    Raises:
        PlanError: a layer to freeze is not in the network.
    """
    known = {info.name for info in network.layers}
    for name in options.freeze:
        if name not in known:
            raise PlanError(f"cannot freeze '{name}': the network has no such layer")
    owner = {
        name: network.layers[refs[0].layer].name
        for name, value in network.graph.initializers.items()
        if (refs := blob_refs(value))
    }
    rules = recipe.rules if recipe.settings is not None else tuple(
        Rule(name=name, decay=1.0 if tensor.dim() > 1 else 0.0)
        for name, tensor in module.named_parameters()
        if name not in recipe.frozen
    )  # fmt: skip
    return tuple(rule for rule in rules if owner.get(rule.name) not in options.freeze)


def zeros_of(network: Network) -> dict[str, npt.NDArray[np.bool_]]:
    """Return weight → where it is 0, for stored weights of products that are so anywhere.

    Biases and what normalises are not among them: they often begin at 0.
    """
    found = {}
    for node in network.graph:
        for value in node.inputs[:2] if node.op_type in WEIGHTED else ():
            if value is not None and value.const_value is not None and blob_refs(value):
                zeros = network.array(str(value.name)) == 0
                if zeros.any():
                    found[str(value.name)] = zeros
    return found


def with_zeros(
    network: Network, given: Network, options: FinetuneOptions, sparsify: SparsifyOptions | None
) -> Network:
    """Return a network with zeros where those that are to be held are.

    Args:
        network: with the weights that training begins with.
        given: with the zeros; of the same sizes.
        options: whether zeros are held.
        sparsify: how channels leave during training; None where none do.

    Raises:
        DataError: zeros are to be held, and there are none, or a schedule of masks makes others.
    """
    if not options.hold_zeros:
        return network
    if sparsify is not None and sparsify.method:
        raise DataError(
            "zeros are held, or channels leave during training, not both", option="hold_zeros"
        )
    zeros = zeros_of(given)
    if not zeros:
        raise DataError(
            "no weight of the network is 0, so there is nothing to hold",
            hint="give the sparse network, not the one before pruning",
            option="hold_zeros",
        )
    if network is given:
        return network
    return rebuild(
        network,
        tensors={
            name: np.where(zero, np.zeros((), network.array(name).dtype), network.array(name))
            for name, zero in zeros.items()
        },
    )


def masks_of(
    network: Network, module: TrainingModule, options: FinetuneOptions, lessons: Lessons
) -> dict[str, Tensor]:
    """Return for a sparse network: parameter → 1 where it may differ from 0.

    A network is sparse where its zeros are to be held, or where a plan belongs to it itself and not
    to its teacher.

    Raises:
        PlanError: the plan fits neither the network nor the teacher.
    """
    found = _planned_masks(network, module, lessons)
    for name, zeros in zeros_of(network).items() if options.hold_zeros else ():
        held = torch.from_numpy(~zeros).to(module.tensor(name))
        found[name] = found[name] * held if name in found else held
    return found


def _planned_masks(network: Network, module: TrainingModule, lessons: Lessons) -> dict[str, Tensor]:
    """Return what a plan holds at zero: parameter → 1 where it may differ from 0."""
    plan = lessons.plan
    if plan is None or not _fits(network, plan):
        return {}
    groups = find_groups(network)
    ones = {name: np.ones_like(network.array(name)) for name, _ in module.named_parameters()}
    masked = mask(rebuild(network, tensors=ones), groups, removed_units(plan, groups))
    return {
        name: torch.from_numpy(np.array(masked.array(name))).to(module.tensor(name).device)
        for name in ones
        if not masked.array(name).all()
    }


def target_of(network: Network, lessons: Lessons) -> Target | None:
    """Return what is to be removed during training; None where nothing is.

    Raises:
        PlanError: it cannot be, or the plan does not fit.
    """
    if lessons.sparsify is None or not lessons.sparsify.method:
        return None
    SCHEDULES.find(lessons.sparsify.method)
    groups = find_groups(network)
    plan, before = lessons.plan, groups.mask(())
    if plan is not None and _fits(network, plan):
        before = removed_units(plan, groups)
    return Target.of(network, groups, before, lessons.sparsify)


def sparsity_of(
    module: TrainingModule, target: Target | None, options: FinetuneOptions, lessons: Lessons
) -> Sparsity | None:
    """Return how channels leave during training; None where none do."""
    if target is None or lessons.sparsify is None:
        return None
    return Sparsity(
        name=lessons.sparsify.method,
        schedule=SCHEDULES[lessons.sparsify.method],
        target=target,
        places=Places.of(module, target.whole),
        every=lessons.sparsify.every,
        seed=options.seed,
    )


def _fits(network: Network, plan: Plan) -> bool:
    """Whether a plan counts the channels of this network, and not of a smaller one."""
    groups = find_groups(network)
    sizes = {group.name: len(group.units) for group in groups.groups}
    return all(sizes.get(entry.name) == entry.channels for entry in plan.groups)


def _told(state: SolverProgress | None) -> str:
    """Return a text that is equal for equal states only."""
    if state is None:
        return ""
    content = hashlib.sha256()
    for array in state.history:
        content.update(array.tobytes())
    return f"{state.updates} {state.step} {content.hexdigest()}"


def key_of(network: Network, feeding: Feeding, options: FinetuneOptions, lessons: Lessons) -> str:
    """Return a digest of all that the training depends on, the length of a time apart."""
    plain = {
        name: value
        for name, value in options.plain().items()
        if name not in ("checkpoint", "device", "patience")
    }
    samples = feeding.samples
    parts = [
        str(feeding.team.size),
        digest(network),
        digest(lessons.teacher) if lessons.teacher is not None else "",
        lessons.plan.to_yaml() if lessons.plan is not None else "",
        repr(lessons.sparsify),
        samples.source.name,
        str(len(samples.used)),
        repr(samples.augmentation),
        repr(lessons.recipe.settings),
        str(lessons.seen),
        _told(lessons.state),
        lessons.validation.name if lessons.validation is not None else "",
        json.dumps(plain, sort_keys=True),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
