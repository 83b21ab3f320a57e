"""Comparing two networks piece by piece, cut where rounding would grow into large errors.

The position of a maximum jumps if two values are nearly equal, and a sigmoid of large numbers turns
their last digits into its first. Two networks that differ only in the order of their sums then
differ behind such a node, though neither is wrong. So the second network is cut before it: the
node, and all that follows, is given what it reads in the first network, and what the second one
computes there is compared instead. Every node lies in a piece. If all pieces agree, the networks
agree up to rounding, and a fault shows in the piece that holds it. Where to cut follows from
measured conditions (:mod:`.conditioning`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from ..coupling import Groups
from ..coupling.indices import UnitMask
from ..data import Batch, Dataset, streamed
from ..data.base import fixed_batch
from ..engine.placement import on_processor
from ..engine.session import Arrays, Session
from ..errors import DataError
from ..ir.network import Network, shape_of
from ..ir.partial import given, known, severed
from ..progress import Progress, silent
from .compare import Comparison, Meter
from .conditioning import conditions, cuttable, hidden_values, rounding

__all__ = [
    "Narrow",
    "Stirred",
    "compare_pieces",
    "cut_values",
    "hidden_in_both",
    "narrowed",
    "same_size",
    "shared_values",
]

NOISE = 2.0
"""Standard deviation of noise for operators such as a sigmoid, tanh or Clip(0, 6): most of it lies
where they are not flat."""

Narrow = Callable[[str, np.ndarray], np.ndarray]
"""Takes the name of a value and its array in the first network; returns the array of the channels
that the second network has."""


def same_size(name: str, array: np.ndarray) -> np.ndarray:
    """Return the array: both networks have the same channels."""
    del name
    return array


def narrowed(groups: Groups, removed: UnitMask) -> Narrow:
    """Return a function that takes arrays of the full-size network to the surviving channels.

    Args:
        groups: groups of the full-size network.
        removed: mask over their units, [units].
    """
    surviving = groups.surviving(removed)

    def narrow(name: str, array: np.ndarray) -> np.ndarray:
        labels = groups.values.get(known(name))
        if labels is None or labels.axis is None:
            return array
        if len(labels.vector) != array.shape[labels.axis]:
            return array  # of a smaller input: rows and channels in one axis, which nothing prunes
        return np.compress(surviving[labels.vector], array, axis=labels.axis)

    return narrow


def shared_values(first: Network, second: Network, narrow: Narrow) -> list[str]:
    """Return the values that both networks compute and that either can be cut at, in order."""
    own, other = first.values(), second.values()
    able = frozenset(cuttable(second))

    def same(name: str) -> bool:
        shape = shape_of(own[name])
        sizes = [size if isinstance(size, int) else 1 for size in shape]
        narrow_shape = narrow(name, np.broadcast_to(np.float32(0), sizes)).shape
        wanted = tuple(n if isinstance(n, int) else 1 for n in shape_of(other[name]))
        return narrow_shape == wanted

    return [name for name in cuttable(first) if name in able and same(name)]


def hidden_in_both(first: Network, second: Network, narrow: Narrow = same_size) -> list[str]:
    """Return the values whose differences the outputs hide, as far as both networks have them."""
    shared = frozenset(shared_values(first, second, narrow))
    return [name for name in hidden_values(first) if name in shared]


def cut_values(
    first: Network,
    second: Network,
    dataset: Dataset,
    sample: int,
    narrow: Narrow = same_size,
    *,
    limit: float,
) -> list[str]:
    """Return the values at which two networks are to be cut.

    Args:
        first: the reference, in which conditions are measured.
        second: a network of the same nodes, with the same or fewer channels.
        dataset: inputs for both.
        sample: number of the sample at which conditions are measured.
        narrow: maps a value of `first` to the channels that `second` has.
        limit: how much rounding a piece may gather, in units of that of one node.
    """
    measured = conditions(first, _sample(dataset, sample, fixed_batch(first) or 1))
    return rounding(first, measured, shared_values(first, second, narrow), limit)


def _sample(dataset: Dataset, number: int, own: int) -> Arrays:
    """Return the inputs of one sample, with the other samples of its fixed batch.

    Raises:
        DataError: the dataset has fewer samples.
    """
    done = 0
    for batch in dataset:
        if number < done + batch.size:
            start = (number - done) // own * own
            return _rows(batch, start, start + own)
        done += batch.size
    raise DataError(f"there are no samples in {dataset.name}")


def _rows(batch: Batch, start: int, stop: int) -> Arrays:
    """Return the inputs of some samples of a batch; some have several rows a sample (regions)."""
    size = batch.size
    return {
        name: rows[len(rows) * start // size : len(rows) * stop // size] if rows.ndim else rows
        for name, rows in batch.inputs.items()
    }


class Stirred:
    """One sample for severed networks: noise is given where operators wait for small numbers.

    Args:
        network: the whole network.
        cuts: the values that it is severed at.
        names: the inputs of the severed network.
        dataset: inputs of the whole network; the first sample counts.
    """

    labelled = False
    problems: tuple[str, ...] = ()

    def __init__(
        self, network: Network, cuts: Sequence[str], names: Collection[str], dataset: Dataset
    ):
        self.name = dataset.name
        self.samples = own = fixed_batch(network) or 1
        inputs = _sample(dataset, 0, own)
        values = Session(network, fetch=cuts).run(inputs)
        self._inputs = {name: array for name, array in inputs.items() if name in names}
        for number, (name, array) in enumerate(values.items()):
            noise = np.random.default_rng(number).normal(0.0, NOISE, array.shape)
            # Exact zeros stay: they may be those of a masked channel.
            self._inputs[given(name)] = np.asarray(noise * (array != 0), array.dtype)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the sample."""
        yield Batch(inputs=self._inputs)


@on_processor()
def compare_pieces(
    first: Network,
    second: Network,
    dataset: Dataset,
    narrow: Narrow = same_size,
    *,
    inner: Sequence[str] = (),
    cuts: Collection[str] = (),
    progress: Progress = silent,
) -> Comparison:
    """Compare every output, some inner values, and the values at which the networks are cut.

    Args:
        first: the reference.
        second: a network of the same nodes, with the same or fewer channels.
        dataset: inputs for both.
        narrow: maps a value of `first` to the channels that `second` has.
        inner: names of values to compare besides the outputs.
        cuts: values of `first` that whatever reads them in `second` is given.
        progress: called with the number of samples done.

    Returns:
        one difference for each value.
    """
    meters = {name: Meter() for name in (*first.outputs, *inner, *cuts) if name not in first.inputs}
    session = Session(first, fetch=list(meters))
    rest = severed(second, cuts, list(meters)) if cuts else second
    session_rest = Session(rest, fetch=list(meters))
    samples = 0
    for batch in streamed(dataset, "comparing", progress):
        values = {name: narrow(name, array) for name, array in session.run(batch.inputs).items()}
        feeds = {name: narrow(name, array) for name, array in batch.inputs.items()}
        feeds |= {given(name): values[name] for name in cuts}
        others = session_rest.run({name: feeds[name] for name in rest.inputs})
        for name, meter in meters.items():
            meter.add(name, values[name], others[name], samples, batch.size)
        samples += batch.size
    computed = second.values()
    note = f"compared in pieces, cut at {len(cuts)} values behind which rounding grows"
    return Comparison(
        outputs=tuple(meter.result(n, n, shape_of(computed[n])) for n, meter in meters.items()),
        samples=samples,
        notes=(note,) if cuts else (),
    )
