"""Measuring many networks made from one: what they share is computed once.

The original's outputs are kept, and no time is spent on channels of zeros that make a network
faster: each is run on a few samples only. The figures are those of :mod:`.loss`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..data import Dataset
from ..data.held import held
from ..data.targets import Targets
from ..engine.session import Session
from ..errors import located
from ..ir.network import Network
from .kept_outputs import KeptOutputs
from .loss import LossMeter
from .task import Task

__all__ = ["ManyMeter"]


class ManyMeter:
    """Measures networks that have the inputs and outputs of an original.

    Args:
        original: what others are compared with.
        data: what they are measured on; it is read once, where it is not too large.
        task: as for :func:`~.task.find_task`.

    Raises:
        DataError: the data does not fit the network or the task.
    """

    def __init__(self, original: Network, data: Dataset, task: Task | str | None = None):
        self._data = held(data, original)
        self._meter = LossMeter.of(original, self._data, task)
        self._before: tuple[Mapping[str, np.ndarray], ...] | None = None
        if not self._meter.task.needs_original:
            return
        session, kept = Session(original), KeptOutputs()
        for batch in self._data:
            if not kept.add(session.run(batch.inputs)):
                return
        self._before = kept.found

    def loss(self, network: Network) -> float:
        """Return by how much a network is worse than the original; see :meth:`.LossMeter.loss`.

        Raises:
            DataError: the data is broken.
        """
        task = self._meter.task
        if task.needs_original and self._before is None:
            return self._meter.loss(self._meter.value(network))
        session, metric = Session(network), task.make_metric()
        for number, batch in enumerate(self._data):
            before = self._before[number] if self._before is not None else None
            with located(file=self._data.name):
                metric.update(session.run(batch.inputs), Targets.of(batch, before))
        return self._meter.loss(float(metric.compute().value))
