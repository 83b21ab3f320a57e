"""What the outputs of a network mean: the scores of classes, boxes, maps, plain values.

A :class:`Head` describes an output whose meaning the files of a network tell. Where they do not
tell it, the shape of an output decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import DataError
from .dims import shape_text

if TYPE_CHECKING:
    from .network import Network

__all__ = [
    "AnchorHead",
    "BoxHead",
    "CellHead",
    "ClassifierHead",
    "GridHead",
    "Head",
    "PriorHead",
    "RawAnchorHead",
    "RegionHead",
    "box_heads",
    "check_detector",
    "classes_of",
    "classifier_output",
    "image_output",
    "is_classifier",
    "is_vector",
    "map_output",
    "no_head",
    "output_of_size",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """What an output means.

    Args:
        output: its name.
    """

    output: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierHead(Head):
    """The scores of the classes, one vector a sample."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxHead(Head):
    """Boxes with a score for each class.

    Args:
        classes: how many scores a box has.
        confidence_threshold: detections are left out that score not more; None where the files
            do not say.
        nms_threshold: intersection over union above which a box suppresses a worse one of its
            class; None where the files do not say.
        nms_top_k: how many boxes of a class are looked at, the best; -1 for all.
        keep_top_k: how many detections of an image are kept, the best; -1 for all.
        eta: below 1, `nms_threshold` shrinks by it after each box that is kept, while above 0.5.
    """

    classes: int
    confidence_threshold: float | None = None
    nms_threshold: float | None = None
    nms_top_k: int = -1
    keep_top_k: int = -1
    eta: float = 1.0

    @property
    def reads(self) -> tuple[str, ...]:
        """The outputs that boxes are made of."""
        return (self.output,)


@dataclass(frozen=True, kw_only=True, slots=True)
class GridHead(BoxHead):
    """Boxes of anchors in the cells of a grid, N×(anchors × entries)×H×W.

    Args:
        anchors: width and height of each.
    """

    anchors: tuple[tuple[float, float], ...]

    @property
    def entries(self) -> int:
        """How many numbers a box has."""
        return self.objectness + 1 + self.classes

    @property
    def objectness(self) -> int:
        """Which of them says that the box holds something, 0…1."""
        return 4

    @property
    def has_objectness(self) -> bool:
        """Whether a box has such a number at all."""
        return True

    @property
    def channels_last(self) -> bool:
        """Whether the output is N×H×W×(anchors × entries)."""
        return False


@dataclass(frozen=True, kw_only=True, slots=True)
class AnchorHead(GridHead):
    """Anchors in pixels. Entries: x, y, w, h, objectness, classes; x and y have their sigmoids.

    Args:
        anchors: those of all heads of the network, in pixels of its input.
        mask: which of them are those of this head; all where empty.
        width: of the network's input, in pixels.
        height: likewise.
        new_coords: w and h are roots in parts of twice the anchor, not exponents.
        uncertain: each of x, y, w, h has its deviation behind it.
    """

    mask: tuple[int, ...] = ()
    width: int
    height: int
    new_coords: bool = False
    uncertain: bool = False

    @property
    def objectness(self) -> int:
        """Which entry says that the box holds something."""
        return 8 if self.uncertain else 4


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionHead(GridHead):
    """Anchors in cells of the grid. Entries: coordinates, objectness, classes.

    Args:
        coords: coordinates of a box; the first four are x, y, w, h.
        softmax: the scores of a box are probabilities that add up to 1.
        background: the objectness is one more class: that of nothing.
        tree: the parent of each class, -1 where there is none; empty where they form no tree.
        rows_first: boxes come one after another, N×H×W×(anchors × entries).
        xy_sigmoid: x and y do not have their sigmoids yet.
    """

    coords: int = 4
    softmax: bool = False
    background: bool = False
    tree: tuple[int, ...] = ()
    rows_first: bool = False
    xy_sigmoid: bool = False

    @property
    def objectness(self) -> int:
        """Which entry says that the box holds something."""
        return self.coords

    @property
    def has_objectness(self) -> bool:
        """Whether objectness is no class."""
        return not self.background

    @property
    def channels_last(self) -> bool:
        """Whether boxes come one after another."""
        return self.rows_first


@dataclass(frozen=True, kw_only=True, slots=True)
class CellHead(BoxHead):
    """A vector: the classes of all cells, then objectness, then boxes of each cell.

    Args:
        side: cells along each side of the grid.
        num: boxes a cell.
        coords: coordinates of a box; the first four are x, y, w, h.
        sqrt: boxes hold the roots of width and height.
    """

    side: int
    num: int
    coords: int
    sqrt: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PriorHead(BoxHead):
    """Offsets from prior boxes; `output` holds them (N×(priors × 4)).

    Args:
        classes: with the background.
        scores: output with the scores, N×(priors × classes).
        priors: output with the prior boxes and their variances, 1×2×(priors × 4).
        share_location: a box is the same for all classes.
        background: the class of nothing; below 0 for none.
        code_type: "corner", "center_size" or "corner_size".
        variance_encoded: offsets hold the variances already.
    """

    scores: str
    priors: str
    share_location: bool = True
    background: int = 0
    code_type: str = "corner"
    variance_encoded: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        """The outputs that boxes are made of."""
        return self.output, self.scores, self.priors


