"""MultiBoxLoss. Source: multibox_loss_layer.cpp, caffe.proto of the SSD fork. It stores no blobs.

Without labels, the layer is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ....core.errors import FormatError, UnsupportedError
from ....core.training.losses.multibox import MultiBoxLoss as MultiBox
from ...adapter import REQUIRED
from ..layer import Example, Handling, key, layer
from .loss import Loss


@layer("MultiBoxLoss")
@dataclass(frozen=True, kw_only=True, slots=True)
class MultiBoxLoss(Loss):
    """Offsets and classes of prior boxes against the truths."""

    num_classes: int = key(REQUIRED)
    loc_loss_type: str = key("SMOOTH_L1", choices=("L2", "SMOOTH_L1"))
    conf_loss_type: str = key("SOFTMAX", choices=("SOFTMAX", "LOGISTIC"))
    loc_weight: float = key(1.0)
    share_location: bool = key(default=True)
    match_type: str = key("PER_PREDICTION", choices=("BIPARTITE", "PER_PREDICTION"))
    overlap_threshold: float = key(0.5)
    use_prior_for_matching: bool = key(default=True)
    background_label_id: int = key(0)
    use_difficult_gt: bool = key(default=True)
    do_neg_mining: bool | None = key(None, doc="old: whether mining_type is not NONE")
    mining_type: str = key("MAX_NEGATIVE", choices=("NONE", "MAX_NEGATIVE", "HARD_EXAMPLE"))
    neg_pos_ratio: float = key(3.0)
    neg_overlap: float = key(0.5)
    sample_size: int = key(64)
    code_type: str = key(
        "CORNER", choices=("CORNER", "CENTER_SIZE", "CORNER_SIZE"), numbers=(1, 2, 3)
    )
    encode_variance_in_target: bool = key(default=False)
    map_object_to_agnostic: bool = key(default=False)
    ignore_cross_boundary_bbox: bool = key(default=False)
    bp_inside: bool = key(default=False)
    nms_threshold: float | None = key(None, "nms_param.nms_threshold")

    param: ClassVar = "multibox_loss_param"
    default_mode: ClassVar[str] = "VALID"
    bottom_range: ClassVar = (4, 4)
    top_range: ClassVar = (0, 1)
    example: ClassVar = Example(
        handling=Handling.LEFT_OUT,
        bottoms=("after", "after", "after", "label"),
        text="multibox_loss_param { num_classes: 3 }",
        values={"label": (0, 2)},
    )

    def loss(self, folder: Path) -> MultiBox:
        """Return the loss of training.

        Raises:
            FormatError: fields contradict each other.
            UnsupportedError: examples are thinned out before mining.
        """
        del folder
        if not self.share_location and self.mining_type != "NONE":
            raise FormatError(
                "share_location: false goes with mining_type: NONE alone, as in the SSD fork"
            )
        if self.nms_threshold and self.mining_type != "NONE":
            raise UnsupportedError("mining with nms_param cannot be trained")
        mined = self.mining_type != "NONE"
        if self.do_neg_mining is not None and self.do_neg_mining != mined:
            raise FormatError("do_neg_mining contradicts mining_type")
        return MultiBox(
            classes=self.num_classes, background=self.background_label_id,
            squared=self.loc_loss_type == "L2", logistic=self.conf_loss_type == "LOGISTIC",
            place_weight=self.loc_weight, shared=self.share_location,
            each=self.match_type == "PER_PREDICTION",
            overlap=self.overlap_threshold, by_prior=self.use_prior_for_matching,
            difficult=self.use_difficult_gt, mining=self.mining_type, ratio=self.neg_pos_ratio,
            negative_overlap=self.neg_overlap, samples=self.sample_size, code=self.code_type,
            variance_in_target=self.encode_variance_in_target,
            agnostic=self.map_object_to_agnostic, inside=self.ignore_cross_boundary_bbox,
            corners_inside=self.bp_inside, normalization=self.mode(),
        )  # fmt: skip
