"""What the outputs of a network mean: the scores of classes, boxes, maps, plain values."""

from __future__ import annotations

from ..errors import DataError
from .dims import shape_text
from .network import Head, Network

__all__ = [
    "BOX_KINDS",
    "CLASSIFIER",
    "box_heads",
    "check_detector",
    "classes_of",
    "classifier_output",
    "is_vector",
    "no_head",
]

CLASSIFIER = "classifier"
"""The kind of :class:`Head` that says which output holds the scores of the classes."""

BOX_KINDS = ("anchors", "uncertain anchors", "region", "detection", "priors")
"""Kinds of heads that find boxes."""


def classifier_output(network: Network) -> str:
    """Return the output with the scores of the classes: that of a classifier head, else the last.

    Raises:
        DataError: that output is no vector of classes.
    """
    heads = [head.output for head in network.heads if head.kind == CLASSIFIER]
    known = [name for name in heads if name in network.outputs]
    name = (known or list(network.outputs))[-1]
    if not is_vector(network.outputs[name]):
        raise DataError(
            f"output '{name}' ({shape_text(network.outputs[name])}) of network '{network.name}' "
            "is no vector of classes",
            hint="labels can only be used with a classifier",
        )
    return name


def classes_of(network: Network) -> int:
    """Return how many classes a classifier tells apart; 0 where the network is none."""
    try:
        shape = network.outputs[classifier_output(network)]
    except DataError:
        return 0
    return max(size for size in shape[1:] if isinstance(size, int))


def is_vector(shape: tuple[int | str, ...]) -> bool:
    """Whether an output holds one vector of several values a sample: N×C, N×C×1×1."""
    sizes = [size for size in shape[1:] if size != 1]
    return len(sizes) == 1 and isinstance(sizes[0], int)


def box_heads(network: Network) -> tuple[Head, ...]:
    """Return the heads of a network that find boxes."""
    return tuple(head for head in network.heads if head.kind in BOX_KINDS)


def check_detector(network: Network) -> None:
    """Raise where a network has no head that finds boxes.

    Raises:
        DataError: it says what can be done instead.
    """
    if not box_heads(network):
        raise no_head(network)


def no_head(network: Network) -> DataError:
    """Return what to raise where a network should find boxes, but has no head."""
    return DataError(
        f"network '{network.name}' has no head that finds boxes: its files do not say what its "
        "outputs mean",
        hint="without labels, two such models can be compared: secateur valid BEFORE AFTER --data "
        "IMAGES",
    )
