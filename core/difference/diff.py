"""What differs between two networks, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..cost.describe import Description, describe
from ..ir.network import BlobRef, Network
from .pairing import Pair, pairs_of
from .statement import HEAD, changed_lines, statements
from .weights import WeightChange, blobs_of, weight_change

__all__ = ["LayerDifference", "NetworkDifference", "diff"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSide:
    """A layer in one of the networks.

    Args:
        name: its name in the file.
        type: its type in the file.
        shape: of its first top; None without one.
        operations: of one sample.
        parameters: stored numbers.
    """

    name: str
    type: str
    shape: tuple[int | str, ...] | None
    operations: int
    parameters: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerDifference:
    """A layer in both networks.

    Args:
        before: in the first network; None where it is new.
        after: in the second network; None where it is gone.
        gone: lines of the text, or attributes, that only the first one has.
        new: those that only the second one has.
        weights: the stored parameters.
    """

    before: LayerSide | None
    after: LayerSide | None
    gone: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    weights: tuple[WeightChange, ...] = ()

    @property
    def name(self) -> str:
        """What it is called; both names where it was renamed."""
        names = [side.name for side in (self.before, self.after) if side is not None]
        return " → ".join(dict.fromkeys(names))

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return (
            self.before == self.after
            and not self.gone
            and not self.new
            and all(weight.same for weight in self.weights)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkDifference:
    """Two networks.

    Args:
        before: name of the first one.
        after: name of the second one.
        layers: side by side, in their order.
        gone: lines that only the first one has before its first layer.
        new: likewise of the second one.
        operations: of one sample, of both.
        parameters: stored numbers, of both.
        texts: whether both come with a text of one format, whose lines were compared.
    """

    before: str
    after: str
    layers: tuple[LayerDifference, ...]
    gone: tuple[str, ...]
    new: tuple[str, ...]
    operations: tuple[int, int]
    parameters: tuple[int, int]
    texts: bool

    @property
    def changed(self) -> tuple[LayerDifference, ...]:
        """The layers that differ."""
        return tuple(layer for layer in self.layers if not layer.same)

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.changed and not self.gone and not self.new

    def to_data(self) -> dict[str, Any]:
        """Return plain values for JSON, which has no infinity: it is null."""
        data: dict[str, Any] = {"same": self.same, **asdict(self)}
        for layer, own in zip(self.layers, data["layers"], strict=True):
            own["same"] = layer.same
        found: dict[str, Any] = _finite(data)
        return found


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def diff(a: Network, b: Network) -> NetworkDifference:
    """Return what differs between two networks: texts, sizes, numbers of the stored parameters.

    Nothing is run; :func:`~..verify.compare.compare` tells how far outputs are apart.

    Args:
        a: the first one.
        b: the second one; it may be of another format.
    """
    told = describe(a), describe(b)
    said = [statements(network) for network in (a, b)]
    texts = all(HEAD in lines for lines in said)
    if told[0].format != told[1].format or len({HEAD in lines for lines in said}) > 1:
        texts, said = False, [{}, {}]  # formats say the same in other words
    stored = blobs_of(a), blobs_of(b)
    gone, new = changed_lines(*(lines.get(HEAD, ()) for lines in said))
    return NetworkDifference(
        before=a.name, after=b.name,
        layers=tuple(
            _layer(pair, told, said, stored) for pair in pairs_of(a.layers, b.layers)
        ),
        gone=gone, new=new,
        operations=(told[0].cost.operations, told[1].cost.operations),
        parameters=(told[0].cost.parameters, told[1].cost.parameters), texts=texts,
    )  # fmt: skip


def _layer(
    pair: Pair,
    told: tuple[Description, Description],
    said: Sequence[Mapping[int, Sequence[str]]],
    stored: Sequence[Mapping[int, Mapping[BlobRef, np.ndarray]]],
) -> LayerDifference:
    before, after = (
        _side(one, place) if place is not None else None
        for one, place in zip(told, pair, strict=True)
    )
    lines = [
        one.get(place, ()) if place is not None else ()
        for one, place in zip(said, pair, strict=True)
    ]
    arrays = [
        one.get(place, {}) if place is not None else {}
        for one, place in zip(stored, pair, strict=True)
    ]
    gone, new = changed_lines(*lines)
    return LayerDifference(
        before=before, after=after, gone=gone, new=new, weights=tuple(_weights(*arrays))
    )


def _side(told: Description, place: int) -> LayerSide:
    row = told.layers[place]
    return LayerSide(
        name=row.name, type=row.type, shape=row.shape, operations=row.operations,
        parameters=row.parameters,
    )  # fmt: skip


def _weights(
    before: Mapping[BlobRef, np.ndarray], after: Mapping[BlobRef, np.ndarray]
) -> Iterator[WeightChange]:
    """Yield the stored parameters of a layer; those of the same place in the file are partners."""
    mine, its = ({ref.index: (ref.name, array) for ref, array in one.items()} for one in (
        before, after))  # fmt: skip
    for index in sorted({*mine, *its}):
        (name, _) = mine.get(index) or its[index]
        a, b = (one[index][1] if index in one else None for one in (mine, its))
        yield weight_change(name, a, b)
