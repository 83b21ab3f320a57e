"""What is read as one net: the layers of a document that one phase has, or some of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import FormatError, located
from .caffemodel import Caffemodel
from .document import Document, read_document
from .upgrade import LayerText, Net, net_of

__all__ = ["Options", "Part", "part_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The settings with which a net was read."""

    phase: str = "TEST"
    stages: tuple[str, ...] = ()
    level: int = 0
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    batch_norm: str = "auto"
    opaque: tuple[str, ...] = ()
    training: bool = False
    untrained: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Layers that are read as one net.

    Args:
        document: the text.
        path: its file, for messages.
        net: all layers of the document.
        chosen: the layers to be read.
        weights: the caffemodel.
        options: the settings of the reading.
        folder: folder with the files that the net names.
        name: of the network; "" for the name in the document.
        companion: whether it is read beside another net. Layers that the caffemodel does not hold
            are then read as zeros: they are still to be trained.
        like: (C, H, W) of data layers whose shape the text does not state; () for none.
        outputs: tops that may become outputs; None for all that no layer reads.
        target: the file of the text, to be written with the changes; None where it is no file.
    """

    document: Document
    path: Path
    net: Net
    chosen: tuple[LayerText, ...]
    weights: Caffemodel
    options: Options
    folder: Path
    name: str = ""
    companion: bool = False
    like: tuple[int, ...] = ()
    outputs: frozenset[str] | None = None
    target: Path | None = None

    @property
    def others(self) -> tuple[LayerText, ...]:
        """The layers of the document that are not read."""
        chosen = {id(text) for text in self.chosen}
        return tuple(text for text in self.net.layers if id(text) not in chosen)


def part_of(
    prototxt: Path,
    weights: Caffemodel,
    options: Options,
    folder: Path,
    image: tuple[int, ...] = (),
) -> Part:
    """Return all layers of a text that one phase has.

    Raises:
        FormatError: the text is broken, or has no layer in the phase.
    """
    document = read_document(prototxt)
    with located(file=str(prototxt)):
        net = net_of(document)
        chosen, _ = net.active(options.phase, options.stages, options.level)
        if not chosen:
            raise FormatError(f"no layer is left in phase {options.phase}")
    return Part(
        document=document, path=prototxt, net=net, chosen=chosen, weights=weights,
        options=options, folder=folder, target=prototxt, like=image,
    )  # fmt: skip
