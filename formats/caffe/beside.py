"""How images become inputs by another text than the net's own: a train_val beside a deploy file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ...core.errors import FormatError, SecateurError, located
from ...core.ir.network import Network, Preprocess
from .companions import check_alike
from .document import read_document
from .layer_reader import read_layer
from .layers.data import HDF5Data, Transformed
from .source import CaffeSource
from .upgrade import Net, net_of

__all__ = ["stated", "stated_beside"]

MOST_BYTES = 1 << 22
"""Larger files beside a net are not looked at: the text of ResNet-152 has a tenth of that."""

MOST_FILES = 100
"""So many files beside a net are looked at."""


def stated(path: Path, network: Network) -> Preprocess:
    """Return how a net's data layer makes inputs, for a network.

    Args:
        path: the text of a net, a train_val.
        network: the network that the inputs are for.

    Raises:
        FormatError: the file is no net, or has no layer that makes images.
    """
    with located(file=str(path)):
        found = _stated(net_of(read_document(path)), network)
        if found is None:
            raise FormatError(
                "it has no data layer that says how images become inputs",
                hint="give the train_val, or --mean and --scale",
            )
        return replace(found, origin=str(path))


def stated_beside(network: Network) -> Mapping[Path, Preprocess]:
    """Return what other texts in the folder of a net say, if they have all its layers with weights.

    Texts that cannot be read are of no concern: nobody asked for them.
    """
    found: dict[Path, Preprocess] = {}
    if not isinstance(network.source, CaffeSource):
        return found
    for path in _texts(network.source.part.path):
        try:
            net = net_of(read_document(path))
            if not _fits(net, network.source):
                continue
            preprocess = _stated(net, network)
        except SecateurError:
            continue
        if preprocess is not None:
            found[path] = replace(preprocess, origin=str(path))
    return found


def _texts(own: Path) -> Iterator[Path]:
    """Yield the other prototxts in the folder of a file."""
    paths = sorted(path for path in own.parent.glob("*.prototxt") if path.name != own.name)
    for path in paths[:MOST_FILES]:
        if path.is_file() and path.stat().st_size <= MOST_BYTES:
            yield path


def _fits(net: Net, source: CaffeSource) -> bool:
    """Whether a net has all layers with weights of another, by name, type and size.

    Raises:
        FormatError: one of them is of another type or size.
    """
    wanted = {own.text.name for own in source.layers if own.layer.stored()}
    check_alike(source, net.layers)
    return bool(wanted) and wanted <= {text.name for text in net.layers}


def _stated(net: Net, network: Network) -> Preprocess | None:
    """Return what the first layer says that makes images, in phase TEST if there is one."""
    for phase in ("TEST", "TRAIN"):
        for text in net.active(phase, (), 0)[0]:
            layer = read_layer(text)
            if not isinstance(layer, Transformed) or isinstance(layer, HDF5Data):
                continue
            found = layer.preprocess()
            if found is not None:
                return _for_network(found, layer.crop_size, network)
    return None


def _for_network(found: Preprocess, crop: int, network: Network) -> Preprocess:
    """Return preprocessing for the input of a network: a crop of another size is left out."""
    shape = next((shape for shape in network.inputs.values() if len(shape) == 4), None)
    if shape is None:
        return found
    if crop and tuple(shape[2:]) != (crop, crop):
        found = replace(found, crop=False, resize=())
    return replace(found, channels="gray") if shape[1] == 1 else found
