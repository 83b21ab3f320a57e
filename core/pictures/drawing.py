"""Drawing findings on pictures: boxes with names, coloured maps, pictures side by side."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..data.base import Frame
from .findings import Boxes, ClassMap, Finding, class_name
from .images import Picture

__all__ = ["colour_of", "drawn", "encoded", "side_by_side"]

LARGEST, SMALLEST = 1280, 224
"""Pixels of the longer side of a picture that is drawn on: larger ones are made smaller, and
smaller ones larger, so that names can be read."""

GOLDEN = 0.618034
"""Step of the hue from class to class: neighbouring classes get colours far apart."""

SHOWN = 12
"""Classes that the legend of a map has at most: the largest ones."""

VEIL = 0.55
"""How much of a pixel's colour is that of its class."""


def colour_of(number: int) -> tuple[int, int, int]:
    """Return the colour of a class: bright, and another for each of many classes."""
    hue = (0.02 + number * GOLDEN) % 1.0
    value = (0.95, 0.75, 0.85)[number % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, value)
    return int(255 * red), int(255 * green), int(255 * blue)


def drawn(
    picture: Picture,
    finding: Finding,
    names: Sequence[str] = (),
    *,
    beside: Finding | None = None,
    largest: int = LARGEST,
) -> Image.Image:
    """Return a picture with what a network finds in it.

    Boxes and maps are drawn; classes are told beside a picture, not in it.

    Args:
        picture: H×W×3.
        finding: in it.
        names: of the classes.
        beside: what another network finds: boxes that both find are thin then, without a name.
        largest: pixels of the longer side at most.
    """
    seen = _veiled(picture, finding) if isinstance(finding, ClassMap) else picture
    image = Image.fromarray(seen)
    height, width = picture.shape[:2]
    longest = max(height, width)
    wanted = min(max(longest, min(SMALLEST, largest)), largest)
    scale = wanted / longest
    if scale != 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        smooth = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
        image = image.resize(size, smooth)
    if isinstance(finding, Boxes):
        every = frozenset(range(len(finding.found)))
        named = finding.alone(beside) if isinstance(beside, Boxes) else every
        _draw_boxes(image, finding, names, scale, named)
    elif isinstance(finding, ClassMap):
        image = _with_legend(image, finding, names)
    return image


def _veiled(picture: Picture, finding: ClassMap) -> Picture:
    """Return a picture with the colour of its class over every pixel that the network saw."""
    numbers = np.unique(finding.classes)
    table = np.zeros((int(numbers.max()) + 1, 3), np.uint8)
    for number in numbers.tolist():
        table[number] = colour_of(number)
    frame = finding.frame or Frame(width=1, height=1)
    rows, seen_rows = _places(picture.shape[0], finding.classes.shape[0], frame.top, frame.bottom)
    columns, seen = _places(picture.shape[1], finding.classes.shape[1], frame.left, frame.right)
    colours = table[finding.classes[rows[:, None], columns[None]]]
    veil = VEIL * (seen_rows[:, None] & seen[None])[:, :, None].astype(np.float32)
    return np.asarray(picture * (1 - veil) + colours * veil).astype(np.uint8)


def _places(pixels: int, cells: int, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which cell of a map lies over each pixel of a picture, and whether one does.

    Args:
        pixels: along one side of the picture.
        cells: along that side of the map.
        start: where the picture begins in the network's input, in parts of it.
        end: where it ends.
    """
    middle = start + (np.arange(pixels) + 0.5) / pixels * (end - start)
    found = np.floor(middle * cells).astype(np.int64)
    return np.clip(found, 0, cells - 1), (found >= 0) & (found < cells)


def _draw_boxes(
    image: Image.Image,
    finding: Boxes,
    names: Sequence[str],
    scale: float,
    named: frozenset[int],
) -> None:
    """Draw boxes, the best ones last; `named` ones with class and score, others thin."""
    pen = ImageDraw.Draw(image)
    longest = max(image.size)
    font = ImageFont.load_default(size=max(11, longest // 50))
    line = max(2, longest // 300)
    found = finding.found
    edges = np.clip(
        np.nan_to_num(found.boxes * scale, nan=0.0), 0, np.array([*image.size, *image.size]) - 1
    )
    order = np.argsort(found.scores, kind="stable").tolist()
    for place in sorted(order, key=lambda one: one in named):
        x0, y0, x1, y1 = (float(edge) for edge in edges[place])
        colour = colour_of(int(found.classes[place]))
        pen.rectangle(
            (x0, y0, max(x0, x1), max(y0, y1)), outline=colour, width=line if place in named else 1
        )
        if place not in named:
            continue
        text = f"{class_name(int(found.classes[place]), names)}: {100 * found.scores[place]:.0f} %"
        _label(pen, (x0, y0), text, colour, font, image.width)


def _label(
    pen: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    most: int,
) -> None:
    """Write a text on its colour above a corner, or below it at the upper edge; `most` is right."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    width, height = right - left + 6, bottom - top + 6
    x = max(0.0, min(corner[0], most - width))
    y = corner[1] - height if corner[1] >= height else corner[1]
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    ink = (0, 0, 0) if bright else (255, 255, 255)
    pen.text((x + 3 - left, y + 3 - top), text, fill=ink, font=font)


def _with_legend(image: Image.Image, finding: ClassMap, names: Sequence[str]) -> Image.Image:
    """Return a picture with the colours of its largest classes and their names below it."""
    font = ImageFont.load_default(size=max(11, image.width // 45))
    pen = ImageDraw.Draw(image)
    high = int(pen.textbbox((0, 0), "Ag", font=font)[3]) + 8
    x, y, entries = 4, image.height + 4, []
    for row in finding.rows(names)[:SHOWN]:
        number, name = int(str(row["class"])), str(row["name"])
        wide = high + int(pen.textlength(name, font=font)) + 12
        if x + wide > image.width and x > 4:
            x, y = 4, y + high
        entries.append((x, y, number, name))
        x += wide
    whole = Image.new("RGB", (image.width, y + high), "white")
    whole.paste(image, (0, 0))
    pen = ImageDraw.Draw(whole)
    for x, y, number, name in entries:
        pen.rectangle((x, y, x + high - 6, y + high - 6), fill=colour_of(number))
        pen.text((x + high, y), name, fill="black", font=font)
    return whole


def side_by_side(images: Sequence[Image.Image], gap: int = 8) -> Image.Image:
    """Return images beside each other on white."""
    width = sum(image.width for image in images) + gap * (len(images) - 1)
    whole = Image.new("RGB", (width, max(image.height for image in images)), "white")
    x = 0
    for image in images:
        whole.paste(image, (x, 0))
        x += image.width + gap
    return whole


def encoded(image: Image.Image, form: str = "WEBP", quality: int = 70) -> bytes:
    """Return an image as the bytes of a file.

    Args:
        image: the image.
        form: "WEBP", "JPEG" or "PNG".
        quality: 1…95, of the first two.
    """
    file = io.BytesIO()
    image.save(file, form, quality=quality)
    return file.getvalue()
