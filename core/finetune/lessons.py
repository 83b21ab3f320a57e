"""What a network learns from, beside its training data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..data import Dataset
from ..data.augment.recipe import Augmentation
from ..evaluation.task import Task
from ..ir.network import Network
from ..plan.blocks import blocks_left, named_as_without, without_blocks
from ..plan.plan import Plan
from ..training.recipe import Recipe
from ..training.solvers.solver import Progress as SolverProgress
from .sizes import Resize
from .sparsify import SparsifyOptions

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
        whole: the teacher without the blocks that the plan drops; None where it drops none.
        resize_teacher: the same as `resize` for the teacher; None where it does for both.
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
    whole: Network | None = None
    resize_teacher: Resize | None = None

    def with_names(self, network: Network) -> Lessons:
        """Return the lessons with a teacher whose values are named as those of a network.

        Where a plan drops blocks, layers may have other names and numbers behind them.

        Args:
            network: the network that is trained.

        Raises:
            PlanError: the plan does not fit the teacher.
        """
        plan, teacher = self.plan, self.teacher
        if plan is None or plan.dropped is None or teacher is None or self.whole is not None:
            return self
        if blocks_left(network, plan) or not blocks_left(teacher, plan):
            return self
        resize = self.resize

        def resized(_: Network, height: int, width: int) -> Network:
            assert resize is not None, "asked for only where there is one"
            return named_as_without(resize(teacher, height, width), plan)

        return replace(
            self,
            teacher=named_as_without(teacher, plan),
            whole=without_blocks(teacher, plan),
            resize_teacher=None if resize is None else resized,
        )
