"""The loss that criteria differentiate, or measure without a unit.

* **Labels of classes**: the softmax cross-entropy, the mean over samples.
* **No labels, a classifier**: KL(original ‖ network) of the classes, the mean over samples.
* **Anything else** (boxes, maps, values): Σ over outputs of ‖network − original‖² / ‖original‖².

The last two compare with the network itself before pruning. There they are 0, and so is their
gradient. What is differentiated in their place is the likelihood of targets that are drawn from the
network's own outputs: a class from its softmax, or the output plus normal noise of the output's own
root mean square. The mean square of these gradients is the Fisher information (for normal noise
the Gauss-Newton matrix): half of it is how the distance grows where a gate closes, to the second
order. A user's own task does not come in: it need not have a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..data.labels import check_labels
from ..data.targets import Targets
from ..errors import DataError
from ..evaluation.metrics.classification import log_softmax
from ..evaluation.tasks.classification import Classification
from ..ir.heads import classifier_output, is_classifier
from ..ir.logits import logits_of
from ..ir.network import Network
from ..ir.partial import between
from ..training.framework import functional, torch
from .registry import ScoreContext

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CrossEntropy", "Divergence", "OutputError", "OutputLoss", "find_loss"]

SMALLEST = float(np.finfo(np.float32).tiny)
"""Added to norms, so that an output that is 0 everywhere divides nothing by 0."""


class OutputLoss(Protocol):
    """A loss of some values of a network."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The values it reads."""
        ...

    @property
    def drawn(self) -> bool:
        """Whether its gradient is that of targets that are drawn."""
        ...

    def total(self, values: Mapping[str, np.ndarray], targets: Targets) -> float:
        """Return the sum over some samples.

        Args:
            values: what the network computes now; those that are missing are as they were.
            targets: the labels, and what the network computed before.
        """
        ...

    def tensor(self, values: Mapping[str, Tensor], targets: Targets, seed: int) -> Tensor:
        """Return the mean over some samples of what is differentiated.

        Args:
            values: what the network computes.
            targets: the labels.
            seed: of what is drawn.
        """
        ...


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """The softmax cross-entropy with labels.

    Args:
        scores: the value that holds the scores of the classes, before a softmax.
    """

    scores: str
    drawn = False

    @property
    def reads(self) -> tuple[str, ...]:
        """The scores."""
        return (self.scores,)

    def total(self, values: Mapping[str, np.ndarray], targets: Targets) -> float:
        """Return the sum over some samples."""
        scores = values.get(self.scores, targets.outputs.get(self.scores))
        assert scores is not None, "an original has all that is read"
        rows = log_softmax(scores.reshape(targets.size, -1))
        return -float(rows[np.arange(targets.size), labels_of(targets, rows.shape[1])].sum())

    def tensor(self, values: Mapping[str, Tensor], targets: Targets, seed: int) -> Tensor:  # noqa: ARG002
        """Return the mean over some samples."""
        scores = values[self.scores].reshape(targets.size, -1)
        labels = torch.from_numpy(labels_of(targets, scores.shape[1]))
        return functional.cross_entropy(scores, labels.long())


@dataclass(frozen=True, slots=True)
class Divergence:
    """KL(original ‖ network) of the classes.

    Args:
        scores: the value that holds the scores of the classes, before a softmax.
    """

    scores: str
    drawn = True

    @property
    def reads(self) -> tuple[str, ...]:
        """The scores."""
        return (self.scores,)

    def total(self, values: Mapping[str, np.ndarray], targets: Targets) -> float:
        """Return the sum over some samples."""
        if self.scores not in values:
            return 0.0
        before, after = (
            log_softmax(scores.reshape(targets.size, -1))
            for scores in (targets.outputs[self.scores], values[self.scores])
        )
        return float((np.exp(before) * (before - after)).sum())

    def tensor(self, values: Mapping[str, Tensor], targets: Targets, seed: int) -> Tensor:
        """Return the mean cross-entropy with classes drawn from the softmax."""
        scores = values[self.scores].reshape(targets.size, -1)
        shares = np.exp(log_softmax(scores.detach().numpy()))
        uniform = np.random.default_rng(seed).random((len(shares), 1))
        reached = np.cumsum(shares, axis=1) / shares.sum(axis=1, keepdims=True)
        classes = np.minimum((reached < uniform).sum(axis=1), shares.shape[1] - 1)
        return functional.cross_entropy(scores, torch.from_numpy(classes))


@dataclass(frozen=True, slots=True)
class OutputError:
    """Σ over outputs of ‖network − original‖² / ‖original‖².

    Args:
        outputs: their names.
        squares: output → mean over samples of its squared norm in the original; those of each batch
            where it is not given.
    """

    outputs: tuple[str, ...]
    squares: Mapping[str, float] = field(default_factory=dict)
    drawn = True

    @property
    def reads(self) -> tuple[str, ...]:
        """The outputs."""
        return self.outputs

    def total(self, values: Mapping[str, np.ndarray], targets: Targets) -> float:
        """Return the sum over some samples."""
        found = 0.0
        for name in self.outputs:
            if name in values:
                before = targets.outputs[name].astype(np.float64)
                own = float(np.square(values[name] - before).sum())
                found += own / (self.squares[name] + SMALLEST)
        return found

    def tensor(self, values: Mapping[str, Tensor], targets: Targets, seed: int) -> Tensor:
        """Return the mean of half the squared distance from outputs with noise, over its square."""
        random = np.random.default_rng(seed)
        total = torch.zeros(())
        for name in self.outputs:
            value = values[name]
            if not value.requires_grad:
                continue
            noise = torch.from_numpy(random.standard_normal(tuple(value.shape), np.float32))
            now = value.detach()
            size = (now.square().sum() / targets.size).clamp_min(SMALLEST).sqrt()
            total = total + (((value - now) / size - noise).square().sum() / 2)
        return total / targets.size


def find_loss(context: ScoreContext) -> tuple[OutputLoss, Network]:
    """Return the loss of a network, and the network whose outputs it reads.

    That is the network itself, or the part of it before a softmax: all names stay.

    Raises:
        DataError: the task does not fit the data or the network, or nothing can be compared.
    """
    network, task = context.network, context.task
    if isinstance(task, Classification) and task.target_kind == "label":
        name, labelled = task.output, True
    elif is_classifier(network):
        name, labelled = classifier_output(network), False
    else:
        outputs = tuple(o for o in network.outputs if o in set(task.outputs)) or tuple(
            network.outputs
        )
        return OutputError(outputs), network
    value = next(value for value in network.graph.outputs if value.name == name)
    scores = logits_of(value)
    if scores != name:
        network = between(network, set(network.inputs), [scores])
    return (CrossEntropy(scores) if labelled else Divergence(scores)), network


def labels_of(targets: Targets, classes: int) -> np.ndarray:
    """Return the label of each sample.

    Raises:
        DataError: there is none of one class each, or one is no class.
    """
    if targets.labels is None or targets.labels.ndim > 1:
        raise DataError("the samples have no labels of one class each")
    check_labels(targets.labels, classes, targets.places)
    return targets.labels
