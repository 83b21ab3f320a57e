"""How Darknet makes an input of an image when it measures a network, which depends on its kind.

Source: detector.c `validate_detector*` (LETTERBOX_DATA always in pjreddie's, where letter_box=1 in
AlexeyAB's); classifier.c `validate_classifier_single` (`resize_min`, then the middle).
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
        preprocess: what [net] says.
        shape: of the input, N × channels × height × width or N × numbers.
        heads: of the network; all but classifiers are detectors.
        flavour: whose Darknet it is for.
    """
    if not all(isinstance(head, ClassifierHead) for head in heads):
        return replace(preprocess, letterbox=preprocess.letterbox or flavour is Flavour.PJREDDIE)
    if len(shape) == 4 and shape[2] == shape[3] and not preprocess.letterbox:
        return replace(preprocess, crop=True, resize=(int(shape[2]),))
    return preprocess
