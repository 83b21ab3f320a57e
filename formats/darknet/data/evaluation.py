"""The preprocessing with which Darknet validates a network: it depends on the kind of network.

Source: detector.c `validate_detector*` (LETTERBOX_DATA always in pjreddie's, with letter_box=1 in
AlexeyAB's); classifier.c `validate_classifier_single` (`resize_min`, then the centre).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ....core.ir.heads import ClassifierHead, Head
from ....core.ir.network import Preprocess
from ..flavour import Flavour

__all__ = ["as_evaluated"]


def as_evaluated(
    preprocess: Preprocess,
    shape: Sequence[int | str],
    *,
    heads: Sequence[Head],
    flavour: Flavour,
) -> Preprocess:
    """Return the preprocessing of a network.

    Args:
        preprocess: the preprocessing that [net] states.
        shape: shape of the input, N × channels × height × width or N × elements.
        heads: heads of the network. Every kind but "classifier" is a detector.
        flavour: the Darknet that the network is for.
    """
    if not all(isinstance(head, ClassifierHead) for head in heads):
        return replace(preprocess, letterbox=preprocess.letterbox or flavour is Flavour.PJREDDIE)
    if len(shape) == 4 and shape[2] == shape[3] and not preprocess.letterbox:
        return replace(preprocess, crop=True, resize=(int(shape[2]),))
    return preprocess
