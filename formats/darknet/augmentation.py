"""How Darknet augments training images, from the keys of a cfg.

Sources: parser.c `parse_net_options` (defaults), detector.c, yolo.c and classifier.c `train_…`
(which keys count), data.c. The keys of the last section with boxes count for all.
"""

from __future__ import annotations

from ...core.data.augment.colour import Distortion
from ...core.data.augment.geometry import Geometry, Jitter, Placed, TurnedCrop
from ...core.data.augment.recipe import Augmentation, Mix
from ...core.data.augment.sizes import FactorSizes, Sizes, SquareSizes
from ...core.errors import FormatError, located
from .document import Block, Document
from .flavour import Flavour

__all__ = ["augmentation_of"]

HEADS = ("yolo", "region", "Gaussian_yolo", "detection")
JITTER = 0.2
"""Default of a head's `jitter`. Source: parser.c parse_yolo, parse_region."""

FACTOR, STEP = 1.4, 32
"""What random=1 stands for, and the default of `resize_step`."""

LAST, LAST_SQUARES = 100, 200
"""Updates at the end of the schedule that have the largest size. Source: detector.c
`train_detector` of AlexeyAB and of pjreddie."""

GREY = (127.5,)
"""pjreddie's Darknet fills with half of full scale. Source: data.c `load_data_detection`."""


def augmentation_of(document: Document, flavour: Flavour) -> Augmentation:
    """Return what a Darknet does to training images by a cfg.

    Args:
        document: the cfg.
        flavour: the Darknet.

    Raises:
        FormatError: a key is no number, or one that cannot be; names its line.
    """
    with located(file=document.file):
        net = document.sections[0]
        heads = [block for block in document.sections if block.name in HEADS]
        own = flavour is Flavour.ALEXEYAB
        mirror = bool(_number(net, "flip", 1)) if own else True
        colour = Distortion(
            hue=_number(net, "hue", 0.0),
            saturation=_number(net, "saturation", 1.0, least=1e-3),
            exposure=_number(net, "exposure", 1.0, least=1e-3),
        )
        geometry, fill = _boxes(net, heads[-1], flavour) if heads else (_classes(net), GREY)
        mix = _mix(net, detector=bool(heads)) if own else Mix()
        sizes = _sizes(net, heads[-1], flavour) if heads else None
    return Augmentation(
        geometry=geometry, mirror=mirror, colour=colour, mix=mix, fill=fill, sizes=sizes,
        source=f"the keys of {document.file or 'the cfg'}",
    )  # fmt: skip


def _boxes(net: Block, head: Block, flavour: Flavour) -> tuple[Geometry, tuple[float, ...] | None]:
    """Return how a detector's images are cut, and the colour outside them."""
    jitter = _number(head, "jitter", JITTER, least=0.0, below=1.0)
    if head.name == "detection":  # outside the image Darknet repeats its edge, and here it is grey
        return Jitter(jitter=jitter), GREY
    if flavour is Flavour.PJREDDIE:
        return Placed(jitter=jitter), GREY
    resize = _number(head, "resize", 1.0, least=1e-3)
    letterbox = bool(_number(net, "letter_box", 0))
    return Jitter(jitter=jitter, resize=resize, letterbox=letterbox), None


def _sizes(net: Block, head: Block, flavour: Flavour) -> Sizes | None:
    """Return the sizes that a detector is trained at; None with random=0."""
    factor = _number(head, "random", 0.0, least=0.0)
    if not factor or head.name == "detection":  # where it says how boxes are matched
        return None
    if flavour is Flavour.PJREDDIE:
        return SquareSizes(last=LAST_SQUARES)
    step = int(_number(net, "resize_step", STEP, least=1))
    return FactorSizes(factor=FACTOR if factor == 1 else factor, step=step, last=LAST)


def _classes(net: Block) -> Geometry:
    """Return how a classifier's images are cut."""
    width = int(_number(net, "width", 0))
    low = int(_number(net, "min_crop", width, least=1))
    high = int(_number(net, "max_crop", 2 * width, least=1))
    return TurnedCrop(
        low=low,
        high=max(low, high),
        angle=_number(net, "angle", 0.0),
        aspect=_number(net, "aspect", 1.0, least=1e-3),
    )


def _mix(net: Block, *, detector: bool) -> Mix:
    """Return how images are mixed. Source: parser.c `mixup`, `cutmix`, `mosaic`."""
    on = {key: bool(_number(net, key, 0)) for key in ("mixup", "cutmix", "mosaic", "mosaic_bound")}
    return Mix(
        mosaic=on["mosaic"],
        mixup=on["mixup"],
        cutmix=on["cutmix"] and not detector,
        bounded=on["mosaic_bound"],
    )


def _number(
    block: Block,
    key: str,
    default: float,
    *,
    least: float | None = None,
    below: float | None = None,
) -> float:
    """Return the number of a key.

    Raises:
        FormatError: it is none, or out of range.
    """
    option = block.options.get(key)
    if option is None or option.value is None:
        return default
    with located(line=option.line, item=f"[{block.name}]"):
        try:
            found = float(option.value.split(",")[0])
        except ValueError as error:
            raise FormatError(f"{key}={option.value} is no number") from error
        if (least is not None and found < least) or (below is not None and found >= below):
            raise FormatError(f"{key}={option.value} is out of range")
        return found
