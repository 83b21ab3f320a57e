"""Data, ImageData, MemoryData, HDF5Data, WindowData, AnnotatedData: inputs from files.

Source: caffe.proto TransformationParameter, DataParameter, …; data_transformer.cpp;
upgrade_proto.cpp UpgradeNetDataTransformation (BVLC 9b89154). They store no blobs.
The first top becomes a graph input; labels have no value, and what reads only them is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import onnx_ir as ir

from ....core.errors import UnsupportedError
from ....core.ir.network import Preprocess
from ...adapter import REQUIRED
from ..layer import CaffeBuilder, Example, Handling, Layer, key, layer


@dataclass(frozen=True, kw_only=True, slots=True)
class Transformed(Layer):
    """What every layer that makes inputs of images shares. `mirror` counts in training alone."""

    scale: float = key(1.0, "/transform_param.scale", "scale")
    mean_value: tuple[float, ...] = key((), "/transform_param.mean_value")
    mean_file: str = key("", "/transform_param.mean_file", "mean_file")
    crop_size: int = key(0, "/transform_param.crop_size", "crop_size")
    mirror: bool = key(False, "/transform_param.mirror", "mirror")  # noqa: FBT003
    force_color: bool = key(False, "/transform_param.force_color")  # noqa: FBT003
    force_gray: bool = key(False, "/transform_param.force_gray")  # noqa: FBT003
    resize_height: int = key(0, "/transform_param.resize_param.height")
    resize_width: int = key(0, "/transform_param.resize_param.width")

    def image(self) -> tuple[int, int, int] | None:
        """Return channels, height and width where the fields tell them all."""
        channels = self.channels()
        height, width = self.crop_size or self.resize_height, self.crop_size or self.resize_width
        return (channels, height, width) if channels and height and width else None

    def like(self, other: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the shape of another net's images, but for what the fields tell."""
        if len(other) != 3:
            return other or None
        stated = self.resize() or other[1:]
        height, width = (self.crop_size or size for size in stated)
        return (self.channels() or other[0], height, width)

    def channels(self) -> int:
        """Return the number of channels, 0 where it is not known."""
        if self.force_gray:
            return 1
        return 3 if self.force_color or len(self.mean_value) == 3 else 0

    def preprocess(self) -> Preprocess | None:
        """Return what `transform_param` says."""
        gray = self.force_gray or self.channels() == 1
        return Preprocess(
            channels="gray" if gray else "bgr",
            mean=self.mean_value,
            scale=self.scale,
            mean_file=self.mean_file,
            crop=bool(self.crop_size),
            resize=self.resize(),
        )

    def resize(self) -> tuple[int, ...]:
        """Return height and width that images have before the crop; empty for their own."""
        stated = self.resize_height, self.resize_width
        return stated if all(stated) else ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FromFiles(Transformed):
    """What every layer that reads images shares."""

    batch_size: int = key(1)
    place: int = 0
    """Which top holds the images."""

    bottom_range: ClassVar = (0, 0)
    top_range: ClassVar = (1, None)

    def absent(self) -> list[int]:
        """Return the positions of the labels."""
        return [k for k in range(len(self.tops)) if k != self.place]

    def to_ir(self, b: CaffeBuilder) -> tuple[ir.Value | None, ...]:
        """Declare the input; other tops are absent, but for those whose shape the user gives."""
        top, shapes = self.tops[self.place], b.reading.input_shapes
        shape = shapes.get(top) or self.image() or self.like(b.reading.like)
        if shape is None:
            raise UnsupportedError(
                f"the shape of '{top}' stands in the data, not in this file",
                hint=f"--input-shape {top}=C,H,W",
            )
        known = {**{t: shapes[t] for t in self.tops if t in shapes}, top: shape}
        batch = max(1, self.batch_size)
        return tuple(b.input(t, (batch, *known[t])) if t in known else None for t in self.tops)


