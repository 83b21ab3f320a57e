"""Measurements that a format's own files name."""

from __future__ import annotations

from ..core.errors import DataError
from ..core.evaluation.task import Task
from ..core.ir.network import Network
from ..formats.registry import FORMATS

__all__ = ["named_accuracy"]


def named_accuracy(network: Network, top: str) -> tuple[Network, Task]:
    """Return the measurement that an `Accuracy` layer in the files describes.

    Args:
        network: the network as it was read from its files.
        top: the layer's first top, or its name.

    Returns:
        the network to measure, and the task.

    Raises:
        DataError: there is no such layer.
    """
    own = network.source.format if network.source is not None else ""
    find = FORMATS[own].named_accuracy if own in FORMATS else None
    if find is None:
        raise DataError(
            f"network '{network.name}' has no Accuracy '{top}'",
            hint="its files name no measurements",
        )
    return find(network, top)
