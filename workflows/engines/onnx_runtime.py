"""ONNX Runtime, on the processor."""

from __future__ import annotations

import numpy as np

from .registry import ENGINES, Arrays, Engine, Job, Run


def _load(job: Job) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    # Two networks take turns: threads of one that spin while they wait take cores from the other.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        str(job.files[".onnx"]), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_outputs()]
    feeds = {name: np.asarray(array) for name, array in job.inputs.items()}

    def run() -> Arrays:
        return dict(zip(names, session.run(names, feeds), strict=True))

    return run


def _version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)


ENGINES.add(
    "onnxruntime",
    entry=Engine(
        name="onnxruntime",
        summary="ONNX Runtime on the processor",
        modules={"onnxruntime": "onnxruntime"},
        reads=("onnx",),
        load=_load,
        version=_version,
    ),
)
