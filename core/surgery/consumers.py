"""Operators that read channels: what a channel costs there, and what makes up for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..channels.groups import Groups
from ..ir.network import Network
from .gram import FLOOR, Gram, Sampled, limited
from .operators import Array, Operator
from .ridge import HALF, RIDGE, best_ridge

__all__ = ["Consumer", "Wide", "find_consumers", "readers"]

EACH = 3
"""One of so many classes that an operator reads leaves it on trial, to find its ridge."""

MOST = 10.0
"""Losses count at most so many times what they seem: a ratio of energies near nothing says little.
Measured ones lie between 1 and 2.5."""


@dataclass(slots=True)
class Consumer:
    """One group of one operator while channels leave it. Columns are inputs · taps."""

    operator: Operator
    weight: Array
    inverse: Array
    scale: float
    rows: npt.NDArray[np.int64]
    """Class of each output."""
    places: dict[int, npt.NDArray[np.int64]]
    """Class → its columns, for classes that may go and are still there."""

    def losses(self) -> tuple[npt.NDArray[np.int64], Array]:
        """Return the classes read here and what the removal of each would cost now."""
        classes = np.array(list(self.places), dtype=np.int64)
        return classes, _losses(self.weight, self.inverse, self.places) * self.scale

    def remove(self, channel: int) -> None:
        """Take a class out of the inputs and let the other columns make up for it."""
        columns = self.places.pop(channel)
        block = self.inverse[np.ix_(columns, columns)]
        across = np.linalg.solve(block, self.inverse[columns])
        self.weight -= self.weight[:, columns] @ across
        self.inverse -= self.inverse[:, columns] @ across
        self.weight[:, columns] = 0.0
        # What rounding leaves behind must not count as a direction that is still there.
        self.inverse[columns] = 0.0
        self.inverse[:, columns] = 0.0

    def drop_outputs(self, channel: int) -> None:
        """Forget outputs that are gone: what happens to them costs nothing."""
        self.weight[self.rows == channel] = 0.0


@dataclass(slots=True)
class Wide:
    """One group of an operator with very many columns: nothing compensates in it.

    What a class costs is then E‖W_c x_c‖², for each output on its own, and never changes but by
    outputs that leave. The refit makes up for it afterwards.
    """

    operator: Operator
    weight: Array
    scale: float
    rows: npt.NDArray[np.int64]
    places: dict[int, npt.NDArray[np.int64]]
    costs: Array
    """What the removal of each of `known` costs each output, [classes, outputs]."""
    known: npt.NDArray[np.int64]
    """Classes that may go, also those that are gone."""

    def losses(self) -> tuple[npt.NDArray[np.int64], Array]:
        """Return the classes read here and what the removal of each would cost now."""
        found: Array = self.costs.sum(axis=1) * self.scale
        return self.known, found

    def remove(self, channel: int) -> None:
        """Take a class out of the inputs."""
        self.weight[:, self.places.pop(channel)] = 0.0
        self.costs[self.known == channel] = 0.0

    def drop_outputs(self, channel: int) -> None:
        """Forget outputs that are gone: what happens to them costs nothing."""
        gone = self.rows == channel
        self.weight[gone] = 0.0
        self.costs[:, gone] = 0.0


def readers(
    network: Network,
    groups: Groups,
    operators: Sequence[Operator],
    removed: npt.NDArray[np.bool_],
) -> list[Operator]:
    """Return the operators whose error is a matter of which channels leave.

    That is all but depthwise ones, which pass channels on, and those that read nothing prunable.
    """
    removable = _removable(groups, removed)
    found = []
    for operator in operators:
        labels = _labels(network, groups, operator)
        if labels is not None and not removable.isdisjoint(np.unique(labels[2]).tolist()):
            found.append(operator)
    return found


def find_consumers(
    network: Network,
    groups: Groups,
    operators: Sequence[Operator],
    grams: Mapping[str, Gram | Sampled],
    weights: Mapping[str, float],
    removed: npt.NDArray[np.bool_],
) -> list[Consumer | Wide]:
    """Return the operators that read channels, one a group of each.

    Args:
        network: the network, with zeros in place of what is gone already.
        groups: its groups.
        operators: its multiplying nodes.
        grams: moments of what each operator reads, by its key.
        weights: how much a relative error of each operator's output counts, by its key; those that
            :func:`readers` leaves out are not needed.
        removed: mask over classes that left before.
    """
    removable = _removable(groups, removed)
    found: list[Consumer | Wide] = []
    for operator in operators:
        labels = _labels(network, groups, operator)
        if labels is None:
            continue
        stored, out, into = labels
        matrices = operator.matrix(stored)
        matrices = np.where(removed[out] | removed[into], np.float32(0.0), matrices)
        gram = grams[operator.key]
        energy = _energy(matrices, gram)
        scale = weights.get(operator.key, 0.0) / energy if energy > 0 else 0.0
        for part, weight in enumerate(matrices):
            columns = into[part][0]
            places = {
                channel: np.flatnonzero(columns == channel)
                for channel in np.unique(columns).tolist()
                if channel in removable
            }
            rows = out[part][:, 0]
            if isinstance(gram, Sampled):
                found.append(_wide(operator, gram, part, weight, scale, rows, places))
            else:
                left = ~removed[columns]
                found.append(_narrow(operator, gram, part, weight, scale, rows, places, left))
    return found


def _removable(groups: Groups, removed: npt.NDArray[np.bool_]) -> set[int]:
    return {
        group.channels[place]
        for group in groups.groups
        for bank in group.banks
        for cell in bank
        for place in cell
        if not removed[group.channels[place]]
    }


def _labels(
    network: Network, groups: Groups, operator: Operator
) -> tuple[Array, npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """Return a stored weight and the classes of its outputs and inputs; None of depthwise ones."""
    uses = {use.parameter: use.labels for use in groups.uses}
    labels = uses.get(operator.weight, ())
    if len(labels) < 2:
        return None
    tensor = network.graph.initializers[operator.weight].const_value
    assert tensor is not None
    stored = tensor.numpy()
    out, into = (
        operator.matrix(np.broadcast_to(groups.classes[array], stored.shape)) for array in labels
    )
    return stored, out, into


def _wide(
    operator: Operator,
    gram: Sampled,
    part: int,
    weight: Array,
    scale: float,
    rows: npt.NDArray[np.int64],
    places: dict[int, npt.NDArray[np.int64]],
) -> Wide:
    ridge = float(gram.ridge(RIDGE)[part])
    return Wide(
        operator=operator,
        weight=weight.copy(),
        scale=scale,
        rows=rows,
        places=places,
        costs=_costs(weight, gram.rows[part], ridge, places),
        known=np.array(list(places), dtype=np.int64),
    )


def _narrow(
    operator: Operator,
    gram: Gram,
    part: int,
    weight: Array,
    scale: float,
    rows: npt.NDArray[np.int64],
    places: dict[int, npt.NDArray[np.int64]],
    left: npt.NDArray[np.bool_],
) -> Consumer:
    ridge, honesty = _trusted(gram, part, weight, places, left)
    return Consumer(
        operator=operator,
        weight=weight.astype(np.float64),
        inverse=_inverse(gram.covariance[part], float(gram.ridge(ridge)[part]), left),
        scale=scale * honesty,
        rows=rows,
        places=places,
    )


def _trusted(
    gram: Gram,
    part: int,
    weight: Array,
    places: dict[int, npt.NDArray[np.int64]],
    left: npt.NDArray[np.bool_],
) -> tuple[float, float]:
    """Return the ridge, and how many times larger losses are on other samples than they seem.

    Classes cheap and dear, one of :data:`EACH`, are taken out by what the even samples say. What
    the output then lacks is V x with V = W_c (H⁻¹_cc)⁻¹ H⁻¹_c,:, and its energy tr(V C Vᵀ), with C
    of the even or of the odd samples.
    """
    if len(gram.halves) < 2 or not places:
        return RIDGE, 1.0
    seen, unseen = (half[part].astype(np.float64) for half in gram.halves)
    variance = np.trace(seen) / len(seen)
    chosen: list[npt.NDArray[np.int64]] = []
    missing: dict[float, Array] = {}

    def error(ridge: float) -> float:
        inverse = _inverse(seen, float(limited(variance, gram.power[part], ridge)), left)
        if not chosen:
            order = np.argsort(_losses(weight, inverse, places), kind="stable")
            known = list(places.values())
            chosen.append(np.concatenate([known[k] for k in order[len(order) > 1 :: EACH]]))
        columns = chosen[0]
        block = inverse[np.ix_(columns, columns)]
        lacking = np.linalg.solve(block, weight[:, columns].T).T @ inverse[columns]
        missing[ridge] = lacking
        return _energy_of(lacking, unseen)

    best = best_ridge(error, len(seen))
    lacking = missing[best]
    seeming = _energy_of(lacking, seen)
    factor = _energy_of(lacking, unseen) / seeming if seeming > 0 else 1.0
    return best * HALF, min(max(factor, 1.0), MOST)


def _energy_of(weight: Array, covariance: Array) -> float:
    return float(((weight @ covariance) * weight).sum())


def _inverse(covariance: Array, ridge: float, left: npt.NDArray[np.bool_]) -> Array:
    """Return (C + ridge)⁻¹ over the columns that are left, zeros elsewhere."""
    if left.all():
        found: Array = np.linalg.inv(covariance + ridge * np.eye(len(left), dtype=covariance.dtype))
        return found
    inverse = np.zeros_like(covariance)
    here = np.ix_(left, left)
    inverse[here] = np.linalg.inv(
        covariance[here] + ridge * np.eye(int(left.sum()), dtype=covariance.dtype)
    )
    return inverse


def _losses(weight: Array, inverse: Array, places: Mapping[int, npt.NDArray[np.int64]]) -> Array:
    """Return what the removal of each class costs, in the order of `places`."""
    found = np.zeros(len(places))
    known = list(places.values())
    sizes = np.array([len(columns) for columns in known])
    for size in np.unique(sizes).tolist():
        chosen = np.flatnonzero(sizes == size)
        index = np.stack([known[place] for place in chosen])
        if size == 1:
            single = index[:, 0]
            energy = np.einsum("oc,oc->c", weight, weight)[single]
            found[chosen] = energy / np.diag(inverse)[single]
            continue
        blocks = inverse[index[:, :, None], index[:, None, :]]
        own = weight[:, index].transpose(1, 0, 2)
        solved = np.linalg.solve(blocks, own.transpose(0, 2, 1))
        found[chosen] = np.einsum("nob,nbo->n", own, solved)
    return found


def _energy(matrices: Array, gram: Gram | Sampled) -> float:
    """Return E‖W x‖² around the mean, with a floor where the data saturates the operator."""
    floor = FLOOR * float(
        (np.square(matrices).sum(axis=(1, 2), dtype=np.float64) * gram.power).sum()
    )
    if isinstance(gram, Gram):
        wider = matrices.astype(np.float64)
        return float(((wider @ gram.covariance) * wider).sum()) + floor
    made = gram.rows @ matrices.transpose(0, 2, 1)
    return float(np.square(made).sum(dtype=np.float64) / gram.rows.shape[1]) + floor


def _costs(
    weight: Array, rows: Array, ridge: float, places: Mapping[int, npt.NDArray[np.int64]]
) -> Array:
    """Return what the removal of each class costs each output, [classes, outputs]."""
    found = np.zeros((len(places), len(weight)))
    for number, columns in enumerate(places.values()):
        own = weight[:, columns]
        found[number] = np.square(rows[:, columns] @ own.T).mean(axis=0, dtype=np.float64)
        found[number] += ridge * np.square(own).sum(axis=1, dtype=np.float64)
    return found
