"""Second moments of the inputs of every operator, gathered in one stream over the data.

The covariance of an operator with very many columns (a fully connected layer after a large map)
does not fit into memory. Such an operator gets a sample instead: its inputs at a bounded number of
positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..data import Dataset, streamed
from ..engine.session import Session
from ..ir.network import Network
from ..progress import Progress, silent
from .operators import Array, Operator
from .ridge import by_turns

__all__ = [
    "SAMPLED_POSITIONS",
    "VARIANCE_FLOOR",
    "WIDEST_CONVOLUTION",
    "WIDEST_PRODUCT",
    "InputMoments",
    "InputSample",
    "MomentAccumulator",
    "SampleAccumulator",
    "SplitHalf",
    "gather_moments",
    "joined_pairs",
    "limited",
    "positions_of_a_sample",
    "wide",
]

POSITIONS_PER_COLUMN = 64
"""Output positions for every column (input · tap) of a convolution, over all samples together.

Least squares with n columns on N positions overfits by about n / N of the error, here less than two
percent. More positions cost time and change little.
"""

MOST_MULTIPLICATIONS = 1e11
"""Most multiplications that the covariance of an operator may take (positions · columns²), so that
operators with many columns get fewer positions."""

LEAST_POSITIONS_PER_COLUMN = 4
"""Positions for every column that an operator gets even beyond :data:`MOST_MULTIPLICATIONS`."""

LEAST_POSITIONS_PER_SAMPLE = 16
"""Positions of a sample that an operator gets in any case, if its output has as many."""

WIDEST_CONVOLUTION = 4608
"""Most columns of a convolution that gets a covariance: 512 channels of 3 × 3 taps, 170 MB."""

WIDEST_PRODUCT = 1024
"""The same for matrix products. They often have thousands of channels, and the closed-form updates
for each channel would take hours."""

POSITIONS_PER_PRODUCT = 512
"""Least positions of one product of matrices: products of few positions are slow."""

SAMPLED_POSITIONS = 4096
"""Positions in the sample of an operator with more columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InputMoments:
    """Moments of the inputs of an operator.

    Args:
        mean: [groups, inputs · taps].
        covariance: [groups, inputs · taps, inputs · taps], around `mean`.
        power: [groups], mean square of an input.
        count: sum of the weights of the positions averaged over.
        halves: the covariances over the even and over the odd samples, float32, each around its
            own mean; empty if there is one sample only.
    """

    mean: Array
    covariance: Array
    power: Array
    count: float
    halves: tuple[Array, ...] = ()

    def ridge(self, part: float) -> Array:
        """Return the ridge of each group, [groups]: a part of the mean variance of an input.

        It is added to the diagonals of the covariance. It is at least :data:`VARIANCE_FLOOR` times
        the power: a variance below that is rounding (data may saturate a layer), and weights
        fitted to it would explode.
        """
        size = self.covariance.shape[-1]
        return limited(np.trace(self.covariance, axis1=1, axis2=2) / size, self.power, part)