@dataclass(frozen=True, kw_only=True, slots=True)
class RawAnchorHead(Head):
    """Anchors in pixels without any sigmoid. Nothing decodes them yet, so they find no boxes.

    Args:
        classes: how many scores a box has.
        anchors: as for :class:`AnchorHead`.
        mask: likewise.
        stride: pixels of a cell.
        confidence_threshold: as for :class:`BoxHead`.
        nms_threshold: likewise.
    """

    classes: int
    anchors: tuple[tuple[float, float], ...]
    mask: tuple[int, ...]
    stride: int
    confidence_threshold: float
    nms_threshold: float


def box_heads(network: Network) -> tuple[BoxHead, ...]:
    """Return the heads of a network that find boxes."""
    return tuple(head for head in network.heads if isinstance(head, BoxHead))


def no_head(network: Network) -> DataError:
    """Return what to raise where a network should find boxes, but has no head."""
    return DataError(
        f"network '{network.name}' has no head that finds boxes: its files do not say what its "
        "outputs mean",
        hint="without labels, two such models can be compared: secateur valid BEFORE AFTER --data "
        "IMAGES",
    )


def is_classifier(network: Network) -> bool:
    """Whether the files of a network say that an output is a vector with the scores of classes.

    A softmax over the classes of each pixel is none.
    """
    known = _known_classes(network)
    return bool(known) and is_vector(network.outputs[known[-1]]) and _of_samples(network, known[-1])


def classifier_output(network: Network) -> str:
    """Return the output with the scores of the classes: that of a classifier head, else the last.

    Raises:
        DataError: that output is no vector of classes.
    """
    name = (_known_classes(network) or list(network.outputs))[-1]
    if not is_vector(network.outputs[name]):
        raise DataError(
            f"output '{name}' ({shape_text(network.outputs[name])}) of network '{network.name}' "
            "is no vector of classes",
            hint="labels can only be used with a classifier",
        )
    if not _of_samples(network, name):
        raise DataError(
            f"output '{name}' ({shape_text(network.outputs[name])}) of network '{network.name}' "
            "holds a vector for each of several regions, not one a sample",
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


def map_output(network: Network) -> str:
    """Return the last output with a score for each class and pixel (N×C×H×W).

    Raises:
        DataError: there is none.
    """
    for name, shape in reversed(network.outputs.items()):
        if len(shape) == 4 and isinstance(shape[1], int) and shape[1] > 1:
            return name
    raise DataError(f"the labels are maps, but network '{network.name}' makes none")


def image_output(network: Network) -> tuple[int, int, int]:
    """Return channels, height and width of the last output that is an image.

    Raises:
        DataError: there is none.
    """
    for shape in reversed(list(network.outputs.values())):
        sizes = tuple(size for size in shape[1:] if isinstance(size, int))
        if len(shape) == 4 and len(sizes) == 3 and sizes[0] in (1, 3):
            return sizes[0], sizes[1], sizes[2]
    raise DataError("the labels are images, but the network makes none")


def output_of_size(network: Network, wanted: Sequence[int]) -> str:
    """Return the last output with as many values a sample as targets of some shape have.

    Raises:
        DataError: there is none.
    """
    for name, shape in reversed(network.outputs.items()):
        sizes = [size for size in shape[1:] if isinstance(size, int)]
        if len(sizes) == len(shape) - 1 and math.prod(sizes) == math.prod(wanted):
            return name
    raise DataError(
        f"no output of network '{network.name}' has the {shape_text(tuple(wanted))} values of a "
        "target"
    )


def is_vector(shape: tuple[int | str, ...]) -> bool:
    """Whether an output holds one vector of several values a sample: N×C, N×C×1×1."""
    sizes = [size for size in shape[1:] if size != 1]
    return len(sizes) == 1 and isinstance(sizes[0], int)


def check_detector(network: Network) -> None:
    """Raise where a network has no head that finds boxes.

    Raises:
        DataError: it says what can be done instead.
    """
    if not box_heads(network):
        raise no_head(network)


def _of_samples(network: Network, output: str) -> bool:
    """Whether an output has a row a sample: where batches are fixed, regions have more."""
    shape = next((shape for shape in network.inputs.values() if shape), ("",))
    own, batch = network.outputs[output][:1], shape[0]
    return not isinstance(batch, int) or own in ((), (batch,)) or isinstance(own[0], str)


def _known_classes(network: Network) -> list[str]:
    """Return the outputs of classifier heads."""
    return [
        head.output
        for head in network.heads
        if isinstance(head, ClassifierHead) and head.output in network.outputs
    ]