@layer("Data", "AnnotatedData", "LMDBData")
@dataclass(frozen=True, kw_only=True, slots=True)
class Data(FromFiles):
    """Images and labels from a database."""

    param: ClassVar = "data_param"
    example: ClassVar = Example(
        handling=Handling.INPUT,
        bottoms=(),
        tops=("data", "label"),
        text="""
  data_param { batch_size: 2 }
  transform_param { crop_size: 8 mean_value: 104 mean_value: 117 mean_value: 123 }""",
    )


@layer("ImageData")
@dataclass(frozen=True, kw_only=True, slots=True)
class ImageData(FromFiles):
    """Images and labels from a list of files."""

    new_height: int = key(0)
    new_width: int = key(0)
    is_color: bool = key(default=True)

    param: ClassVar = "image_data_param"
    example: ClassVar = Example(
        handling=Handling.INPUT,
        bottoms=(),
        tops=("data", "label"),
        text="image_data_param { batch_size: 2 new_height: 8 new_width: 8 }",
    )

    def channels(self) -> int:
        """Return the number of channels, 0 where it is not known."""
        return 3 if self.is_color else 1

    def image(self) -> tuple[int, int, int] | None:
        """Return channels, height and width where the fields tell them all."""
        height, width = self.crop_size or self.new_height, self.crop_size or self.new_width
        return (self.channels(), height, width) if height and width else None

    def resize(self) -> tuple[int, ...]:
        """Return the new size."""
        return (self.new_height, self.new_width) if self.new_height and self.new_width else ()


@layer("DenseImageData")
@dataclass(frozen=True, kw_only=True, slots=True)
class DenseImageData(ImageData):
    """Images and maps of labels from a list of files, of the forks for SegNet and ENet."""

    param: ClassVar = "dense_image_data_param"
    example: ClassVar = Example(
        handling=Handling.INPUT,
        bottoms=(),
        tops=("data", "label"),
        text="dense_image_data_param { batch_size: 2 new_height: 8 new_width: 8 }",
    )


@layer("WindowData")
@dataclass(frozen=True, kw_only=True, slots=True)
class WindowData(FromFiles):
    """Windows cut out of images; always in colour."""

    param: ClassVar = "window_data_param"
    example: ClassVar = Example(
        handling=Handling.INPUT,
        bottoms=(),
        tops=("data", "label"),
        text="window_data_param { batch_size: 2 } transform_param { crop_size: 8 }",
    )

    def channels(self) -> int:
        """Return the number of channels, 0 where it is not known."""
        return 3


@layer("HDF5Data")
@dataclass(frozen=True, kw_only=True, slots=True)
class HDF5Data(FromFiles):
    """Arrays from HDF5 files."""

    param: ClassVar = "hdf5_data_param"
    example: ClassVar = Example(
        handling=Handling.INPUT,
        bottoms=(),
        tops=("data", "label"),
        text="hdf5_data_param { batch_size: 2 }",
        input_shapes={"data": (3, 8, 8)},
    )


@layer("MemoryData")
@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryData(FromFiles):
    """Images handed over by a program."""

    count: int = key(REQUIRED, "channels")
    height: int = key(REQUIRED)
    width: int = key(REQUIRED)

    param: ClassVar = "memory_data_param"
    example: ClassVar = Example(
        handling=Handling.INPUT,
        bottoms=(),
        tops=("data", "label"),
        text="memory_data_param { batch_size: 2 channels: 3 height: 8 width: 8 }",
    )

    def channels(self) -> int:
        """Return the number of channels, 0 where it is not known."""
        return self.count

    def image(self) -> tuple[int, int, int] | None:
        """Return channels, height and width where the fields tell them all."""
        return (self.count, self.height, self.width)


def with_images(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return the layers of a net, in which each that reads HDF5 files knows which top is an image.

    Its tops name data sets in any order. It is the first one that weights multiply.
    """
    weighed = {bottom for layer in layers if layer.stored() for bottom in layer.bottoms}
    found = []
    for each in layers:
        if isinstance(each, HDF5Data):
            place = next((k for k, top in enumerate(each.tops) if top in weighed), 0)
            each = replace(each, place=place)
        found.append(each)
    return tuple(found)
