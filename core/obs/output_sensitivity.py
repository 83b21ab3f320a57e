"""How much a small disturbance of one operator's output moves the outputs of the network.

weight(operator) = mean over the outputs o of E‖o(y + n) − o(y)‖² / E‖o − mean o‖² / ε². The
disturbance n is what the output lacks once the operator's cheapest channels are gone
(:mod:`.lacking`), so many of them that the error is about ε of the output, scaled to just that. So
it has the structure over space and over channels that the error of a pruned network has, and that
says how much of it later layers let through: white noise averages out over neighbouring positions,
and another sample's deviations, in each channel on its own, are smooth where an error that other
channels make up for is not.

Where an output is a softmax, o is what it reads: on data that the network is sure of, probabilities
stand still whatever happens to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from ..ir.rebuild import rebuild
from ..progress import Progress, silent
from ..statistics.moments import VARIANCE_FLOOR
from ..statistics.operators import Array, Operator

__all__ = ["DISTURBANCE_SIZE", "measure_output_sensitivities"]

DISTURBANCE_SIZE = 0.1
"""Size of the disturbance relative to the deviation of the output."""

MOST_SAMPLES = 64
"""Samples the effect is measured on at most; more change the choice little."""

SAMPLES_OF_FIRST_ROUND = 16
"""Samples it is measured on at first. The round after takes as many as all before it, for those
operators only whose weight is still uncertain."""

MEMORY_OF_A_ROUND = 1 << 30
"""Bytes that the values of a round may take, all of them counted, without padded channels."""

KEPT_WEIGHT_BYTES = 1 << 28
"""Bytes of weights that sessions may hold which wait for the next round, or they are made anew."""

STANDARD_ERROR_WANTED = 0.05
"""Standard error, as a part of it, with which a weight is known well enough. With 0.15 a small
detector takes a fifth less time at −20 %, and its outputs are off by 6 % more."""

BEHIND = ("Softmax", "LogSoftmax", "Flatten", "Reshape", "Identity")
"""Operators that are passed over from an output back to what a softmax reads."""


def measure_output_sensitivities(
    network: Network,
    operators: Sequence[Operator],
    dataset: Dataset,
    removal_errors: Mapping[str, Array],
    *,
    progress: Progress = silent,
) -> dict[str, float]:
    """Return the weight of every operator by its key.

    Only what follows an operator is computed again for it.

    Args:
        network: the network.
        operators: whose outputs are disturbed, one at a time.
        dataset: inputs. At most :data:`MOST_SAMPLES` are used, fewer where the standard error of a
            weight is down to :data:`STANDARD_ERROR_WANTED`.
        removal_errors: what :func:`.removal_error.find_removal_errors` returns for the operators.
        progress: told of the operators done.
    """
    network = _before_softmax(network)
    step = fixed_batch(network) or 1
    samples, count = _first(dataset, max(MOST_SAMPLES // step, 1) * step)
    most = max(MEMORY_OF_A_ROUND // max(1, total_bytes(network)), 2)
    rounds = [
        (stop - start, _part(samples, start, stop, count))
        for start, stop in _rounds(count, step, most)
    ]
    changed = for_speed(
        rebuild(network, tensors={o.weight: removal_errors[o.key] for o in operators})
    )
    network = for_speed(network)
    following = _following(network, changed, operators)
    effects: dict[str, Array] = {operator.key: np.empty(0) for operator in operators}
    progress("disturbances", 0, len(operators))
    uncertain = list(operators)
    with ThreadPoolExecutor(cores()) as pool:
        energies = _energies(network, [feeds for _, feeds in rounds], count, pool)
        for size, feeds in rounds:
            parts = [(operator, following[operator.key]) for operator in uncertain]
            for key, found in _effects(network, parts, feeds, size, energies, pool):
                effects[key] = np.concatenate([effects[key], found])
                if _certain(effects[key]):
                    done = sum(map(_certain, effects.values()))
                    progress("disturbances", done, len(operators))
            uncertain = [operator for operator in uncertain if not _certain(effects[operator.key])]
    progress("disturbances", len(operators), len(operators))
    return {key: float(found.mean()) / DISTURBANCE_SIZE**2 for key, found in effects.items()}


def _rounds(samples: int, step: int, most: int) -> list[tuple[int, int]]:
    """Return first and last sample, plus one, of every round.

    Args:
        samples: how many there are.
        step: the batch that the network fixes; rounds hold multiples of it.
        most: samples a round may hold otherwise.
    """
    found, start, size = [], 0, SAMPLES_OF_FIRST_ROUND
    while start < samples:
        stop = start + -(-min(size, most) // step) * step
        # A few samples that are left over say nothing on their own.
        stop = samples if samples - stop < min(size, most, SAMPLES_OF_FIRST_ROUND) else stop
        found.append((start, stop))
        start, size = stop, stop
    return found


def _part(samples: Arrays, start: int, stop: int, count: int) -> Arrays:
    """Return the inputs of some of `count` samples; some have several rows a sample (regions)."""
    return {
        name: array[len(array) * start // count : len(array) * stop // count]
        for name, array in samples.items()
    }


def _certain(effects: Array) -> bool:
    """Whether the mean of effects, one a sample, is known well enough."""
    if len(effects) < 2:
        return False
    error = effects.std(ddof=1) / np.sqrt(len(effects))
    return bool(error <= STANDARD_ERROR_WANTED * effects.mean())


class _Runner:
    """A part of a network, run on values of its own names.

    Args:
        network: the part.
        fetch: names of the values it returns; None for its outputs.
        kept: whether what it is run with stays for the next time.
    """

    def __init__(self, network: Network, fetch: Sequence[str] | None = None, *, kept: bool = False):
        self.inputs = tuple(network.inputs)
        self._network, self._fetch, self._kept = network, fetch, kept
        self._session: Session | None = None

    def compute(self, values: Arrays, pool: Executor) -> Arrays:
        """Return the values, computed on all cores."""
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
    """What disturbs an operator's output, and what follows from that."""

    disturbance: _Runner
    effect: _Runner


