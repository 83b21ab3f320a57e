"""The keys of heads about training, and the losses they describe.

Source: parser.c parse_yolo, parse_gaussian_yolo, parse_region, parse_detection, parse_softmax,
parse_cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import FormatError, UnsupportedError, located
from ...core.training.losses.anchors import AnchorLoss
from ...core.training.losses.cost import CostLoss, EntropyLoss
from ...core.training.losses.delta import DeltaLoss
from ...core.training.losses.detection import DetectionLoss
from ...core.training.losses.gaussian import GaussianLoss
from ...core.training.losses.region import RegionLoss
from ..adapter import key
from .flavour import Flavour
from .numerals import read_int
from .section import Section
from .tree import read_tree

__all__ = ["HEADS", "HeadTraining"]

MOST_BYTES = 1 << 24
BOX = 4
"""Numbers of a box. Of more, AlexeyAB's Darknet takes the fifth for objectness, and the loader of
pjreddie's `detector train` gives none. Source: region_layer.c, data.c `load_data_detection`."""
LEAST_SIDE = {True: 0.005, False: 0.001}
"""Side below which [detection] leaves a truth out, for pjreddie's and AlexeyAB's Darknet. Source:
data.c `fill_truth_region`."""
_OVERLAPS = ("giou", "diou", "ciou")
_ALEXEYAB = (
    "iou_loss", "iou_normalizer", "obj_normalizer", "cls_normalizer", "delta_normalizer",
    "max_delta", "counters_per_class", "label_smooth_eps", "objectness_smooth", "iou_thresh",
    "iou_thresh_kind", "focal_loss", "show_details", "new_coords",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadTraining(Section):
    """What the keys of a head say about its loss."""

    def make_loss(self, size: tuple[int, int]) -> DeltaLoss | None:
        """Return the loss; None where the head has none.

        Args:
            size: width and height of the network's input.

        Raises:
            FormatError: keys contradict each other.
            UnsupportedError: the loss is not supported.
        """
        raise NotImplementedError

    def class_map(self, name: str, classes: int) -> tuple[int, ...]:
        """Return the numbers in a file of class numbers; () where no file is named.

        Raises:
            FormatError: the file does not exist, or names classes that are not there.
        """
        if not name:
            return ()
        path = next((p for folder in self.context.folders if (p := folder / name).is_file()), None)
        if path is None:
            raise FormatError(f"map={name[:80]}: no such file beside the cfg")
        return _numbers(path, classes)


def _numbers(path: Path, classes: int) -> tuple[int, ...]:
    with located(file=str(path)):
        if path.stat().st_size > MOST_BYTES:
            raise FormatError("too large for a list of classes")
        lines = path.read_text(errors="replace").splitlines()
        found = tuple(read_int(line.strip()) for line in lines if line.strip())
        wrong = next((number for number in found if not 0 <= number < classes), None)
        if wrong is not None:
            raise FormatError(f"class {wrong} is none of the {classes} of the head")
    return found


def _anchors(listed: tuple[float, ...], count: int) -> tuple[tuple[float, float], ...]:
    """Return width and height of each anchor; Darknet starts with 0.5 for those not given."""
    numbers = (*listed, *[0.5] * (2 * count))[: 2 * count]
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class YoloTraining(HeadTraining):
    """[yolo]."""

    classes: int = key(20)
    num: int = key(1)
    mask: tuple[int, ...] = key(())
    anchors: tuple[float, ...] = key(())
    most: int = key(-1, "max")
    ignore_thresh: float = key(0.5)
    truth_thresh: float = key(1.0)
    iou_thresh: float = key(1.0)
    iou_thresh_kind: str = key("iou")
    iou_loss: str = key("mse")
    iou_normalizer: float = key(0.75)
    obj_normalizer: float = key(1.0)
    cls_normalizer: float = key(1.0)
    delta_normalizer: float = key(1.0)
    max_delta: float = key(-1.0)
    counters_per_class: tuple[int, ...] = key(())
    label_smooth_eps: float = key(0.0)
    objectness_smooth: bool = key(default=False)
    focal_loss: bool = key(default=False)
    new_coords: bool = key(default=False)
    show_details: bool = key(default=True)
    map: str = key("")

    only = dict.fromkeys(_ALEXEYAB, Flavour.ALEXEYAB)

    def make_loss(self, size: tuple[int, int]) -> AnchorLoss:
        """Return the loss."""
        return AnchorLoss(**self._common(size), roots=self.new_coords, focal=self.focal_loss)

    def _common(self, size: tuple[int, int]) -> dict[str, Any]:
        """Return what both kinds of anchors in pixels have."""
        old = self.context.pjreddie
        most = self.most if self.most >= 0 else (90 if old else 200)
        limit = self.max_delta if self.max_delta >= 0 else None
        word = self.iou_loss
        return {
            "classes": self.classes,
            "anchors": _anchors(self.anchors, self.num),
            "mask": self.mask or tuple(range(self.num)),
            "width": size[0],
            "height": size[1],
            "most": most,
            "ignore": self.ignore_thresh,
            "certain": self.truth_thresh,
            "further": self.iou_thresh,
            "further_kind": self.iou_thresh_kind if self.iou_thresh_kind in _OVERLAPS else "iou",
            "box": word if word in ("mse", *_OVERLAPS) else "iou",
            "box_factor": 1.0 if old else self.iou_normalizer,
            "object_factor": self.obj_normalizer,
            "class_factor": self.cls_normalizer,
            "passed_factor": self.delta_normalizer,
            "limit": limit,
            "class_factors": self._factors(limit),
            "smoothing": self.label_smooth_eps,
            "smooth_objects": self.objectness_smooth,
            "class_map": self.class_map(self.map, self.classes),
            "brief": not self.show_details,
            "first": old,
        }

    def _factors(self, limit: float | None) -> tuple[float, ...]:
        """Return a factor for each class: rare ones count more."""
        counts = [max(count, 1) for count in self.counters_per_class]
        if counts and len(counts) != self.classes:
            raise FormatError(f"{len(counts)} counters_per_class for {self.classes} classes")
        most = max(counts, default=0)
        factors = (most / count for count in counts)
        return tuple(factor if limit is None else min(factor, limit) for factor in factors)


@dataclass(frozen=True, kw_only=True, slots=True)
class GaussianTraining(YoloTraining):
    """[Gaussian_yolo]."""

    uc_normalizer: float = key(1.0)
    yolo_point: str = key("center")

    only = {"": Flavour.ALEXEYAB}  # noqa: RUF012

    def make_loss(self, size: tuple[int, int]) -> GaussianLoss:
        """Return the loss."""
        corner = {"left_top": -1, "right_bottom": 1}.get(self.yolo_point, 0)
        return GaussianLoss(
            **self._common(size), deviation_factor=self.uc_normalizer, corner=corner
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionTraining(HeadTraining):
    """[region]."""

    classes: int = key(20)
    num: int = key(1)
    coords: int = key(4)
    anchors: tuple[float, ...] = key(())
    most: int = key(200, "max")
    softmax: bool = key(default=False)
    background: bool = key(default=False)
    tree: str = key("")
    map: str = key("")
    thresh: float = key(0.5)
    coord_scale: float = key(1.0)
    object_scale: float = key(1.0)
    noobject_scale: float = key(1.0)
    class_scale: float = key(1.0)
    rescore: bool = key(default=False)
    bias_match: bool = key(default=False)
    classfix: int = key(0)
    focal_loss: bool = key(default=False)

    only = {  # noqa: RUF012
        "background": Flavour.PJREDDIE,
        "classfix": Flavour.ALEXEYAB,
        "focal_loss": Flavour.ALEXEYAB,
    }

    def make_loss(self, size: tuple[int, int]) -> RegionLoss:
        """Return the loss."""
        del size
        if self.coords != BOX:
            raise UnsupportedError(f"coords={self.coords} cannot be trained, only 4")
        tree = read_tree(self.tree, self.context.folders, self.classes) if self.tree else ()
        return RegionLoss(
            classes=self.classes, anchors=_anchors(self.anchors, self.num),
            most=30 if self.context.pjreddie else self.most, threshold=self.thresh,
            box_scale=self.coord_scale, object_scale=self.object_scale,
            background_scale=self.noobject_scale, class_scale=self.class_scale,
            rescore=self.rescore, by_anchor=self.bias_match, class_fix=self.classfix,
            focal=self.focal_loss, softmax=self.softmax, background=self.background,
            parents=tree, class_map=self.class_map(self.map, self.classes),
            first=self.context.pjreddie,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectionTraining(HeadTraining):
    """[detection]."""

    classes: int = key(1)
    coords: int = key(1)
    num: int = key(1)
    side: int = key(7)
    sqrt: bool = key(default=False)
    rescore: bool = key(default=False)
    forced: bool = key(default=False)
    random: float = key(0.0)
    coord_scale: float = key(1.0)
    object_scale: float = key(1.0)
    noobject_scale: float = key(1.0)
    class_scale: float = key(1.0)

    def make_loss(self, size: tuple[int, int]) -> DetectionLoss:
        """Return the loss."""
        del size
        if self.coords != BOX:
            raise UnsupportedError(f"coords={self.coords} cannot be trained, only 4")
        if self.forced and self.num == 1:
            raise FormatError("forced=1 needs a second box in each cell, and num=1")
        return DetectionLoss(
            classes=self.classes, side=self.side, num=self.num,
            box_scale=self.coord_scale, object_scale=self.object_scale,
            background_scale=self.noobject_scale, class_scale=self.class_scale,
            roots=self.sqrt, rescore=self.rescore, forced=self.forced, drawn=bool(self.random),
            least=LEAST_SIDE[self.context.pjreddie],
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class SoftmaxTraining(HeadTraining):
    """[softmax]."""

    noloss: bool = key(default=False)
    tree: str = key("")

    def make_loss(self, size: tuple[int, int]) -> EntropyLoss | None:
        """Return the loss; None with noloss=1."""
        del size
        return None if self.noloss else EntropyLoss(masked=bool(self.tree))


@dataclass(frozen=True, kw_only=True, slots=True)
class CostTraining(HeadTraining):
    """[cost]."""

    type: str = key("sse")
    scale: float = key(1.0)
    noobj: float = key(1.0)
    thresh: float = key(0.0)
    smooth: float = key(0.0)

    only = dict.fromkeys(("noobj", "thresh", "smooth"), Flavour.PJREDDIE)

    def make_loss(self, size: tuple[int, int]) -> CostLoss:
        """Return the loss."""
        del size
        kinds: tuple[str, ...] = ("sse", "masked", "smooth")
        if self.context.pjreddie:
            kinds = (*kinds, "seg", "L1", "wgan")
        kind = self.type if self.type in kinds else "sse"  # as Darknet takes an unknown one
        if kind == "wgan":
            raise UnsupportedError("type=wgan belongs to a pair of networks and cannot be trained")
        return CostLoss(
            kind=kind, scale=self.scale, background=self.noobj, smoothing=self.smooth,
            threshold=self.thresh, turned=self.context.pjreddie,
        )  # fmt: skip


HEADS: Mapping[str, type[HeadTraining]] = {
    "yolo": YoloTraining,
    "Gaussian_yolo": GaussianTraining,
    "region": RegionTraining,
    "detection": DetectionTraining,
    "softmax": SoftmaxTraining,
    "soft": SoftmaxTraining,
    "cost": CostTraining,
}
"""Section names → the keys of training."""
