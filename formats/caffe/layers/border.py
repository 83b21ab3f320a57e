"""Layers that no graph can carry: proposals of regions, targets for training, lists of boxes.

Their arithmetic makes lists of varying length, or stands in no file. What they read becomes outputs
of the graph; what they make becomes inputs, where layers with weights need it. They stay in the
files as they are, with their weights.

Source: proposal_layer.cpp of py-faster-rcnn's ports, frcnn_*_layer.cpp of caffe-faster-rcnn,
box_annotator_ohem_layer.cpp of R-FCN, eval_detection_layer.cpp of caffe-yolo,
yolo_detection_output_layer.cpp of MobileNet-YOLO, box_output_layer.cpp and
image_gt_data_layer.cpp of MS-CNN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ....core.errors import UnsupportedError
from ....core.ir.network import Preprocess
from ..layer import Example, Handling, Shape, key, layer
from .data import Transformed

__all__ = ["Border"]

MOST_REGIONS = 1 << 16
"""Largest number of regions of an image: several times what detectors look at. It bounds the memory
that a number in a text file can demand."""


@layer(
    "AnchorTarget", "BoxAnnotatorOHEM", "BoxGroupOutput", "BoxOutput", "DecodeBBox",
    "EvalDetection", "FrcnnAnchorTarget", "FrcnnProposalTarget", "FrcnnRoiData", "ImageGtData",
    "ProposalTarget", "YoloDetectionOutput",
)  # fmt: skip
@dataclass(frozen=True, kw_only=True, slots=True)
class Border(Transformed):
    """A layer that the graph does not compute; without bottoms, it makes the net's inputs."""

    bottom_range: ClassVar = (0, None)
    top_range: ClassVar = (0, None)
    border: ClassVar = True
    example: ClassVar = Example(handling=Handling.BORDER, input_shapes={"layer": (16, 8, 8)})

    def top_shape(self, position: int, *bottoms: Shape | None) -> tuple[int, ...] | None:
        """Return what `transform_param` says of the first top of a layer without bottoms."""
        image = None if bottoms or self.bottoms or position else self.image()
        return None if image is None else (1, *image)

    def preprocess(self) -> Preprocess | None:
        """Return what `transform_param` says."""
        stated = self.mean_value or self.mean_file or self.crop_size or self.scale != 1
        return super(Border, self).preprocess() if stated and not self.bottoms else None


@layer("Proposal", "FrcnnProposal")
@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal(Border):
    """Regions (image, x0, y0, x1, y1) from the scores and boxes of anchors."""

    most: int = key(
        0, "post_nms_topn", "post_nms_top_n", "test_desc_param.rpn_post_nms_top_n",
        doc="regions of an image at most",
    )  # fmt: skip

    param: ClassVar = "proposal_param"
    example: ClassVar = Example(
        handling=Handling.BORDER,
        bottoms=("scores", "boxes", "data"),
        tops=("regions",),
        text="proposal_param { post_nms_topn: 4 }",
        lead="""
layer { name: "scores" type: "Convolution" bottom: "before" top: "scores"
  convolution_param { num_output: 6 kernel_size: 1 } }
layer { name: "boxes" type: "Convolution" bottom: "before" top: "boxes"
  convolution_param { num_output: 12 kernel_size: 1 } }""",
        tail="""
layer { name: "pool" type: "ROIPooling" bottom: "before" bottom: "regions" top: "pool"
  roi_pooling_param { pooled_h: 2 pooled_w: 2 } }
layer { name: "after" type: "InnerProduct" bottom: "pool" top: "after"
  inner_product_param { num_output: 3 } }""",
        values={"regions": (0, 1, 1, 6, 5, 0, 0, 0, 7, 7)},
    )

    def top_shape(self, position: int, *bottoms: Shape | None) -> tuple[int, ...] | None:
        """Return the largest number of regions, where the file tells it."""
        del bottoms
        if self.most > MOST_REGIONS:
            raise UnsupportedError(f"{self.most} regions are too many")
        return (self.most, 5) if self.most > 0 and not position else None
