"""The solver: it takes in the gradients of each pass, and changes the weights after the last one of
an update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...errors import DataError
from ..framework import torch
from ..recipe import Rule
from .settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from ..module import TrainingModule

__all__ = ["Progress", "Solver"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a solver has come.

    Args:
        updates: finished updates.
        step: steps that the learning rate has taken.
        history: what the method keeps: one array a rule in their order, then further runs of them.
    """

    updates: int = 0
    step: int = 0
    history: tuple[np.ndarray, ...] = ()


class Solver:
    """Changes the weights of a module: `loss.backward(); solver.step()`.

    Args:
        module: the network.
        rules: what is done with each blob.
        settings: of the training.
        progress: of a training that goes on; None for a new one.
        seen: images that training saw before.

    Raises:
        DataError: the history does not fit the network.
    """

    def __init__(
        self,
        module: TrainingModule,
        rules: Sequence[Rule],
        settings: Settings,
        *,
        progress: Progress | None = None,
        seen: int = 0,
    ):
        self.module = module
        self.settings = settings
        self.rules = tuple(r for r in rules if r.rate != 0 or settings.everything)
        self.updates = progress.updates if progress else 0
        self._step = progress.step if progress else 0
        self._passes = 0
        self.penalties: Mapping[str, Tensor] = {}
        """Initializer → factors of an L2 penalty, one for each element, beside the decay."""
        if settings.images:
            self.updates = self.updates or seen // settings.images
        self._before = seen - self.updates * settings.images
        self.history = self._histories(progress.history if progress else ())

    @property
    def seen(self) -> int:
        """Images that training saw, those of the pass at work included."""
        images = self.settings.images
        done = self.updates * images + (self._passes + 1) * images // self.settings.passes
        return self._before + done

    @property
    def number(self) -> int:
        """What the schedule is asked for at the next update."""
        images = self.settings.images
        if not images:
            return self.updates + self.settings.offset
        return (self._before + (self.updates + self.settings.offset) * images) // images

    @property
    def done(self) -> int:
        """Updates of the whole training so far, those before this solver included."""
        return self.number - self.settings.offset

    @property
    def rate(self) -> float:
        """The learning rate of the next update."""
        schedule = self.settings.schedule
        return schedule.rate(self.number, schedule.step_of(self.number, self._step))

    @property
    def progress(self) -> Progress:
        """How far this solver has come, to go on from later."""
        runs = zip(*self.history, strict=True) if self.history else ()
        history = (
            tensor.cpu().numpy().reshape(tensor.shape if rule.shape is None else rule.shape).copy()
            for run in runs
            for rule, tensor in zip(self.rules, run, strict=True)
        )
        return Progress(updates=self.updates, step=self._step, history=tuple(history))

    def step(self) -> bool:
        """Take in the gradients of one pass; return whether it was the last one of an update."""
        self._passes += 1
        if self._passes < self.settings.passes:
            return False
        with torch.no_grad():
            self._update()
        self._end()
        return True

    def skip(self) -> None:
        """Let an update pass that changes nothing, since its gradients are no numbers."""
        self._step = self.settings.schedule.step_of(self.number, self._step)
        self._end()

    def _end(self) -> None:
        """Make ready for the next update."""
        self._passes = 0
        self.updates += 1
        for parameter in self.module.parameters():
            parameter.grad = None

    def _update(self) -> None:
        """Change the weights."""
        settings, number = self.settings, self.number
        self._step = settings.schedule.step_of(number, self._step)
        rate = settings.schedule.rate(number, self._step)
        factor = self._clipping() / settings.divisor
        for rule, history in zip(self.rules, self.history, strict=True):
            if number < rule.first:
                continue
            tensor = self.module.tensor(rule.name)
            gradient = self._gradient(rule, tensor, factor)
            change = self._change(rule, gradient, history, rate * rule.rate)
            if rule.rate != 0:
                tensor -= change
                if rule.clip is not None:
                    tensor.clamp_(-rule.clip, rule.clip)

    def _change(
        self, rule: Rule, gradient: Tensor, history: Sequence[Tensor], rate: float
    ) -> Tensor:
        settings = self.settings
        if rule.limit is not None or rule.centred:
            # Both act on the sum of gradient and momentum, so the method's own momentum is done
            # here and undone there.
            momentum = getattr(settings.method, "momentum", 0.0)
            total = gradient + history[0] * momentum
            if rule.centred:
                total -= total.mean(dim=tuple(range(1, total.dim())), keepdim=True)
            if rule.limit is not None:
                bound = rule.limit / settings.divisor
                total.clamp_(-bound, bound)
            gradient = total - history[0] * momentum
        return settings.method.change(gradient, history, rate, self.updates + 1)

    def _gradient(self, rule: Rule, tensor: Tensor, factor: float) -> Tensor:
        """Return the gradient of a blob, scaled, with the decay."""
        gradient = tensor.grad
        decay = self.settings.decay * rule.decay
        scaled = torch.zeros_like(tensor) if gradient is None else gradient * factor
        if decay:
            stored = self.module.stored(rule.name)
            scaled.add_(stored.sign() if self.settings.absolute else stored, alpha=decay)
        penalty = self.penalties.get(rule.name)
        if penalty is not None:
            scaled.add_(penalty * tensor)
        return scaled

    def _clipping(self) -> float:
        """Return what all gradients are multiplied by, so that their norm keeps its limit."""
        clip = self.settings.clip
        if clip is None:
            return 1.0
        squares = [
            p.grad.double().square().sum() for p in self.module.parameters() if p.grad is not None
        ]
        norm = float(torch.stack(squares).sum().sqrt()) if squares else 0.0
        return clip / norm if norm > clip else 1.0

    def _histories(self, given: Sequence[np.ndarray]) -> list[list[Tensor]]:
        """Return the tensors that the method keeps, by rule."""
        count = self.settings.method.histories
        tensors = [self.module.tensor(rule.name).detach() for rule in self.rules]
        if not given:
            return [[torch.zeros_like(t) for _ in range(count)] for t in tensors]
        if len(given) != count * len(tensors):
            raise DataError(
                f"the solver's state holds {len(given)} blobs of history, the network and its "
                f"method need {count * len(tensors)}"
            )
        found = []
        for place, tensor in enumerate(tensors):
            own = [given[place + run * len(tensors)] for run in range(count)]
            for array in own:
                if array.size != tensor.numel():
                    raise DataError(
                        f"the history of '{self.rules[place].name}' holds {array.size} numbers, "
                        f"the blob {tensor.numel()}"
                    )
            found.append(
                [torch.from_numpy(np.array(a)).to(tensor).reshape(tensor.shape) for a in own]
            )
        return found