def _following(
    network: Network, changed: Network, operators: Sequence[Operator]
) -> dict[str, _Runners]:
    """Return by the key of each operator what is run for it.

    Args:
        network: the network.
        changed: the same with what the operators' outputs lack in place of their weights.
        operators: what is looked at.
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


def _effects(
    network: Network,
    parts: Sequence[tuple[Operator, _Runners]],
    feeds: Arrays,
    samples: int,
    energies: Mapping[str, float],
    pool: Executor,
) -> Iterator[tuple[str, Array]]:
    """Yield key and effect on every sample, [samples], of one operator after the other.

    Args:
        network: the whole network.
        parts: operators, and what is run for them.
        feeds: inputs of the network.
        samples: how many these are.
        energies: output → mean energy of a sample.
        pool: threads to compute in.
    """
    if not parts:
        return
    outputs = list(network.outputs)
    read = [name for _, part in parts for name in part.effect.inputs]
    around = [name for operator, _ in parts for name in (operator.x, operator.y)]
    names = list(dict.fromkeys([*read, *outputs, *around]))
    still = {**feeds, **_Runner(network, names).compute(feeds, pool)}
    for operator, part in parts:
        y = still[operator.y]
        channel = 1 if operator.op_type == "Conv" else y.ndim - 1
        lacking = part.disturbance.compute(still, pool)[operator.y]
        disturbed = {operator.y: y + np.float32(DISTURBANCE_SIZE) * _scaled(lacking, y, channel)}
        disturbed.update(part.effect.compute({**still, **disturbed}, pool))
        moved = [
            _squares(disturbed[name] - still[name], samples) / energies[name]
            if name in disturbed and energies[name] > 0
            else np.zeros(samples)
            for name in outputs
        ]
        yield operator.key, np.mean(moved, axis=0)


def _before_softmax(network: Network) -> Network:
    """Return the network with what a softmax reads in place of each output that is one."""
    targets = []
    for value in network.graph.outputs:
        node = value.producer()
        while node is not None and node.op_type in BEHIND and node.inputs[0] is not None:
            value, node = node.inputs[0], node.inputs[0].producer()
        targets.append(str(value.name))
    return between(network, network.inputs, targets)


def _first(dataset: Dataset, most: int) -> tuple[Arrays, int]:
    """Return the inputs of the first samples, and how many these are."""
    parts: list[Arrays] = []
    count = 0
    for batch in dataset:
        parts.append(batch.first(most - count))
        count += min(batch.size, most - count)
        if count == most:
            break
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, count


def _scaled(x: Array, y: Array, channel: int) -> Array:
    """Return the deviations of x from the means of its channels, with as much energy as y's.

    What the mean of a channel lacks goes into a shift. Where x never moves, on samples that need
    none of the channels it is of, y's own deviations stand in for it.

    Args:
        x: values, batch first.
        y: values of the same shape.
        channel: the axis of the channels.
    """
    axes = tuple(axis for axis in range(x.ndim) if axis != channel)
    off, around = (a - a.mean(axis=axes, keepdims=True) for a in (x, y))
    energy, wanted = (float(np.square(a).sum(dtype=np.float64)) for a in (off, around))
    found: Array = off * np.float32(np.sqrt(wanted / energy)) if energy else around
    return found


def _energies(
    network: Network, rounds: Sequence[Arrays], samples: int, pool: Executor
) -> dict[str, float]:
    """Return for each output the mean energy of a sample: around its mean, and never nothing."""
    whole = _Runner(network)
    outputs = [whole.compute(feeds, pool) for feeds in rounds]
    found = {}
    for name in outputs[0]:
        y = np.concatenate([values[name] for values in outputs])
        energy = np.square(y - y.mean(axis=0)).sum() + VARIANCE_FLOOR * np.square(y).sum()
        found[name] = float(energy) / samples
    return found


def _squares(x: Array, samples: int) -> Array:
    """Return the sum of the squares of each sample, [samples].

    Where the samples do not lie along the first axis, each gets its share of all.
    """
    if len(x) != samples:
        return np.full(samples, float(np.square(x).sum()) / samples)
    flat = x.reshape(samples, -1)
    found: Array = np.einsum("ni,ni->n", flat, flat).astype(np.float64)
    return found
