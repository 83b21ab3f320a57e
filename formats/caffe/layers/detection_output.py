"""DetectionOutput. Source: detection_output_layer.cpp of SSD. It stores no blobs.

Decoding and suppression hold no weights: they are no part of the graph. The bottoms become outputs
of the graph, and a head says how to decode them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ....core.ir.network import Head
from ...adapter import REQUIRED
from ..layer import Example, Handling, Layer, key, layer


@layer("DetectionOutput")
@dataclass(frozen=True, kw_only=True, slots=True)
class DetectionOutput(Layer):
    """Boxes from offsets, class scores and priors, thinned out by non-maximum suppression."""

    num_classes: int = key(REQUIRED)
    share_location: bool = key(default=True)
    background_label_id: int = key(0)
    nms_threshold: float = key(0.3, "nms_param.nms_threshold")
    nms_top_k: int = key(-1, "nms_param.top_k")
    eta: float = key(1.0, "nms_param.eta")
    code_type: str = key(
        "CORNER", choices=("CORNER", "CENTER_SIZE", "CORNER_SIZE"), numbers=(1, 2, 3)
    )
    variance_encoded_in_target: bool = key(default=False)
    keep_top_k: int = key(-1)
    confidence_threshold: float = key(0.0)

    param: ClassVar = "detection_output_param"
    bottom_range: ClassVar = (3, 4)
    top_range: ClassVar = (0, 1)
    decodes: ClassVar = True
    example: ClassVar = Example(
        handling=Handling.DECODED,
        bottoms=("locations", "scores", "priors"),
        text="detection_output_param { num_classes: 3 nms_param { nms_threshold: 0.5 } }",
        tail="",
        lead="""
layer { name: "locations" type: "InnerProduct" bottom: "before" top: "locations"
  inner_product_param { num_output: 256 } }
layer { name: "scores" type: "InnerProduct" bottom: "before" top: "scores"
  inner_product_param { num_output: 192 } }
layer { name: "priors" type: "PriorBox" bottom: "before" bottom: "data" top: "priors"
  prior_box_param { min_size: 2 } }""",
    )

    def heads(self) -> tuple[Head, ...]:
        """Return how to read the outputs as answers."""
        locations, scores, priors = self.bottoms[:3]
        head = Head(
            output=locations,
            kind="priors",
            settings={
                "locations": locations,
                "scores": scores,
                "priors": priors,
                "classes": self.num_classes,
                "share_location": self.share_location,
                "background": self.background_label_id,
                "nms_threshold": self.nms_threshold,
                "nms_top_k": self.nms_top_k,
                "eta": self.eta,
                "code_type": self.code_type.lower(),
                "variance_encoded": self.variance_encoded_in_target,
                "keep_top_k": self.keep_top_k,
                "confidence_threshold": self.confidence_threshold,
            },
        )
        return (head,)
