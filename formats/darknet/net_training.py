"""The keys of [net] about training.

Source: parser.c parse_net_options, network.c get_current_rate, train_network_waitkey.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.errors import FormatError
from ...core.training.solvers.adaptive import Adam
from ...core.training.solvers.average import Average
from ...core.training.solvers.schedule import (
    BurnIn,
    Constant,
    Cosine,
    Exponential,
    Polynomial,
    Random,
    Schedule,
    Sigmoid,
    Step,
    Steps,
)
from ...core.training.solvers.settings import Method, Settings
from ...core.training.solvers.sgd import Momentum
from ..adapter import check_positive, key
from .flavour import Flavour
from .section import Section

__all__ = ["POLICIES", "NetTraining"]

POLICIES = ("constant", "step", "steps", "exp", "poly", "random", "sigmoid", "sgdr")
"""Known words of `policy`; any other is taken for constant, as Darknet does."""

AVERAGED_UNTIL = 1000
"""So many updates before the end, averages take the place of the weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetTraining(Section):
    """How a network is trained."""

    batch: int = key(1)
    subdivisions: int = key(1)
    time_steps: int = key(1)
    learning_rate: float = key(0.001)
    learning_rate_min: float = key(0.00001)
    momentum: float = key(0.9)
    decay: float = key(0.0001)
    adam: bool = key(default=False)
    beta1: float = key(0.9, "B1")
    beta2: float = key(0.999, "B2")
    eps: float = key(-1.0)
    policy: str = key("constant")
    burn_in: int = key(0)
    power: float = key(4.0)
    step: int = key(1)
    scale: float = key(1.0)
    steps: tuple[int, ...] = key(())
    scales: tuple[float, ...] = key(())
    gamma: float = key(1.0)
    max_batches: int = key(0)
    sgdr_cycle: int = key(-1)
    sgdr_mult: int = key(2)
    clip: float = key(0.0)
    ema_alpha: float = key(0.0)
    width: int = key(0)
    height: int = key(0)

    only = {  # noqa: RUF012
        "clip": Flavour.PJREDDIE,
        "learning_rate_min": Flavour.ALEXEYAB,
        "ema_alpha": Flavour.ALEXEYAB,
    }

    @property
    def images(self) -> int:
        """Images of a pass."""
        return self.batch // self.subdivisions * self.time_steps

    def settings(self) -> Settings:
        """Return the settings of the solver.

        Raises:
            FormatError: a key is out of its range.
        """
        check_positive(batch=self.batch, subdivisions=self.subdivisions, time_steps=self.time_steps)
        if self.images < 1:
            raise FormatError(
                f"batch={self.batch} in {self.subdivisions} subdivisions leaves no image for each"
            )
        images = self.images * self.subdivisions
        decay = _float(self.decay)
        return Settings(
            method=self._method(),
            schedule=self._schedule(),
            passes=self.subdivisions,
            divisor=1.0 if self.adam else images,
            decay=decay * images if self.adam else decay,
            offset=1,
            images=images,
            updates=self.max_batches,
            average=self._average(),
        )

    def _average(self) -> Average | None:
        """Return how weights are averaged; None where they are not, or would not be used.

        Raises:
            FormatError: the share is none.
        """
        if not 0 <= self.ema_alpha <= 1:
            raise FormatError(f"ema_alpha={self.ema_alpha:g} is no share from 0 to 1")
        first, applied = self.max_batches // 2, self.max_batches - AVERAGED_UNTIL
        if not self.ema_alpha or applied <= first:
            return None
        return Average(share=_float(self.ema_alpha), first=first, applied=applied)

    def _method(self) -> Method:
        if not self.adam:
            return Momentum(momentum=_float(self.momentum))
        # Both Darknets have Adam on the GPU only.
        eps = self.eps if self.eps >= 0 else (1e-7 if self.context.pjreddie else 1e-6)
        return Adam(
            first=_float(self.beta1), second=_float(self.beta2), delta=_float(eps), inside=True
        )

    def _schedule(self) -> Schedule:
        base = _float(self.learning_rate)
        then = self._policy(base)
        if self.burn_in <= 0:
            return then
        return BurnIn(base=base, length=self.burn_in, power=_float(self.power), then=then)

    def _policy(self, base: float) -> Schedule:
        gamma, power, policy = _float(self.gamma), _float(self.power), self.policy
        if policy == "step":
            check_positive(step=self.step)
            return Step(base=base, factor=_float(self.scale), every=self.step)
        if policy == "steps":
            if len(self.scales) < len(self.steps) or not self.steps:
                raise FormatError(
                    f"policy=steps has {len(self.steps)} steps and {len(self.scales)} scales"
                )
            scales = tuple(map(_float, self.scales[: len(self.steps)]))
            return Steps(base=base, at=self.steps, factors=scales)
        if policy == "exp":
            return Exponential(base=base, factor=gamma)
        if policy == "poly":
            check_positive(max_batches=self.max_batches)
            return Polynomial(base=base, power=power, length=self.max_batches)
        if policy == "random":
            return Random(base=base, power=power)
        if policy == "sigmoid":
            late = self.context.pjreddie  # which counts in unsigned numbers
            return Sigmoid(base=base, factor=-gamma, middle=self.step, late=late)
        if policy == "sgdr" and not self.context.pjreddie:
            cycle = self.sgdr_cycle if self.sgdr_cycle >= 0 else self.max_batches
            check_positive(sgdr_cycle=cycle, sgdr_mult=self.sgdr_mult)
            return Cosine(
                base=base, least=_float(self.learning_rate_min), cycle=cycle,
                factor=self.sgdr_mult,
            )  # fmt: skip
        return Constant(base=base)


def _float(number: float) -> float:
    """Return the float32 that Darknet holds; a schedule raises its rounding to high powers."""
    return float(np.float32(number))
