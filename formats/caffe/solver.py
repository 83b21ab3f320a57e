"""Solver files: how a net is trained.

Source: caffe.proto `SolverParameter`, upgrade_proto.cpp `UpgradeSolverType`, sgd_solver.cpp,
sgd_solvers.hpp `constructor_sanity_check` (BVLC 9b89154).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import FormatError, UnsupportedError, located, names_hint
from ...core.training.solvers.adaptive import AdaDelta, AdaGrad, Adam, RMSProp
from ...core.training.solvers.schedule import (
    Constant,
    Exponential,
    Inverse,
    MultiStep,
    Polynomial,
    Schedule,
    Sigmoid,
    Step,
)
from ...core.training.solvers.settings import Method, Settings
from ...core.training.solvers.sgd import Nesterov, RatedMomentum
from ..adapter import key
from .document import Document, parse
from .fields import check_schema, read_fields

__all__ = ["SolverFile", "read_solver", "solver_document"]

_ENUM = ("SGD", "NESTEROV", "ADAGRAD", "RMSPROP", "ADADELTA", "ADAM")
_TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
_POLICIES = ("fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid")
MOST_BYTES = 1 << 26


@dataclass(frozen=True, kw_only=True, slots=True)
class SolverFile:
    """A solver file. Numbers are those of float32, as Caffe holds them."""

    net: str = key("", doc="the net of training and testing")
    train_net: str = key("")
    test_nets: tuple[str, ...] = key((), "test_net")
    test_iter: tuple[int, ...] = key((), doc="batches of each test")
    test_interval: int = key(0)
    test_initialization: bool = key(default=True)
    base_lr: float = key(0.0)
    display: int = key(0)
    average_loss: int = key(1)
    max_iter: int = key(0)
    iter_size: int = key(1)
    lr_policy: str = key("")
    gamma: float = key(0.0)
    power: float = key(0.0)
    momentum: float = key(0.0)
    weight_decay: float = key(0.0)
    regularization_type: str = key("L2")
    stepsize: int = key(0)
    stepvalue: tuple[int, ...] = key(())
    clip_gradients: float = key(-1.0)
    snapshot: int = key(0)
    snapshot_prefix: str = key("")
    snapshot_format: str = key("BINARYPROTO", choices=("HDF5", "BINARYPROTO"))
    snapshot_after_train: bool = key(default=True)
    random_seed: int = key(-1)
    type: str = key("")
    solver_type: str = key("", choices=_ENUM)
    delta: float = key(1e-8)
    momentum2: float = key(0.999)
    rms_decay: float = key(0.99)
    weights: tuple[str, ...] = key(())

    @property
    def kind(self) -> str:
        """The type of the solver in Caffe's current spelling.

        Raises:
            FormatError: it is given in the old and in the current form.
            UnsupportedError: it is unknown.
        """
        if self.type and self.solver_type:
            raise FormatError("give type or the old solver_type, not both")
        if self.solver_type:
            return _TYPES[_ENUM.index(self.solver_type)]
        if self.type and self.type not in _TYPES:
            hint = names_hint(self.type, _TYPES)
            raise UnsupportedError(f"unknown solver type '{self.type[:80]}'", hint=hint)
        return self.type or "SGD"

    def settings(self) -> Settings:
        """Return the settings of the solver.

        Raises:
            FormatError: a field is out of its range.
            UnsupportedError: the type or the policy is unknown.
        """
        if self.iter_size < 1:
            raise FormatError(f"iter_size must be positive, got {self.iter_size}")
        if self.regularization_type not in ("L1", "L2"):
            raise FormatError(
                f"regularization_type must be L1 or L2, got '{self.regularization_type[:80]}'"
            )
        clip = _float(self.clip_gradients)
        return Settings(
            method=self._method(),
            schedule=self._schedule(),
            passes=self.iter_size,
            divisor=self.iter_size,
            clip=clip if clip >= 0 else None,
            decay=_float(self.weight_decay),
            absolute=self.regularization_type == "L1",
            updates=self.max_iter,
            everything=True,
        )

    def _method(self) -> Method:
        momentum, delta = _float(self.momentum), _float(self.delta)
        kind = self.kind
        if kind in ("AdaGrad", "RMSProp") and momentum:
            raise FormatError(f"momentum cannot be used with {kind}")
        if kind == "RMSProp" and not 0 <= self.rms_decay < 1:
            raise FormatError(f"rms_decay must lie in [0, 1), got {self.rms_decay:g}")
        methods: dict[str, Method] = {
            "SGD": RatedMomentum(momentum=momentum),
            "Nesterov": Nesterov(momentum=momentum),
            "AdaGrad": AdaGrad(delta=delta),
            "RMSProp": RMSProp(share=_float(self.rms_decay), delta=delta),
            "AdaDelta": AdaDelta(share=momentum, delta=delta),
            "Adam": Adam(first=momentum, second=_float(self.momentum2), delta=delta),
        }
        return methods[kind]

    def _schedule(self) -> Schedule:
        base, gamma, power = _float(self.base_lr), _float(self.gamma), _float(self.power)
        policy = self.lr_policy
        if policy not in _POLICIES:
            hint = names_hint(policy, _POLICIES)
            raise UnsupportedError(f"unknown lr_policy '{policy[:80]}'", hint=hint)
        if policy in ("step", "exp", "inv", "multistep", "sigmoid") and gamma < 0:
            raise FormatError(f"gamma must not be negative, got {gamma:g}")
        if policy in ("step", "sigmoid") and self.stepsize <= 0:
            raise FormatError(f"lr_policy {policy} needs a positive stepsize")
        if policy == "poly" and self.max_iter <= 0:
            raise FormatError("lr_policy poly needs a positive max_iter")
        schedules: dict[str, Schedule] = {
            "fixed": Constant(base=base),
            "step": Step(base=base, factor=gamma, every=max(self.stepsize, 1)),
            "exp": Exponential(base=base, factor=gamma),
            "inv": Inverse(base=base, factor=gamma, power=power),
            "multistep": MultiStep(base=base, factor=gamma, at=self.stepvalue),
            "poly": Polynomial(base=base, power=power, length=max(self.max_iter, 1)),
            "sigmoid": Sigmoid(base=base, factor=gamma, middle=self.stepsize),
        }
        return schedules[policy]


def read_solver(path: Path) -> SolverFile:
    """Read a solver file.

    Raises:
        FormatError: it cannot be read, or is no solver file; names the place.
    """
    document = solver_document(path)
    with located(file=str(path)):
        return SolverFile(**read_fields(SolverFile, document.root, ""))


def solver_document(path: Path) -> Document:
    """Return the text of a solver file.

    Raises:
        FormatError: as for :func:`read_solver`.
    """
    with located(file=str(path)):
        try:
            if path.stat().st_size > MOST_BYTES:
                raise FormatError("too large for a solver file")
            data = path.read_bytes()
        except OSError as error:
            raise FormatError(f"cannot be read: {error.strerror or error}") from error
        document = parse(data, path)
        if document.root.all("layer") or document.root.all("layers"):
            raise FormatError("this is a net, not a solver file")
        check_schema(document.root, schema="SolverParameter")
        return document


def _float(number: float) -> float:
    """Return the float32 that Caffe holds; a schedule raises its rounding to high powers."""
    return float(np.float32(number))
