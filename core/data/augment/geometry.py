"""Ways to choose the part of an image that becomes an input, one class each.

All numbers are drawn from the generator that is given, so that equal generators give equal windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...errors import DataError
from .window import Window, whole

__all__ = [
    "Geometry",
    "Jitter",
    "Placed",
    "RandomCrop",
    "ResizedCrop",
    "Shift",
    "TurnedCrop",
    "Whole",
]


class Geometry(Protocol):
    """Chooses a window for an image."""

    def window(
        self, image: tuple[int, int], size: tuple[int, int], random: np.random.Generator
    ) -> Window:
        """Return a window, not mirrored.

        Args:
            image: height and width of the image.
            size: height and width of the input.
            random: where chance comes from.

        Raises:
            DataError: the image is too small.
        """
        ...


@dataclass(frozen=True, slots=True)
class Whole:
    """The whole image, stretched to the size of the input."""

    def window(
        self, image: tuple[int, int], size: tuple[int, int], random: np.random.Generator
    ) -> Window:
        """Return the window of the whole image."""
        del size, random
        return whole(*image)


@dataclass(frozen=True, slots=True)
class RandomCrop:
    """A part of the size of the input, from anywhere in the resized image.

    Source: data_transformer.cpp (BVLC 9b89154), phase TRAIN with `crop_size`.

    Args:
        resize: height and width before the cut, or the length of the short side; empty for the
            image as it is.
    """

    resize: tuple[int, ...] = ()

    def window(
        self, image: tuple[int, int], size: tuple[int, int], random: np.random.Generator
    ) -> Window:
        """Return a window of the size of the input.

        Raises:
            DataError: the image is smaller than the input.
        """
        height, width = _resized(image, self.resize)
        free = height - size[0], width - size[1]
        if min(free) < 0:
            raise DataError(
                f"the image is {height}×{width}, too small to cut {size[0]}×{size[1]} out of it",
                hint="resize first: --resize H,W or --resize SHORT_SIDE",
            )
        top, left = (int(random.integers(0, most + 1)) for most in free)
        scaled = None if (height, width) == image else (height, width)
        return Window(left=left, top=top, width=size[1], height=size[0], scaled=scaled)


@dataclass(frozen=True, slots=True)
class ResizedCrop:
    """A part of random area and shape, resized to the input.

    Source: `RandomResizedCrop` as Inception was trained (Szegedy 2015, arXiv 1409.4842, section 6),
    with a smaller least area of 0.08 there.

    Args:
        area: least and largest part of the image's area.
        aspect: least and largest ratio of width to height, of the image's own.
    """

    area: tuple[float, float] = (0.25, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)

    def window(
        self, image: tuple[int, int], size: tuple[int, int], random: np.random.Generator
    ) -> Window:
        """Return a window inside the image."""
        own_height, own_width = image
        shape = size[1] / size[0]
        area = random.uniform(*self.area) * own_height * own_width
        aspect = shape * float(np.exp(random.uniform(*np.log(self.aspect))))
        width = min(own_width, max(1, round((area * aspect) ** 0.5)))
        height = min(own_height, max(1, round((area / aspect) ** 0.5)))
        left = int(random.integers(0, own_width - width + 1))
        top = int(random.integers(0, own_height - height + 1))
        return Window(left=left, top=top, width=width, height=height)


@dataclass(frozen=True, slots=True)
class Shift:
    """The whole image, moved by up to some pixels; what comes in from outside is filled.

    Source: how CIFAR-10 nets are trained (He 2015, arXiv 1512.03385, section 4.2: 4 pixels of 32).

    Args:
        share: the most it moves, as a fraction of the image's side.
    """

    share: float = 1 / 8

    def window(
        self, image: tuple[int, int], size: tuple[int, int], random: np.random.Generator
    ) -> Window:
        """Return a window of the size of the image."""
        del size
        most = [int(side * self.share) for side in image]
        top, left = (int(random.integers(-each, each + 1)) for each in most)
        return Window(left=left, top=top, width=image[1], height=image[0])


@dataclass(frozen=True, slots=True)
class Jitter:
    """Each edge moves on its own, inwards or outwards.

    Source: data.c `load_data_detection` (AlexeyAB).

    Args:
        jitter: the most an edge moves, as a fraction of the image's side.
        resize: largest factor by which the image shrinks or grows besides; below 1, it only
            shrinks.
        letterbox: keep the aspect ratio of the image.
    """

    jitter: float = 0.2
    resize: float = 1.0
    letterbox: bool = False

    def window(
        self, image: tuple[int, int], size: tuple[int, int], random: np.random.Generator
    ) -> Window:
        """Return a window that may reach out of the image."""
        shares = random.random(2)  # one pair for both directions: the shape stays
        top, bottom = self._edges(image[0], shares, random)
        left, right = self._edges(image[1], shares, random)
        if self.letterbox:
            shape = image[1] / image[0] / (size[1] / size[0])
            more = (image[1] * size[0] / size[1] - image[0]) / 2 if shape > 1 else 0.0
            top, bottom = int(top - more), int(bottom - more)
            wider = (image[0] * size[1] / size[0] - image[1]) / 2 if shape <= 1 else 0.0
            left, right = int(left - wider), int(right - wider)
        return Window(
            left=left,
            top=top,
            width=max(1, image[1] - left - right),
            height=max(1, image[0] - top - bottom),
        )

    def _edges(self, side: int, shares: np.ndarray, random: np.random.Generator) -> tuple[int, int]:
        """Return by how many pixels the two edges of a side move inwards.

        Args:
            side: the length, in pixels.
            shares: where `resize` puts each edge between its extremes, 0 to 1 [2].
            random: where the jitter comes from.
        """
        most = int(side * self.jitter)
        down = self.resize if self.resize <= 1 else 1 / self.resize
        up = self.resize if self.resize >= 1 else 1.0
        least, largest = side * (1 - 1 / down) / 2, side * (1 - 1 / up) / 2
        first, second = (
            int(random.uniform(-most, most)) + int(least + share * (largest - least))
            for share in shares.tolist()
        )
        return first, second


@dataclass(frozen=True, slots=True)
class Placed:
    """The image, of a changed shape and size, somewhere in the input.

    Source: data.c `load_data_detection` (pjreddie).

    Args:
        jitter: the most that width and height change, as a fraction of themselves.
        scale: least and largest size of the image, in inputs.
    """

    jitter: float = 0.2
    scale: tuple[float, float] = (0.25, 2.0)

    def window(
        self, image: tuple[int, int], size: tuple[int, int], random: np.random.Generator
    ) -> Window:
        """Return a window that may reach far out of the image."""
        height, width = size
        high, wide = (side * (1 + random.uniform(-self.jitter, self.jitter)) for side in image)
        aspect = wide / high
        scale = random.uniform(*self.scale)
        if aspect < 1:
            new_height = scale * height
            new_width = new_height * aspect
        else:
            new_width = scale * width
            new_height = new_width / aspect
        left = random.uniform(min(0, width - new_width), max(0, width - new_width))
        top = random.uniform(min(0, height - new_height), max(0, height - new_height))
        across, down = image[1] / new_width, image[0] / new_height
        return Window(
            left=round(-left * across),
            top=round(-top * down),
            width=max(1, round(width * across)),
            height=max(1, round(height * down)),
        )


@dataclass(frozen=True, slots=True)
class TurnedCrop:
    """A part of the image, resized so that its short side has a random length, and turned.

    Source: image.c `random_augment_image` and `rotate_crop_image` (pjreddie, AlexeyAB).

    Args:
        low: least length of the short side, in pixels.
        high: largest length.
        angle: most degrees that it is turned.
        aspect: largest factor by which the shape changes, or its inverse.
    """

    low: int
    high: int
    angle: float = 0.0
    aspect: float = 1.0

    def window(
        self, image: tuple[int, int], size: tuple[int, int], random: np.random.Generator
    ) -> Window:
        """Return a window around or inside the image."""
        own_height, own_width = image
        aspect = random.uniform(min(1.0, self.aspect), max(1.0, self.aspect))
        aspect = aspect if random.integers(2) else 1 / aspect
        scale = int(random.integers(self.low, max(self.low, self.high) + 1)) / min(
            own_height, own_width * aspect
        )
        turned = random.uniform(-self.angle, self.angle)
        free = (
            max(0.0, (own_height * scale - size[0]) / 2),
            max(0.0, (own_width * scale / aspect - size[1]) / 2),
        )
        down, across = (random.uniform(-most, most) for most in free)
        width, height = size[1] * aspect / scale, size[0] / scale
        return Window(
            left=round(own_width / 2 + across * aspect / scale - width / 2),
            top=round(own_height / 2 + down / scale - height / 2),
            width=max(1, round(width)),
            height=max(1, round(height)),
            turned=turned,
        )


def _resized(image: tuple[int, int], resize: tuple[int, ...]) -> tuple[int, int]:
    """Return height and width of an image after its resize."""
    height, width = image
    if len(resize) == 2:
        return resize[0], resize[1]
    if len(resize) == 1:
        short = resize[0]
        return (
            (height * short // width, short) if width < height else (short, width * short // height)
        )
    return image
