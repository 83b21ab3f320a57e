"""First-order Taylor expansion of a normalisation's factor and shift: Molchanov et al., Importance
Estimation for Neural Network Pruning, CVPR 2019, code.

score(channel) = (γ · ∂L/∂γ + β · ∂L/∂β)², the mean over minibatches. In that code the part of β is
normally missing; here it is there. A channel whose layer has no factors has those of a
normalisation that does nothing, which is its gate. Together, factor and shift scale all that the
layer makes, so that the scores are those of `taylor`, up to rounding: this one asks the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from ..ir.network import shape_of
from ..training.framework import torch
from .gates import Place, find_places, per_place
from .gradients import Differentiated, Step, by_gradients
from .registry import ScoreContext, Scores

if TYPE_CHECKING:
    from torch import Tensor


@by_gradients(
    "bn-taylor",
    summary="squared first-order loss change by a normalisation's factor and shift",
    source="Molchanov et al., CVPR 2019, code",
)
def bn_taylor(context: ScoreContext) -> Scores:
    """Return the mean squared first-order change of each unit's factors and shifts.

    Raises:
        DataError: the data is broken or does not fit the network.
        UnsupportedError: PyTorch is not installed, or an operator has no gradient here.
    """
    found = {
        place.value: last_affine(place) for place in find_places(context.network, context.groups)
    }
    # A number that is read elsewhere, too (by another layer, or as a mean) has another gradient.
    stored = context.network.graph.initializers
    asked = {
        value: names if all(len(list(stored[name].uses())) == 1 for name in names) else ()
        for value, names in found.items()
    }
    own = Differentiated.of(context, parameters=[name for each in asked.values() for name in each])
    asked = {place.value: asked[place.value] for place in own.places}
    plain = tuple(name for name, asks in asked.items() if not asks)

    def measure(step: Step) -> Tensor:
        return _changes(own, step, asked, context.groups.unit_count).square()

    return per_place(context.groups, own.places, own.mean(measure, plain))


def last_affine(place: Place) -> tuple[str, ...]:
    """Return the last factor of each channel of a place and the shifts behind it; none without one.

    Factors that are one number for all channels are none.
    """
    found: list[str] = []
    for node in reversed(place.nodes[1:]):
        value = node.outputs[0]
        stored = _stored(node, place, 2 if node.op_type == "BatchNormalization" else 1)
        if stored is None:
            return ()
        found += stored
        if node.op_type in ("Mul", "BatchNormalization"):
            assert value is not None
            return tuple(found)
    return ()


def _stored(node: ir.Node, place: Place, most: int) -> Sequence[str] | None:
    """Return the factor and the shift of a node; None where they are not one for each channel."""
    inputs = [value for value in node.inputs if value is not None and value.const_value is not None]
    chosen = inputs[:most] if node.op_type in ("BatchNormalization", "Mul", "Add", "Sub") else []
    for value in chosen:
        sizes = [size for size in shape_of(value) if size != 1]
        if sizes != [len(place.units)] and len(place.units) > 1:
            return None
    return [str(value.name) for value in chosen]


def _changes(
    own: Differentiated, step: Step, asked: Mapping[str, Sequence[str]], units: int
) -> Tensor:
    """Return γ · ∂L/∂γ + β · ∂L/∂β of each unit, over all its places [units]."""
    total = torch.zeros(units, dtype=torch.float64)
    tensors = {
        (place.value, name): own.module.tensor(name) if asked[place.value] else step.values[name]
        for place in own.places
        for name in asked[place.value] or (place.value,)
    }
    by_value = {place.value: place for place in own.places}
    gradients = step.of(list(tensors.values()))
    for ((value, _), tensor), gradient in zip(tensors.items(), gradients, strict=True):
        place = by_value[value]
        products = (tensor * gradient).detach().double()
        if asked[value]:
            products = products.reshape(-1)
        else:
            products = products.sum(dim=[k for k in range(tensor.dim()) if k != place.axis])
        total.index_add_(0, torch.from_numpy(place.units), products)
    return total
