"""The layers of a network as files to time on another machine, with the program that does it."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path

from ..core.cost.layer_models import layer_models
from ..core.coupling import find_groups
from ..core.errors import FormatError, PlanError, located
from ..core.files import write_whole
from ..core.ir.network import Network
from ..core.ir.windows import restored
from ..core.progress import Progress, silent

__all__ = ["ExportedLayers", "export_layers"]

PROGRAM = Path(__file__).with_name("time_layers.py")
"""The program: a file of this package that needs nothing of it."""

TABLE = "layers.csv"
"""Which file holds which layer at which numbers of channels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedLayers:
    """What was written.

    Args:
        program: the program that times the layers.
        layers: how many layers are timed.
        files: ONNX files: layers that are alike share theirs.
        size: their bytes.
    """

    program: Path
    layers: int
    files: int
    size: int


def export_layers(
    network: Network, folder: str | os.PathLike[str], progress: Progress = silent
) -> ExportedLayers:
    """Write every layer that multiplies channels, at several numbers of them, to a new folder.

    Args:
        network: the network.
        folder: a new folder, or an empty one.
        progress: reports every file.

    Raises:
        PlanError: the network has no such layer.
        FormatError: the folder is not empty, or cannot be written.
    """
    network = restored(network)
    models = layer_models(network, find_groups(network))
    if not models:
        raise PlanError("no layer of this network multiplies channels: there is nothing to time")
    target = Path(folder)
    with located(file=str(folder)):
        try:
            target.mkdir(parents=True, exist_ok=True)
            taken = any(target.iterdir())
        except OSError as error:
            raise FormatError(f"cannot be written: {error.strerror or error}") from error
        if taken:
            raise FormatError("this folder is not empty", hint="name a new one for the layers")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["layer", "inputs", "outputs", "samples", "file"])
    files = size = 0
    total = sum(len(model.counts()) for model in models)
    for number, model in enumerate(models, 1):
        for inputs, outputs in model.counts():
            progress("writing layers", files, total)
            name = f"{number:03d}-{inputs}x{outputs}.onnx"
            content = model.model(inputs, outputs).SerializeToString()
            write_whole(target / name, content, error=FormatError)
            files, size = files + 1, size + len(content)
            for layer in model.layers:
                writer.writerow([layer, inputs, outputs, model.samples, name])
    progress("writing layers", total, total)
    write_whole(target / TABLE, text.getvalue().encode(), error=FormatError)
    write_whole(target / PROGRAM.name, PROGRAM.read_bytes(), error=FormatError)
    return ExportedLayers(
        program=target / PROGRAM.name,
        layers=sum(len(model.layers) for model in models), files=files, size=size,
    )  # fmt: skip
