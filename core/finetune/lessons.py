"""What a network learns from, beside its training data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..data import Dataset
from ..data.augment.recipe import Augmentation
from ..evaluation.task import Task
from ..ir.network import Network
from ..plan.plan import Plan
from ..training.recipe import Recipe
from ..training.solvers.solver import Progress as SolverProgress
from .sizes import Resize
from .sparsify import SparsifyOptions

if TYPE_CHECKING:
    pass

__all__ = ["Lessons"]

NOTHING_SAID = Recipe()


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """What a network learns from, beside its training data.

    Args:
        teacher: the network before pruning; None to learn from labels alone.
        plan: what was removed from the teacher, or what is held at zero in a sparse network.
        validation: data that the network is measured on; None for the samples held out alone.
        task: what is measured there, if not what its labels call for.
        recipe: what the network's files say about training.
        augmentation: what they say about training images; None where they say nothing.
        seen: images that earlier training saw; a schedule of the files goes on from there.
        sparsify: how channels leave during training; None where none do.
        early: the network before pruning at an early moment, to go back to; None to go on.
        state: how far the solver of the files came in it; None for a new training.
        keep_solver: whether the state of the solver at the best measurement is of use.
        resize: returns a network of the files' format at another size of its input.
    """

    teacher: Network | None = None
    plan: Plan | None = None
    validation: Dataset | None = None
    task: Task | str | None = None
    recipe: Recipe = NOTHING_SAID
    augmentation: Augmentation | None = None
    seen: int = 0
    sparsify: SparsifyOptions | None = None
    early: Network | None = None
    state: SolverProgress | None = None
    keep_solver: bool = False
    resize: Resize | None = None
