"""OpenCV's dnn module. Release 4 reads the files of Caffe and Darknet themselves; 5 reads ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from .registry import ENGINES, Arrays, Engine, Job, Run


def _load(job: Job) -> Run:
    import cv2

    cv2.setNumThreads(job.threads)
    network = _read(cv2, job)
    for name, array in job.inputs.items():
        # Darknet's input has no name that users know; a network of one input needs none.
        network.setInput(np.asarray(array), "" if len(job.inputs) == 1 else name)
    names = list(network.getUnconnectedOutLayersNames())

    def run() -> Arrays:
        return dict(zip(names, network.forward(names), strict=True))

    return run


def _read(cv2: Any, job: Job) -> Any:
    """Return the network of a job's files."""
    readers = {
        "caffe": ("readNetFromCaffe", ".prototxt", ".caffemodel"),
        "darknet": ("readNetFromDarknet", ".cfg", ".weights"),
        "onnx": ("readNetFromONNX", ".onnx"),
    }
    name, *suffixes = readers[job.format]
    reader = getattr(cv2.dnn, name, None)
    if reader is None:
        raise ValueError(f"OpenCV {cv2.__version__} reads no files of {job.format}")
    return reader(*(str(job.files[suffix]) for suffix in suffixes))


def _version() -> str:
    import cv2

    return str(cv2.__version__)


ENGINES.add(
    "opencv",
    entry=Engine(
        name="opencv",
        summary="OpenCV's dnn module on the processor",
        modules={"cv2": "opencv-python-headless"},
        reads=("caffe", "darknet", "onnx"),
        load=_load,
        version=_version,
    ),
)
