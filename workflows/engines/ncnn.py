"""ncnn, on the processor. Its package reads only its own format; `pnnx` makes that of ONNX."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from .registry import ENGINES, Arrays, Engine, Job, Run

CONVERSION = 120
"""Seconds that a conversion may take."""


def _load(job: Job) -> Run:
    import ncnn

    param, weights = _converted(job)
    network = ncnn.Net()
    network.opt.num_threads = job.threads
    for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(network.opt, name, False)
    if network.load_param(str(param)) or network.load_model(str(weights)):
        raise ValueError("it has not all operators of the converted network")
    # Without an axis for samples; in the order in which the converter names them: in0, in1, …
    feeds = [ncnn.Mat(np.ascontiguousarray(array[0])).clone() for array in job.inputs.values()]
    names = list(zip(network.input_names(), feeds, strict=True))

    def run() -> Arrays:
        extractor = network.create_extractor()
        for name, feed in names:
            extractor.input(name, feed)
        found = {}
        for number, name in enumerate(network.output_names()):
            failed, value = extractor.extract(name)
            if failed:
                raise ValueError(f"it failed at output '{name}'")
            found[job.outputs[number]] = np.array(value)
        return found

    return run


def _converted(job: Job) -> tuple[Path, Path]:
    """Return the paths of the network in ncnn's own format."""
    import pnnx

    if any(array.ndim < 2 or len(array) != 1 for array in job.inputs.values()):
        raise ValueError("it takes one sample at once")
    sizes = ",".join(f"[{','.join(map(str, array.shape))}]" for array in job.inputs.values())
    model = job.folder / "model.onnx"
    model.write_bytes(job.files[".onnx"].read_bytes())  # the converter writes beside its input
    if ".onnx.data" in job.files:
        raise ValueError("the converter takes no weights in a file of their own")
    done = subprocess.run(  # noqa: S603
        [pnnx.EXEC_PATH, str(model), f"inputshape={sizes}"],
        cwd=job.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        timeout=CONVERSION, check=False,
    )  # fmt: skip
    found = job.folder / "model.ncnn.param", job.folder / "model.ncnn.bin"
    if done.returncode or not all(path.is_file() for path in found):
        raise ValueError("pnnx could not convert the ONNX file")
    return found


def _version() -> str:
    from importlib.metadata import version

    return version("ncnn")


ENGINES.add(
    "ncnn",
    entry=Engine(
        name="ncnn",
        summary="ncnn on the processor",
        modules={"ncnn": "ncnn", "pnnx": "pnnx"},
        reads=("onnx",),
        load=_load,
        version=_version,
    ),
)
