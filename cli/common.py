"""Parameters that several commands take besides options, with the words of their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from .flags import Panel

__all__ = ["AsJson", "Companion", "Data", "File", "Output", "Val"]

File = Annotated[
    Path,
    Parameter(
        name="FILE",
        required=True,
        help="The files of the model, in any order: .prototxt and .caffemodel, .cfg and .weights, "
        "or .onnx; or a folder with one model. Files may be packed (.gz).",
    ),
]
Output = Annotated[
    Path,
    Parameter(
        name=("--output", "-o"),
        help="Folder to write to, or a file that names the output itself.",
    ),
]
Data = Annotated[
    Path | None,
    Parameter(
        help="Images or .npz, for calibration, verification and measurements. Of a .data file: "
        "the images of train=. synthetic: images made up, where there are none.",
        group=Panel.DATA,
    ),
]
Val = Annotated[
    Path | None,
    Parameter(
        help="Data to measure on, by labels or else against the original. Without it: --data, or "
        "the valid= of a .data file.",
        group=Panel.DATA,
    ),
]
Companion = Annotated[
    list[Path] | None,
    Parameter(
        metavar="FILE",
        help="Another prototxt or cfg for the same weights (a train_val), pruned with the model: "
        "layers of its own are cut, and channels that it needs stay. May be repeated.",
    ),
]
AsJson = Annotated[bool, Parameter(name="--json", help="Print JSON instead of tables.")]
