"""MNN, on the processor. Its own converter takes the files of Caffe, or ONNX.

NOTE for developers: `_tools` is the converter itself. `MNN.tools` would install a further package
when it is imported, and report what was converted to its makers.
"""

from __future__ import annotations

import numpy as np

from .registry import ENGINES, Arrays, Engine, Job, Run


def _load(job: Job) -> Run:
    from MNN import expr, nn

    path = _converted(job)
    settings = ({"backend": 0, "numThread": job.threads, "precision": "high"},)
    network = nn.load_module_from_file(
        path,
        list(job.inputs),
        list(job.outputs),
        runtime_manager=nn.create_runtime_manager(settings),
    )
    feeds = [
        expr.const(np.ascontiguousarray(array), list(array.shape), expr.NCHW)
        for array in job.inputs.values()
    ]

    def run() -> Arrays:
        found = network.forward(feeds)  # what is read is computed only then
        return {
            name: np.array(expr.convert(value, expr.NCHW).read(), copy=True)
            for name, value in zip(job.outputs, found, strict=True)
        }

    return run


def _converted(job: Job) -> str:
    """Return the path of the network in MNN's own format."""
    import _tools

    path = job.folder / "model.mnn"
    files = (
        ["-f", "CAFFE", "--modelFile", str(job.files[".caffemodel"]),
         "--prototxt", str(job.files[".prototxt"])]
        if job.format == "caffe" else ["-f", "ONNX", "--modelFile", str(job.files[".onnx"])]
    )  # fmt: skip
    _tools.mnnconvert(["mnnconvert", *files, "--MNNModel", str(path), "--bizCode", "secateur"])
    if not path.is_file():
        raise ValueError("its converter wrote no network")
    return str(path)


def _version() -> str:
    from MNN import version

    return str(version())


ENGINES.add(
    "mnn",
    entry=Engine(
        name="mnn",
        summary="MNN on the processor",
        modules={"MNN": "MNN"},
        reads=("caffe", "onnx"),
        load=_load,
        version=_version,
    ),
)
