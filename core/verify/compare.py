"""Comparing two networks on data: the largest difference of each output, and its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..data import SyntheticDataset, streamed
from ..data.arrays import AnyData, as_dataset
from ..data.probe import cautions
from ..engine.session import Session
from ..errors import DataError, VerificationError
from ..ir.dims import shape_text
from ..ir.network import Network
from ..markup import Table, notebook
from ..progress import Progress, silent

__all__ = ["Comparison", "Difference", "Meter", "Pairing", "compare", "pair"]

Shape = tuple[int | str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How far one output of network b is from that of network a, over all data.

    Args:
        a: name of the output in network a.
        b: name of the output in network b.
        shape: its shape in network a; the symbolic batch is a string.
        absolute: max|a − b|; infinite if only one of them is NaN or infinite somewhere.
        relative: max|a − b| / max|a|, both over all data.
        peak: max|a| of the finite values.
        sample: number of the sample with the largest absolute difference.
        index: position of that difference within the sample's output.
    """

    a: str
    b: str
    shape: Shape
    absolute: float
    relative: float
    peak: float
    sample: int
    index: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The differences of all outputs compared, over `samples` samples.

    Notes tell of outputs with other names, and of inputs that were drawn.
    """

    outputs: tuple[Difference, ...]
    samples: int
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        table = Table(
            caption=f"Differences on {self.samples:,} samples",
            columns=("Output", "Shape", "Max. absolute", "Max. relative"),
            rows=[
                (one.a if one.a == one.b else f"{one.a} / {one.b}", shape_text(one.shape),
                 f"{one.absolute:.3e}", f"{one.relative:.3e}")
                for one in self.outputs
            ],
            numeric=(2, 3),
        )  # fmt: skip
        return notebook(table)

    @property
    def worst(self) -> Difference:
        """The output with the largest relative difference."""
        return max(self.outputs, key=lambda output: output.relative)

    def within(self, tolerance: float) -> bool:
        """Return whether no relative difference is over `tolerance`."""
        return all(output.relative <= tolerance for output in self.outputs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairing:
    """The inputs and outputs of network b that belong to those of network a.

    Args:
        inputs: name in network a → name in network b.
        outputs: likewise.
        notes: messages about pairs of different names.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def feeds(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return inputs of network a under their names in network b."""
        return {self.inputs[name]: array for name, array in inputs.items() if name in self.inputs}

    def renamed(self, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return outputs of network b under the names they have in network a."""
        return {name: outputs[other] for name, other in self.outputs.items()}


def compare(
    a: Network,
    b: Network,
    dataset: AnyData | None = None,
    *,
    outputs: Sequence[str] | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Comparison:
    """Run two networks on the same data and measure the differences of their outputs.

    Args:
        a: the reference.
        b: the other network; :func:`pair` says how its inputs and outputs are paired with those of
            `a`.
        dataset: opened for network `a`; noise where there is none.
        outputs: names of the outputs of `a` to compare; None for all.
        threads: threads of each run; None for all cores.
        progress: called after every batch.

    Raises:
        DataError: the data does not fit, or an output asked for does not exist.
        VerificationError: the networks cannot be compared, their inputs or outputs do not match.
    """
    dataset = as_dataset(dataset, a)
    pairing = pair(a, b, outputs)
    session_a, session_b = Session(a, threads), Session(b, threads)
    shapes = a.outputs
    meters = {name: Meter() for name in pairing.outputs}
    samples = 0
    for batch in streamed(dataset or SyntheticDataset(a), "comparing", progress):
        values_a = session_a.run(batch.inputs)
        values_b = session_b.run(pairing.feeds(batch.inputs))
        for name, partner in pairing.outputs.items():
            meters[name].add(name, values_a[name], values_b[partner], samples, batch.size)
        samples += batch.size
    found = tuple(
        meters[name].result(name, partner, shapes[name])
        for name, partner in pairing.outputs.items()
    )
    return Comparison(outputs=found, samples=samples, notes=(*pairing.notes, *cautions(dataset)))


def pair(a: Network, b: Network, outputs: Sequence[str] | None = None) -> Pairing:
    """Find the partner in `b` of every input and output of `a`.

    Partners have the same name. The remaining ones are paired in their order if their numbers and
    shapes agree; a note says so. All are paired in their order where that agrees in all shapes, and
    some names mean others: networks that number their layers do so anew without some of them.

    Args:
        a: the reference.
        b: the other network.
        outputs: names of the outputs of `a` that need a partner; None for all.

    Raises:
        DataError: `outputs` is empty or names an output that does not exist.
        VerificationError: there is no such pairing.
    """
    wanted = list(a.outputs) if outputs is None else list(outputs)
    if unknown := [name for name in wanted if name not in a.outputs]:
        raise DataError(
            f"network '{a.name}' has no output '{unknown[0]}'",
            hint=f"it has {', '.join(a.outputs)}",
        )
    if not wanted:
        raise DataError("there is no output to compare")
    inputs, input_notes = _partners("input", a.inputs, b.inputs, list(a.inputs))
    pairs, output_notes = _partners("output", a.outputs, b.outputs, wanted)
    return Pairing(inputs=inputs, outputs=pairs, notes=(*input_notes, *output_notes))


def _partners(
    kind: str, a: Mapping[str, Shape], b: Mapping[str, Shape], wanted: list[str]
) -> tuple[dict[str, str], list[str]]:
    partners = {name: name for name in a if name in b}
    if 0 < len(partners) < len(a) == len(b):
        ordered = all(_same_shape(a[x], b[y]) for x, y in zip(a, b, strict=True))
        if ordered and not all(_same_shape(a[name], b[name]) for name in partners):
            partners = {}
    left_a = [name for name in a if name not in partners]
    left_b = [name for name in b if name not in partners]
    notes = []
    if len(left_a) == len(left_b):
        for name, other in zip(left_a, left_b, strict=True):
            partners[name] = other
            if name in wanted:
                notes.append(f"{kind} '{name}' is paired with '{other}' by its order")
    elif any(name in left_a for name in wanted) or (left_b and wanted == list(a)):
        raise VerificationError(
            f"the networks cannot be compared: the {kind}s of the one are {_listed(a)}, "
            f"those of the other {_listed(b)}"
        )
    for name in wanted:
        if not _same_shape(a[name], b[partners[name]]):
            raise VerificationError(
                f"the networks cannot be compared: {kind} '{name}' is {shape_text(a[name])} in the "
                f"one, but '{partners[name]}' is {shape_text(b[partners[name]])} in the other"
            )
    return {name: partners[name] for name in wanted}, notes


def _same_shape(a: Shape, b: Shape) -> bool:
    """Whether two shapes agree; the batch may be fixed to different numbers."""
    return len(a) == len(b) and all(
        x == y or isinstance(x, str) or isinstance(y, str)
        for x, y in zip(a[1:], b[1:], strict=True)
    )


def _listed(shapes: Mapping[str, Shape]) -> str:
    return ", ".join(f"'{name}' ({shape_text(shape)})" for name, shape in shapes.items()) or "none"


class Meter:
    """The largest difference of one output over the batches so far."""

    def __init__(self) -> None:
        self.absolute = 0.0
        self.peak = 0.0
        self.sample = 0
        self.index: tuple[int, ...] = ()

    def add(self, name: str, a: np.ndarray, b: np.ndarray, start: int, size: int) -> None:
        """Add one batch of `size` samples, the first of which has the number `start`.

        Raises:
            VerificationError: the arrays have different shapes.
        """
        if a.shape != b.shape:
            raise VerificationError(
                f"output '{name}' is {shape_text(a.shape)} in the one network, but "
                f"{shape_text(b.shape)} in the other"
            )
        if not a.size:
            return
        a, b = np.atleast_1d(a), np.atleast_1d(b)
        distance = _distance(a, b)
        self.peak = max(self.peak, _peak(a))
        place = np.unravel_index(int(distance.argmax()), distance.shape)
        largest = float(distance[place])
        if largest > self.absolute:
            self.absolute = largest
            index = tuple(int(i) for i in place)
            by_sample = a.shape[0] == size
            self.sample = start + (index[0] if by_sample else 0)
            self.index = index[1:] if by_sample else index

    def result(self, a: str, b: str, shape: Shape) -> Difference:
        """Return the largest difference of the output that the networks call `a` and `b`."""
        relative = self.absolute / self.peak if self.peak else (np.inf if self.absolute else 0.0)
        return Difference(
            a=a,
            b=b,
            shape=shape,
            absolute=self.absolute,
            relative=float(relative),
            peak=self.peak,
            sample=self.sample,
            index=self.index,
        )


def _peak(a: np.ndarray) -> float:
    """Return max|a| of the finite values; 0 without any."""
    largest = max(abs(float(a.max())), abs(float(a.min())))
    if np.isfinite(largest):
        return largest
    return float(np.abs(a[np.isfinite(a)]).max(initial=0.0))


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return |a − b| in double precision: 0 for NaN and NaN, and for an infinity and itself.

    Any other difference of NaN or infinity is infinite.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        distance: np.ndarray = np.subtract(a, b, dtype=np.float64)
        np.abs(distance, out=distance)
    if np.isfinite(distance.max()):
        return distance  # all numbers are finite
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    distance[~np.isfinite(distance)] = np.inf
    distance[same] = 0.0
    return distance
