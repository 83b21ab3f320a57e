"""Data layers for training a net: their text, from what is known of its images.

Source: caffe.proto `TransformationParameter`, `DataParameter`, `HDF5DataParameter` (BVLC 9b89154);
`AnnotatedDataParameter` and `ResizeParameter` of the SSD fork, with the settings of its example
`ssd_pascal.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...core.ir.network import Preprocess
from ..emission import FILL
from .derived_loss import Derived, Feed
from .new_layer import NewLayer, quoted

__all__ = ["Feeding", "feeding"]

LARGE = 128 * 128
"""Pixels from which on batches are smaller."""
OVERLAPS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Overlaps of the windows that SSD draws. Source: ssd_pascal.py `batch_sampler`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Feeding:
    """Data layers of both phases.

    Args:
        layers: them.
        fill_in: what the user must fill in, each a line.
        notes: what the user must know.
        batch: images of a pass of training, and of testing.
    """

    layers: tuple[NewLayer, ...]
    fill_in: tuple[str, ...]
    notes: tuple[str, ...] = ()
    batch: tuple[int, int]


def feeding(
    image: str, shape: Sequence[int], derived: Derived, preprocess: Preprocess, layer: str
) -> Feeding:
    """Return the data layers for a loss.

    Args:
        image: name of the blob with the images.
        shape: of an image: C, H, W, or of other sizes.
        derived: the loss.
        preprocess: how images become inputs.
        layer: a name for the layers.
    """
    if derived.feed is Feed.ARRAYS or len(shape) != 3:
        return _arrays(image, shape, derived, layer)
    small = shape[1] * shape[2] < LARGE
    batch = (64, 100) if small else (32, 25)
    boxes = derived.feed is Feed.BOXES
    batch = (32, 8) if boxes else batch
    layers = tuple(
        NewLayer(
            name=layer, type="AnnotatedData" if boxes else "Data", tops=(image, derived.label),
            phase=phase, fields=(
                _transform(phase, shape, preprocess, boxes=boxes),
                f'data_param {{ source: "{FILL}/{phase.lower()}_lmdb" batch_size: {size} '
                "backend: LMDB }",
                _annotated(phase) if boxes else "",
            ),
        )
        for phase, size in zip(("TRAIN", "TEST"), batch, strict=True)
    )  # fmt: skip
    kind = "images and boxes (create_annoset)" if boxes else "images and classes (convert_imageset)"
    fill = [f"train_val.prototxt: {FILL}/train_lmdb and {FILL}/test_lmdb, your databases of {kind}"]
    if boxes:
        fill.append(f"train_val.prototxt: {FILL}/labelmap.prototxt, the names of the classes")
    fill += _transform_unknown(preprocess)
    return Feeding(
        layers=layers, fill_in=tuple(fill), batch=batch,
        notes=_image_notes(shape, preprocess, boxes=boxes),
    )  # fmt: skip


def _arrays(image: str, shape: Sequence[int], derived: Derived, layer: str) -> Feeding:
    """Return layers that read arrays."""
    batch = (32, 32)
    layers = tuple(
        NewLayer(
            name=layer, type="HDF5Data", tops=(image, derived.label), phase=phase,
            fields=(f'hdf5_data_param {{ source: "{FILL}/{phase.lower()}_h5.txt" batch_size: '
                    f"{size} }}",),
        )
        for phase, size in zip(("TRAIN", "TEST"), batch, strict=True)
    )  # fmt: skip
    of = derived.shape or "1 number, that of the class"
    sizes = "×".join(map(str, shape))
    return Feeding(
        layers=layers, batch=batch, fill_in=(
            f"train_val.prototxt: {FILL}/train_h5.txt and {FILL}/test_h5.txt, texts with the name "
            f"of an HDF5 file a line; each holds '{image}' (samples×{sizes}) and "
            f"'{derived.label}' (for each sample {of}), both float32",
        ),
        notes=(
            f"'{image}' holds what the net takes: means are subtracted and scales multiplied "
            "before, since Caffe does neither to HDF5 files",
        ),
    )  # fmt: skip


def _transform(phase: str, shape: Sequence[int], preprocess: Preprocess, *, boxes: bool) -> str:
    """Return transform_param."""
    training = phase == "TRAIN"
    lines = []
    if boxes:
        lines += [
            *(["mirror: true"] if training else []),
            f"resize_param {{ prob: 1 resize_mode: WARP height: {shape[1]} width: {shape[2]} "
            "interp_mode: LINEAR }",
            *(["emit_constraint { emit_type: CENTER }"] if training else []),
        ]
    elif shape[1] == shape[2]:
        lines += [f"crop_size: {shape[1]}"]
    if shape[0] in (1, 3):  # how packed images are unpacked, whatever they hold
        lines.append("force_gray: true" if shape[0] == 1 else "force_color: true")
    if preprocess.mean_file:
        lines.append(f"mean_file: {quoted(preprocess.mean_file)}")
    else:
        lines += [f"mean_value: {mean:.9g}" for mean in preprocess.mean]
    if preprocess.scale != 1:
        lines.append(f"scale: {preprocess.scale:.9g}")
    if not lines:
        return ""
    text = "\n".join(f"    {line}" for line in lines)
    return f"transform_param {{\n{text}\n  }}"


def _annotated(phase: str) -> str:
    """Return annotated_data_param, with the windows that SSD draws in training."""
    lines = [f'label_map_file: "{FILL}/labelmap.prototxt"']
    if phase == "TRAIN":
        sampler = (
            "sampler { min_scale: 0.3 max_scale: 1 min_aspect_ratio: 0.5 max_aspect_ratio: 2 }"
        )
        lines.append("batch_sampler { max_sample: 1 max_trials: 1 }")
        lines += [
            f"batch_sampler {{ {sampler} sample_constraint {{ min_jaccard_overlap: {overlap} }} "
            "max_sample: 1 max_trials: 50 }"
            for overlap in OVERLAPS
        ]
    text = "\n".join(f"    {line}" for line in lines)
    return f"annotated_data_param {{\n{text}\n  }}"


def _transform_unknown(preprocess: Preprocess) -> list[str]:
    """Return what to fill in where nothing says how images become inputs."""
    if preprocess.mean or preprocess.mean_file or preprocess.scale != 1:
        return []
    return [
        "train_val.prototxt, transform_param: mean_value and scale of your images, if there are "
        "any: no file says them (--mean and --scale of secateur prune write them)"
    ]


def _image_notes(shape: Sequence[int], preprocess: Preprocess, *, boxes: bool) -> tuple[str, ...]:
    """Return what must be true of the images in the database."""
    height, width = shape[1:]
    notes = []
    if not boxes:
        size = f"--resize_height={height} --resize_width={width}"
        if height == width:
            notes.append(
                f"images in the databases must be at least {height}×{width}; larger ones are "
                "cropped, at random in training. Random mirroring is off: add mirror: true to the "
                "TRAIN layer where left and right mean the same"
            )
        else:
            notes.append(
                f"images in the databases must be {height}×{width}: convert_imageset {size}"
            )
    if shape[0] == 1:
        notes.append("the net reads grey images: convert_imageset --gray")
    if preprocess.channels == "rgb":
        notes.append(
            "the net reads red, green, blue; convert_imageset writes blue, green, red. Swap the "
            "channels of your images before you make the databases"
        )
    if preprocess.letterbox:
        notes.append(
            "images are padded to the shape of the net, which Caffe's data layers do not do: pad "
            "them before you make the databases"
        )
    return tuple(notes)
