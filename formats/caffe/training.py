"""What a net says about training it: its losses, factors of its blobs, its normalisations.

Source: net.cpp `Init`, `AppendParam`, layer.hpp `SetLossWeights` (BVLC 9b89154).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ...core.errors import FormatError, located
from ...core.ir.network import BlobRef, Network, blob_refs, layer_of
from ...core.ir.rebuild import node_key
from ...core.training.losses.total import TotalLoss
from ...core.training.recipe import Objective, Recipe, Rule, Statistics
from .document import Message
from .fields import read_float
from .layer import Layer
from .layers.batch_norm import BatchNorm
from .solver import SolverFile
from .source import CaffeSource, SourceLayer

__all__ = ["recipe"]


def recipe(network: Network, solver: SolverFile | None = None) -> Recipe:
    """Return what the files of a network say about training it.

    Args:
        network: read from Caffe's files with `training=True`, or made from such a one.
        solver: the solver file, if there is one.

    Raises:
        FormatError: fields contradict each other; names the place.
        UnsupportedError: the solver's type or policy is unknown.
    """
    source = network.source
    assert isinstance(source, CaffeSource), "not a network of this format"
    if not source.part.options.training:
        raise FormatError("the network was read for inference: its dropouts are not in the graph")
    with located(file=str(source.paths[".prototxt"])):
        objectives = tuple(_objectives(source))
        rules = tuple(_rules(network, source))
        statistics = _statistics(network, source)
    return Recipe(
        objectives=objectives,
        rules=rules,
        frozen=frozenset(rule.name for rule in rules if rule.rate == 0),
        statistics=statistics,
        settings=solver.settings() if solver is not None else None,
        notes=tuple(_notes(source)),
    )


def _objectives(source: CaffeSource) -> Iterator[Objective]:
    """Yield the losses, and other tops that the net gives a weight."""
    for own in source.layers:
        with located(line=own.text.line, item=own.text.item):
            weights = [_number(text) for text in own.text.message.texts("loss_weight")]
            if len(weights) > max(len(own.layer.tops), 1):
                raise FormatError(f"{len(weights)} loss_weight for {len(own.layer.tops)} tops")
            loss = own.layer.loss(source.part.folder)
            if loss is not None:
                weight = weights[0] if weights else 1.0
                if weight:
                    name = own.layer.tops[0] if own.layer.tops else own.layer.name
                    yield Objective(name=name, loss=loss, reads=_reads(own), weight=weight)
                continue
            for top, value, weight in zip(own.layer.tops, own.tops, weights, strict=False):
                if weight:
                    yield Objective(
                        name=top, loss=TotalLoss(), reads=(value or top,), weight=weight
                    )


def _reads(own: SourceLayer) -> tuple[str, ...]:
    """Return the values that a layer reads; what a data layer makes has the name of its blob."""
    return tuple(value or blob for value, blob in zip(own.bottoms, own.layer.bottoms, strict=True))


def _rules(network: Network, source: CaffeSource) -> Iterator[Rule]:
    """Yield a rule for each learnable blob, in the order of the net; a shared one comes once."""
    names = _initializers(network)
    shapes = source.blob_shapes(network)
    given: dict[str, list[tuple[str | None, str | None]]] = {}
    for index, own in enumerate(source.layers):
        for position, blob in enumerate(own.layer.stored()):
            name = names.get(BlobRef(index, position, blob.name))
            if name is not None:
                given.setdefault(name, []).append(_factors(own, position))
    for index, own in enumerate(source.layers):
        for position, blob in enumerate(own.layer.stored()):
            name = names.get(BlobRef(index, position, blob.name))
            if name is None or name not in given:
                continue
            with located(line=own.text.line, item=own.text.item):
                factors = given.pop(name)
                rate = _agreed("lr_mult", [factor for factor, _ in factors])
                decay = _agreed("decay_mult", [factor for _, factor in factors])
                if isinstance(own.layer, BatchNorm) and blob.name in STATISTICS:
                    if rate not in (None, 0.0):
                        raise FormatError("statistics are no parameters: their lr_mult must be 0")
                    rate = 0.0
            rate = 1.0 if rate is None else rate
            decay = 1.0 if decay is None else decay
            yield Rule(name=name, rate=rate, decay=decay, shape=shapes[index][blob.name])


STATISTICS = ("mean", "variance", "factor")
"""Blobs of BatchNorm that no gradient changes."""


def _factors(own: SourceLayer, position: int) -> tuple[str | None, str | None]:
    """Return lr_mult and decay_mult of a blob as written; None where the net does not say."""
    message = own.text.message
    if own.text.version == 2:
        params = message.messages("param")
        if position >= len(params):
            return None, None
        return _first(params[position], "lr_mult"), _first(params[position], "decay_mult")
    rates, decays = message.texts("blobs_lr"), message.texts("weight_decay")
    return (
        rates[position] if position < len(rates) else None,
        decays[position] if position < len(decays) else None,
    )


def _first(message: Message, name: str) -> str | None:
    return next(iter(message.texts(name)), None)


def _agreed(field: str, written: list[str | None]) -> float | None:
    """Return the factor of a blob that several layers share; None where none gives one.

    Raises:
        FormatError: they give different ones.
    """
    numbers = {_number(text) for text in written if text is not None}
    if len(numbers) > 1:
        raise FormatError(f"layers that share a blob give it different {field}")
    return numbers.pop() if numbers else None


def _number(text: str) -> float:
    return read_float(text)


def _initializers(network: Network) -> dict[BlobRef, str]:
    """Return blob of the file → initializer that holds it."""
    return {
        ref: name for name, value in network.graph.initializers.items() for ref in blob_refs(value)
    }


def _statistics(network: Network, source: CaffeSource) -> Mapping[str, Statistics]:
    """Return node key → behaviour of each batch normalisation."""
    names = _initializers(network)
    found = {}
    for node in network.graph:
        index = layer_of(node)
        if node.op_type != "BatchNormalization" or index is None:
            continue
        layer: Layer = source.layers[index].layer
        rule = layer.rolling()
        if rule is None:
            continue
        if rule.factor:
            position = [blob.name for blob in layer.stored()].index(rule.factor)
            rule = replace(rule, factor=names[BlobRef(index, position, rule.factor)])
        found[node_key(node)] = rule
    return found


def _notes(source: CaffeSource) -> Iterator[str]:
    for own in source.layers:
        if "false" in own.text.message.texts("propagate_down"):
            yield f"{own.text.item}: propagate_down is not followed; gradients pass"
