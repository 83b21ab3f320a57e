"""Output sensitivity: the effect of a small disturbance of one operator's output on the network.

For an operator with the output y,

    sensitivity = mean over the network's outputs o of E‖o(y + n) − o(y)‖² / E‖o − mean o‖² / ε²

The disturbance n is the removal error of the operator's cheapest units (:mod:`.removal_error`),
scaled to ε of the deviation of y. So many units are removed that the error has about that size
before scaling. The disturbance is then distributed over positions and channels like the error of a
pruned network, which determines how much of it later layers pass on. Simpler disturbances do not
have this property: white noise averages out over neighbouring positions, and the deviations of
another sample, taken for each channel on its own, are smoother than an error that other channels
compensate for.

If an output is a softmax, o is the input of the softmax: if the network is certain, its
probabilities hardly change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..data import Dataset
from ..data.base import fixed_batch
from ..engine.cached_session import Part
from ..engine.padding import for_speed
from ..engine.session import Arrays, Session
from ..engine.threads import cores
from ..ir.footprint import total_bytes
from ..ir.network import Network
from ..ir.partial import between, suffix
from ..ir.rebuild import node_key, rebuild
from ..progress import Progress, silent
from ..statistics.moments import VARIANCE_FLOOR
from ..statistics.operators import Array, Operator

__all__ = ["DISTURBANCE_SIZE", "measure_output_sensitivities"]

DISTURBANCE_SIZE = 0.1
"""Size of the disturbance relative to the deviation of the output."""

MOST_SAMPLES = 64
"""Largest number of samples. More samples change the choice of units little."""

SAMPLES_OF_FIRST_ROUND = 16
"""Number of samples of the first round. Each further round takes as many samples as all rounds
before it, for the operators whose sensitivity is still uncertain."""

MOST_OPERATIONS = 5e13
"""Operations of one measurement beyond which it takes fewer samples than :data:`MOST_SAMPLES`, but
a first round in any case: seven minutes of a core of 120 GFLOP/s. ResNet-50 at 224 needs 1.4e13 for
64 samples; a detector of 60 GFLOP and 110 convolutions would need 2e14. Samples differ as much as
their mean, so that 64 of them leave an error of 11 % and 16 one of 23 %, where the weights of
layers differ by powers of ten."""

MEMORY_OF_A_ROUND = 1 << 30
"""Bytes of all values of the network in a round, without padded channels."""

KEPT_WEIGHT_BYTES = 1 << 28
"""Bytes of weights of sessions that are kept for the next round. With more, sessions are made again
in each round."""

STANDARD_ERROR_WANTED = 0.05
"""Relative standard error at which a sensitivity is certain. With 0.15 a small detector takes a
fifth less time at −20 %, and its outputs are off by 6 % more."""

BEHIND = ("Softmax", "LogSoftmax", "Flatten", "Reshape", "Identity")
"""Operators that are skipped on the way back from an output to the input of a softmax."""


def measure_output_sensitivities(
    network: Network,
    operators: Sequence[Operator],
    dataset: Dataset,
    removal_errors: Mapping[str, Array],
    *,
    operations: Mapping[str, int] | None = None,
    progress: Progress = silent,
) -> dict[str, float]:
    """Return the output sensitivity of every operator by its key.

    For each operator, only the part of the network behind it is computed again.

    Args:
        network: the network.
        operators: the operators whose outputs are disturbed, one at a time.
        dataset: inputs. At most :data:`MOST_SAMPLES` are used for an operator, and fewer if the
            relative standard error of its sensitivity is down to :data:`STANDARD_ERROR_WANTED`, or
            if they take more than :data:`MOST_OPERATIONS`.
        removal_errors: result of :func:`.removal_error.find_removal_errors` for the operators.
        operations: operations of one sample by node; None if they do not matter.
        progress: reports the operators done.
    """
    network = _before_softmax(network)
    changed = for_speed(
        rebuild(network, tensors={o.weight: removal_errors[o.key] for o in operators})
    )
    network = for_speed(network)
    runners = _runners(network, changed, operators)
    rounds = _read_rounds(network, dataset, _affordable(runners.values(), operations or {}))
    effects: dict[str, Array] = {operator.key: np.empty(0) for operator in operators}
    progress("disturbances", 0, len(operators))
    uncertain = list(operators)
    with ThreadPoolExecutor(cores()) as pool:
        measurement = _Measurement(network, runners, _energies(network, rounds, pool), pool)
        for samples in rounds:
            for key, found in measurement.effects(uncertain, samples):
                effects[key] = np.concatenate([effects[key], found])
                if _certain(effects[key]):
                    done = sum(map(_certain, effects.values()))
                    progress("disturbances", done, len(operators))
            uncertain = [operator for operator in uncertain if not _certain(effects[operator.key])]
    progress("disturbances", len(operators), len(operators))
    return {key: float(found.mean()) / DISTURBANCE_SIZE**2 for key, found in effects.items()}


@dataclass(frozen=True, slots=True)
class _Round:
    """Inputs of the network for some samples."""

    feeds: Arrays
    count: int
    """Number of samples. A sample may have several rows in an input (regions)."""


def _affordable(runners: Iterable[_Runners], operations: Mapping[str, int]) -> int:
    """Return the largest number of samples, from one round to :data:`MOST_SAMPLES`.

    Args:
        runners: what is run for each sample.
        operations: operations of one sample by node.
    """
    each = sum(operations.get(key, 0) for runner in runners for key in runner.effect.nodes)
    affordable = int(MOST_OPERATIONS // each) if each else MOST_SAMPLES
    return min(max(affordable, SAMPLES_OF_FIRST_ROUND), MOST_SAMPLES)


def _read_rounds(network: Network, dataset: Dataset, most_samples: int) -> list[_Round]:
    """Return the first samples of a dataset, divided into rounds."""
    step = fixed_batch(network) or 1
    samples, count = _first(dataset, max(most_samples // step, 1) * step)
    most = max(MEMORY_OF_A_ROUND // max(1, total_bytes(network)), 2)
    return [
        _Round(_part(samples, start, stop, count), stop - start)
        for start, stop in _rounds(count, step, most)
    ]


def _rounds(samples: int, step: int, most: int) -> list[tuple[int, int]]:
    """Return the first sample of every round, and the first one behind it.

    Args:
        samples: number of samples.
        step: the network's fixed batch; the size of a round is a multiple of it.
        most: largest size of a round, before it is rounded up to a multiple of `step`.
    """
    found, start, size = [], 0, SAMPLES_OF_FIRST_ROUND
    while start < samples:
        stop = start + -(-min(size, most) // step) * step
        # Too few samples for a round of their own are added to the last round.
        stop = samples if samples - stop < min(size, most, SAMPLES_OF_FIRST_ROUND) else stop
        found.append((start, stop))
        start, size = stop, stop
    return found


def _part(samples: Arrays, start: int, stop: int, count: int) -> Arrays:
    """Return the inputs of samples `start` to `stop` of `count`."""
    return {
        name: array[len(array) * start // count : len(array) * stop // count]
        for name, array in samples.items()
    }


def _certain(effects: Array) -> bool:
    """Whether the mean of effects [samples] has a small enough standard error."""
    if len(effects) < 2:
        return False
    error = effects.std(ddof=1) / np.sqrt(len(effects))
    return bool(error <= STANDARD_ERROR_WANTED * effects.mean())


class _Runner:
    """Runs a part of a network.

    Args:
        network: the part.
        fetch: names of the values it returns; None for its outputs.
        kept: whether the session is kept for the next run.
    """

    def __init__(self, network: Network, fetch: Sequence[str] | None = None, *, kept: bool = False):
        self.inputs = tuple(network.inputs)
        self.nodes = tuple(node_key(node) for node in network.graph)
        self._network, self._fetch, self._kept = network, fetch, kept
        self._session: Session | None = None

    def compute(self, values: Arrays, pool: Executor) -> Arrays:
        """Return the values, computed on all cores.

        Args:
            values: the inputs.
            pool: threads to compute in.
        """
        if not self._network.outputs:
            return {}
        fixed = fixed_batch(self._network) is not None
        session = self._session or (Session if fixed else Part)(self._network, fetch=self._fetch)
        if self._kept:
            self._session = session
        feeds = {name: values[name] for name in self.inputs}
        return session.compute(feeds, pool) if isinstance(session, Part) else session.run(feeds)


@dataclass(frozen=True, slots=True)
class _Runners:
    """The parts of the network that are run for one operator."""

    disturbance: _Runner
    """The operator with its removal error as weight."""
    effect: _Runner
    """The part of the network behind the operator."""


def _runners(
    network: Network, changed: Network, operators: Sequence[Operator]
) -> dict[str, _Runners]:
    """Return the runners of each operator by its key.

    Args:
        network: the network.
        changed: the network with the removal errors in place of the operators' weights.
        operators: the operators.
    """
    parts = {o.key: (between(changed, [o.x], [o.y]), suffix(network, o.y)) for o in operators}
    weights = sum(
        value.const_value.nbytes
        for pair in parts.values()
        for part in pair
        for value in part.graph.initializers.values()
        if value.const_value is not None
    )
    kept = weights <= KEPT_WEIGHT_BYTES
    return {
        key: _Runners(_Runner(one, kept=kept), _Runner(other, kept=kept))
        for key, (one, other) in parts.items()
    }


@dataclass(frozen=True, slots=True)
class _Measurement:
    """Measures the effects of disturbances on the outputs of a network."""

    network: Network
    runners: Mapping[str, _Runners]
    """Key of an operator → its runners."""
    energies: Mapping[str, float]
    """Output → mean energy of a sample."""
    pool: Executor
    """Threads to compute in."""

    def effects(
        self, operators: Sequence[Operator], samples: _Round
    ) -> Iterator[tuple[str, Array]]:
        """Yield the key of each operator, and the effect of its disturbance [samples]."""
        if not operators:
            return
        undisturbed = self._undisturbed(operators, samples)
        for operator in operators:
            yield operator.key, self._effect(operator, undisturbed, samples.count)

    def _undisturbed(self, operators: Sequence[Operator], samples: _Round) -> Arrays:
        """Return the outputs, and the values that the runners of the operators read."""
        outputs = list(self.network.outputs)
        read = [name for o in operators for name in self.runners[o.key].effect.inputs]
        around = [name for o in operators for name in (o.x, o.y)]
        names = list(dict.fromkeys([*read, *outputs, *around]))
        whole = _Runner(self.network, names)
        return {**samples.feeds, **whole.compute(samples.feeds, self.pool)}

    def _effect(self, operator: Operator, undisturbed: Arrays, count: int) -> Array:
        """Return the effect of an operator's disturbance on each of `count` samples."""
        runners = self.runners[operator.key]
        y = undisturbed[operator.y]
        axis = 1 if operator.op_type == "Conv" else y.ndim - 1
        error = runners.disturbance.compute(undisturbed, self.pool)[operator.y]
        disturbed = {operator.y: y + np.float32(DISTURBANCE_SIZE) * _scaled(error, y, axis)}
        disturbed.update(runners.effect.compute({**undisturbed, **disturbed}, self.pool))
        changes = [
            _squares(disturbed[name] - undisturbed[name], count) / self.energies[name]
            if name in disturbed and self.energies[name] > 0
            else np.zeros(count)
            for name in self.network.outputs
        ]
        effect: Array = np.mean(changes, axis=0)
        return effect


