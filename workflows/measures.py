"""Measurements that a format's own files name."""

from __future__ import annotations

from ..core.evaluation.tasks.classification import Classification
from ..core.ir.network import Network

__all__ = ["named_accuracy"]


def named_accuracy(network: Network, top: str) -> tuple[Network, Classification]:
    """Return what to measure for the value of a named `Accuracy` layer.

    Args:
        network: as read from its files.
        top: the layer's first top, or its name.

    Returns:
        the network to measure, and by what.

    Raises:
        DataError: there is no such layer.
    """
    from ..formats.caffe.data.accuracy import named_accuracy as find

    return find(network, top)