VARIANCE_FLOOR = 1e-4
"""Part of the power below which a variance is not trusted: float32 sums round that much. Weights
fitted to it (if the data saturates a layer, for example) would be large and amplify rounding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InputSample:
    """The inputs of an operator with very many columns at some positions.

    Args:
        mean: [groups, inputs · taps].
        rows: the inputs minus their mean, [groups, positions, inputs · taps], float32.
        power: [groups], mean square of an input.
    """

    mean: Array
    rows: Array
    power: Array

    def ridge(self, part: float) -> Array:
        """Return the ridge as :meth:`InputMoments.ridge` does."""
        variance = np.square(self.rows).mean(axis=(1, 2), dtype=np.float64)
        return limited(variance, self.power, part)


class SampleAccumulator:
    """The first :data:`SAMPLED_POSITIONS` positions of an operator with very many columns."""

    def __init__(self) -> None:
        self._parts: list[Array] = []
        self._count = 0

    def add(self, x: Array) -> None:
        """Keep positions: x [groups, positions, inputs]."""
        x = x[:, : SAMPLED_POSITIONS - self._count]
        self._count += x.shape[1]
        if x.size:
            self._parts.append(x.astype(np.float32))

    def sample(self, *, centred: bool) -> InputSample:
        """Return the positions kept, around the mean or around zero."""
        rows = np.concatenate(self._parts, axis=1)
        power = np.square(rows).mean(axis=(1, 2), dtype=np.float64)
        mean = rows.mean(axis=1, dtype=np.float64)
        if not centred:
            mean = np.zeros_like(mean)
        return InputSample(mean=mean, rows=rows - mean[:, None].astype(np.float32), power=power)


class SplitHalf:
    """Moments of the even and of the odd samples, for cross-validation with two folds."""

    def __init__(self) -> None:
        self.even, self.odd = MomentAccumulator(), MomentAccumulator()
        self._samples = 0

    def add(
        self, samples: int, x: Array, y: Array | None = None, counts: Array | None = None
    ) -> None:
        """Add the positions of some samples.

        Args:
            samples: number of samples.
            x: [groups, samples · positions, inputs].
            y: targets, [groups, samples · positions, outputs].
            counts: weight of each position, [groups, samples · positions]; None for 1.
        """
        parts = [
            (None, None) if array is None else by_turns(array, samples, self._samples)
            for array in (x, y, counts)
        ]
        for half, rows, wanted, often in zip((self.even, self.odd), *parts, strict=True):
            if rows is not None and rows.size:
                half.add(rows, wanted, often)
        self._samples += samples

    def joined(self) -> MomentAccumulator:
        """Return the moments of all samples."""
        return self.even.joined(self.odd)

    @property
    def halved(self) -> bool:
        """Whether there are samples of both kinds."""
        return self._samples > 1

    def moments(self, *, centred: bool) -> InputMoments:
        """Return the moments of all samples, with the covariances of the halves."""
        whole = self.joined().moments(centred=centred)
        if not self.halved:
            return whole
        halves = (
            half.moments(centred=centred).covariance.astype(np.float32)
            for half in (self.even, self.odd)
        )
        return replace(whole, halves=tuple(halves))


class MomentAccumulator:
    """Running sums of x, x xᵀ and, with targets, y and y xᵀ, each [groups, …].

    Positions are collected until there are :data:`POSITIONS_PER_PRODUCT` for one product.
    """

    def __init__(self) -> None:
        self.count: float = 0
        self.x: Array | None = None
        self.xx: Array | None = None
        self.y: Array | None = None
        self.yx: Array | None = None
        self._waiting: list[tuple[Array, Array | None, Array | None]] = []
        self._rows = 0

    def add(self, x: Array, y: Array | None = None, counts: Array | None = None) -> None:
        """Add positions.

        The arrays must not change before the sums are read.

        Args:
            x: [groups, positions, inputs].
            y: targets, [groups, positions, outputs].
            counts: weight of each position, [groups, positions], the same in all groups; None
                for 1.
        """
        self._waiting.append((x, y, counts))
        self._rows += x.shape[1]
        if self._rows >= POSITIONS_PER_PRODUCT:
            self._sum_up()

    def _sum_up(self) -> None:
        """Add the collected positions to the sums."""
        if not self._waiting:
            return
        x, y, counts = (_all(parts) for parts in zip(*self._waiting, strict=True))
        assert x is not None
        self._waiting, self._rows = [], 0
        often = x if counts is None else x * counts[:, :, None]
        self.count += x.shape[1] if counts is None else float(counts[0].sum(dtype=np.float64))
        self.x = _sum(self.x, often.sum(axis=1, dtype=np.float64))
        self.xx = _sum(self.xx, often.transpose(0, 2, 1) @ x)
        if y is not None:
            aims = y if counts is None else y * counts[:, :, None]
            self.y = _sum(self.y, aims.sum(axis=1, dtype=np.float64))
            self.yx = _sum(self.yx, aims.transpose(0, 2, 1) @ x)

    def joined(self, other: MomentAccumulator) -> MomentAccumulator:
        """Return the sums over the positions of both."""
        self._sum_up()
        other._sum_up()
        both = MomentAccumulator()
        both.count = self.count + other.count
        for name in ("x", "xx", "y", "yx"):
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(both, name, mine if theirs is None else mine + theirs)
        return both

    def means(self) -> tuple[Array, Array]:
        """Return the means of y and of y xᵀ."""
        self._sum_up()
        assert self.y is not None
        assert self.yx is not None
        return self.y / self.count, self.yx / self.count

    def moments(self, *, centred: bool) -> InputMoments:
        """Return the moments around the mean, or around zero."""
        self._sum_up()
        assert self.x is not None
        assert self.xx is not None
        mean = self.x / self.count
        second = self.xx / self.count
        power = np.trace(second, axis1=1, axis2=2) / second.shape[-1]
        if not centred:
            mean = np.zeros_like(mean)
        covariance = second - mean[:, :, None] * mean[:, None, :]
        return InputMoments(mean=mean, covariance=covariance, power=power, count=self.count)


def gather_moments(
    network: Network,
    operators: Sequence[Operator],
    dataset: Dataset,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, InputMoments | InputSample]:
    """Stream the data once and return the moments of every operator's inputs by its key.

    Depthwise convolutions are skipped: they consume no channels. Inputs are centred if the operator
    can store a shift of its output.

    Args:
        network: the network of the operators.
        operators: the operators to gather moments of.
        dataset: inputs; labels are not used. Memory does not grow with its size.
        seed: seed of the random positions.
        progress: called with the number of samples done.

    Raises:
        DataError: the data does not fit the network.
    """
    operators = [operator for operator in operators if not operator.depthwise(network)]
    names = list(dict.fromkeys(operator.x for operator in operators))
    session = Session(network, fetch=names)
    shapes = network.values()
    accumulators: dict[str, SampleAccumulator | SplitHalf]
    accumulators = {
        o.key: SampleAccumulator() if wide(o, network) else SplitHalf() for o in operators
    }
    most = {o.key: positions_of_a_sample(o, network, dataset.samples) for o in operators}
    random = np.random.default_rng(seed)
    for batch in streamed(dataset, "covariances", progress):
        values = session.run(batch.inputs)
        for operator in operators:
            shape = [dim if isinstance(dim, int) else 1 for dim in shapes[operator.y].shape or ()]
            positions = operator.positions(shape, most[operator.key], random)
            x = values[operator.x]
            rows, gathered = operator.inputs(x, positions), accumulators[operator.key]
            if isinstance(gathered, SampleAccumulator):
                gathered.add(rows)
            else:
                gathered.add(len(x), rows)
    found: dict[str, InputMoments | InputSample] = {}
    for operator in operators:
        gathered = accumulators.pop(operator.key)
        centred = operator.shift is not None
        if isinstance(gathered, SampleAccumulator):
            found[operator.key] = gathered.sample(centred=centred)
        else:
            found[operator.key] = gathered.moments(centred=centred)
    return found


def joined_pairs(pairs: Iterable[tuple[Array, Array]]) -> Iterator[tuple[Array, Array]]:
    """Yield pairs of arrays [groups, positions, …], joined to enough positions for a product."""
    waiting: list[tuple[Array, Array]] = []
    rows = 0
    for pair in pairs:
        waiting.append(pair)
        rows += pair[0].shape[1]
        if rows >= POSITIONS_PER_PRODUCT:
            yield _joined([x for x, _ in waiting]), _joined([y for _, y in waiting])
            waiting, rows = [], 0
    if waiting:
        yield _joined([x for x, _ in waiting]), _joined([y for _, y in waiting])


def wide(operator: Operator, network: Network) -> bool:
    """Whether an operator has too many columns for a covariance."""
    return _columns(operator, network) > (
        WIDEST_CONVOLUTION if operator.op_type == "Conv" else WIDEST_PRODUCT
    )


def positions_of_a_sample(
    operator: Operator, network: Network, samples: int, *, rare: bool = False
) -> int:
    """Return how many positions of each sample are enough for the moments of an operator.

    Args:
        operator: the operator.
        network: its network.
        samples: number of samples.
        rare: whether most positions carry little information (background), so that as many are
            taken as :data:`MOST_MULTIPLICATIONS` allows.
    """
    columns = _columns(operator, network)
    if wide(operator, network):
        return max(SAMPLED_POSITIONS // samples, 1)
    most = max(MOST_MULTIPLICATIONS / columns**2, LEAST_POSITIONS_PER_COLUMN * columns)
    enough = most if rare else min(POSITIONS_PER_COLUMN * columns, most)
    return max(int(-(-enough // samples)), LEAST_POSITIONS_PER_SAMPLE)


def _columns(operator: Operator, network: Network) -> int:
    weight = network.graph.initializers[operator.weight].const_value
    assert weight is not None
    return int(operator.matrix(weight.numpy()).shape[-1])


def limited(variance: Array, power: Array, part: float) -> Array:
    """Return the larger of a part of the variance and :data:`VARIANCE_FLOOR` times the power."""
    smallest = np.finfo(np.float32).tiny
    found: Array = np.maximum(np.maximum(part * variance, VARIANCE_FLOOR * power), smallest)
    return found


def _sum(total: Array | None, more: Array) -> Array:
    """Return the sum in the memory of `total`: new memory for each batch would double the cost."""
    if total is None:
        return more.astype(np.float64)
    total += more
    return total


def _all(parts: Sequence[Array | None]) -> Array | None:
    """Return arrays [groups, positions, …] joined along the positions; None if there are none."""
    found = [part for part in parts if part is not None]
    return _joined(found) if found else None


def _joined(parts: Sequence[Array]) -> Array:
    """Return arrays [groups, positions, …] joined along the positions."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