def _before_softmax(network: Network) -> Network:
    """Return the network with the input of the softmax in place of each output that is one."""
    targets = []
    for value in network.graph.outputs:
        node = value.producer()
        while node is not None and node.op_type in BEHIND and node.inputs[0] is not None:
            value, node = node.inputs[0], node.inputs[0].producer()
        targets.append(str(value.name))
    return between(network, network.inputs, targets)


def _first(dataset: Dataset, most: int) -> tuple[Arrays, int]:
    """Return the inputs of the first samples, at most `most`, and their number."""
    parts: list[Arrays] = []
    count = 0
    for batch in dataset:
        parts.append(batch.first(most - count))
        count += min(batch.size, most - count)
        if count == most:
            break
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, count


def _scaled(error: Array, y: Array, channel_axis: int) -> Array:
    """Return the deviations of an error from its channels' means, scaled to the energy of y's.

    The means are left out: a shift compensates for them. If the error is constant, because the
    samples do not use the removed channels, the deviations of y replace it.

    Args:
        error: values, batch first.
        y: values of the same shape.
        channel_axis: the axis of the channels.
    """
    axes = tuple(axis for axis in range(y.ndim) if axis != channel_axis)
    deviations, wanted = (a - a.mean(axis=axes, keepdims=True) for a in (error, y))
    energy, wanted_energy = (
        float(np.square(a).sum(dtype=np.float64)) for a in (deviations, wanted)
    )
    scaled: Array = deviations * np.float32(np.sqrt(wanted_energy / energy)) if energy else wanted
    return scaled


def _energies(network: Network, rounds: Sequence[_Round], pool: Executor) -> dict[str, float]:
    """Return for each output the mean energy of a sample around the mean, with a floor."""
    whole = _Runner(network)
    outputs = [whole.compute(samples.feeds, pool) for samples in rounds]
    count = sum(samples.count for samples in rounds)
    found = {}
    for name in outputs[0]:
        y = np.concatenate([np.atleast_1d(values[name]) for values in outputs])
        energy = np.square(y - y.mean(axis=0)).sum() + VARIANCE_FLOOR * np.square(y).sum()
        found[name] = float(energy) / count
    return found


def _squares(x: Array, samples: int) -> Array:
    """Return the sum of squares of each sample, [samples].

    If the first axis is not that of the samples, each sample gets an equal part of the whole sum.
    """
    if x.ndim == 0 or len(x) != samples:
        return np.full(samples, float(np.square(x).sum()) / samples)
    flat = x.reshape(samples, -1)
    found: Array = np.einsum("ni,ni->n", flat, flat).astype(np.float64)
    return found
