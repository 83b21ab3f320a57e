"""What the files of a network say about training it. Formats fill these records; they need no
PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..data.augment.recipe import Augmentation
    from ..ir.network import Network
    from .losses.loss import Loss
    from .passing import Passing
    from .solvers.settings import Settings
    from .solvers.solver import Progress

__all__ = ["Objective", "Recipe", "Rule", "Start", "Statistics"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Statistics:
    """How one batch normalisation behaves in training.

    Args:
        frozen: it normalises by its stored statistics and does not change them.
        fraction: share of the old value when a batch's statistics are taken in.
        factor: initializer with the sum of all shares so far: the new share is then
            1 / (fraction · factor + 1), so that early batches count more; "" for 1 − fraction.
        epsilon: added to the variance of a batch; None for what the graph adds to the stored one.
        root: the graph holds (√v + root)² for a stored variance v.
    """

    frozen: bool = False
    fraction: float = 0.9
    factor: str = ""
    epsilon: float | None = None
    root: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """How a solver treats one blob of the file.

    Args:
        name: the initializer that holds it.
        rate: factor of the learning rate; 0 leaves it as it is.
        decay: factor of the weight decay.
        limit: largest size of each sum of gradients and momentum; None for none.
        clip: largest size of each number after an update; None for none.
        centred: whether the mean of each filter's gradient is taken off it.
        first: updates before this number leave the blob as it is.
        shape: of the blob in the file; None for that of the initializer.
    """

    name: str
    rate: float = 1.0
    decay: float = 1.0
    limit: float | None = None
    clip: float | None = None
    centred: bool = False
    first: int = 0
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """A loss and what it reads.

    Args:
        name: of the loss, for people.
        loss: the function.
        reads: graph values or keys of a batch, in the order of the loss's arguments.
        weight: factor in the sum that is minimised.
        per_sample: a sum over the samples of a batch is divided by their number.
    """

    name: str
    loss: Loss
    reads: tuple[str, ...]
    weight: float = 1.0
    per_sample: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that files say about training.

    Args:
        objectives: what is minimised: their weighted sum.
        rules: what solvers do with each blob, in the order of the file.
        frozen: initializers that get no gradient.
        statistics: node key of a batch normalisation → its behaviour.
        passings: value → where its gradient goes, if not the way it was computed.
        settings: the solver; None where the files do not say.
        notes: what a user must know.
    """

    objectives: tuple[Objective, ...] = ()
    rules: tuple[Rule, ...] = ()
    frozen: frozenset[str] = frozenset()
    statistics: Mapping[str, Statistics] = field(default_factory=dict)
    passings: Mapping[str, Passing] = field(default_factory=dict)
    settings: Settings | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What training begins with.

    Args:
        network: read for training.
        recipe: what its files say.
        seen: images that training saw before.
        finish: returns a trained network, whose files will say how many images were seen.
        augmentation: what the files say about training images; None where they say nothing.
        resize: returns a network of this format at another height and width of its input; None
            where there is no such way.
        state: how far a solver came in an earlier training, which goes on; None for a new one.
        snapshot: returns a file from which the framework of the files goes on, for the state of a
            solver and the name of the weights; None where there are no such files.
    """

    network: Network
    recipe: Recipe
    seen: int = 0
    finish: Callable[[Network, int], Network] = lambda network, _: network
    augmentation: Augmentation | None = None
    resize: Callable[[Network, int, int], Network] | None = None
    state: Progress | None = None
    snapshot: Callable[[Progress, str], bytes] | None = None
