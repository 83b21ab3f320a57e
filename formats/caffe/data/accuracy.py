"""The `Accuracy` layers of a net: their scores, and their k of the top-k accuracy; and whether a
`DetectionEvaluate` layer measures a detector.
"""

from __future__ import annotations

from ....core.errors import DataError
from ....core.evaluation.tasks.classification import Classification
from ....core.ir.network import Network
from ....core.ir.rebuild import expose
from ..layers.accuracy import Accuracy
from ..source import CaffeSource

__all__ = ["measures_boxes", "named_accuracy"]

BOXES = "DetectionEvaluate"


def named_accuracy(network: Network, top: str) -> tuple[Network, Classification]:
    """Return the measurement that an `Accuracy` layer describes.

    Args:
        network: the network as it was read from its files.
        top: the layer's first top, or its name.

    Returns:
        the network with the scores among its outputs; and the task: whether the label is the best
        score, or among as many of the best as the layer says.

    Raises:
        DataError: there is no such layer.
    """
    source = network.source
    found = {}
    if isinstance(source, CaffeSource):
        for entry, info in zip(source.layers, network.layers, strict=True):
            if isinstance(entry.layer, Accuracy) and info.bottoms:
                for name in (entry.layer.name, entry.layer.tops[0]):
                    found[name] = (info.bottoms[0], entry.layer.top_k)
    if top not in found:
        known = ", ".join(found) or "none: use the train_val prototxt"
        raise DataError(f"network '{network.name}' has no Accuracy '{top}'", hint=f"it has {known}")
    scores, best = found[top]
    for output in network.graph.outputs:
        if output.name == scores:
            return network, Classification(scores, (best,))
    maker = next(info.name for info in reversed(network.layers) if info.tops[:1] == (scores,))
    return expose(network, [maker]), Classification(f"layer:{maker}", (best,))


def measures_boxes(network: Network, top: str) -> bool:
    """Whether a layer of the net measures the boxes of a detector (SSD fork).

    Args:
        network: the network as it was read from its files.
        top: the layer's first top, or its name.
    """
    source = network.source
    return isinstance(source, CaffeSource) and any(
        entry.layer.type == BOXES and top in (entry.layer.name, *entry.layer.tops[:1])
        for entry in source.layers
    )
