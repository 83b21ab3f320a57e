"""A tiny network by which a device is tried: a convolution, which needs its libraries."""

from __future__ import annotations

import ctypes
import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from ..ir.network import OPSET
from .device import CPU_PROVIDER, Place
from .placed import FAILURES, FATAL, Make, made_on, reason_of, session_of

__all__ = ["fault"]

SIDE = 4
"""Rows and columns of the image."""

WEIGHT = np.array([0.5, -0.25], np.float32).reshape(1, 2, 1, 1)
"""One output channel of two inputs: exact in any precision."""

TOLERANCE = 1e-3
"""Largest difference of what a device computes, of values below 1. Numbers that are rounded to the
10 bits of TF32 or float16 pass; what is wrong does not."""

NO_NODE = "fallback to CPU EP has been explicitly disabled"
"""What onnxruntime says where a provider takes none of the nodes."""

IR_VERSION = 8
"""Of the model: old enough for every onnxruntime that is asked for."""


def fault(place: Place) -> str:
    """Return why a device does not compute a convolution; "" where it does.

    What onnxruntime logs of providers is off from here on: it would come with every session.
    """
    onnxruntime.set_default_logger_severity(FATAL)
    if any(name in place.provider for name in ("CUDA", "Tensorrt")):
        _preload()
    model, data = _trial()
    session = made_on(place, _maker(model, alone=True))
    if isinstance(session, str):
        return _why(place, model, session)
    try:
        result = session.run(None, {"x": data})[0]
    except FAILURES as error:
        return reason_of(error)
    right = (data * WEIGHT).sum(axis=1, keepdims=True)
    apart = float(np.abs(np.asarray(result) - right).max())
    return "" if apart <= TOLERANCE else f"its results are wrong by {apart:.3g}"


def _why(place: Place, model: bytes, reason: str) -> str:
    """Return why a device does not take the model, where onnxruntime's reason is what follows."""
    if NO_NODE not in reason:
        return reason
    if not isinstance(made_on(place, _maker(model)), str):
        return "it computes no convolution"
    missing = _missing_library(place)
    return missing or "ONNX Runtime finds no such device, or not what it needs for it"


def _missing_library(place: Place) -> str:
    """Return what is said of a library that a provider needs and that is not there; "" for none.

    onnxruntime only logs it.
    """
    name = f"libonnxruntime_providers_{place.name}.so"
    path = Path(onnxruntime.__file__).parent / "capi" / name
    if not path.exists():
        return ""
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        return str(error) if "cannot open shared object file" in str(error) else ""
    return ""


def _trial() -> tuple[bytes, np.ndarray]:
    """Return a convolution as a model, and its input [1, 2, SIDE, SIDE]."""
    shape, out = [1, 2, SIDE, SIDE], [1, 1, SIDE, SIDE]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "trial",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    data = np.linspace(-1, 1, 2 * SIDE * SIDE, dtype=np.float32).reshape(shape)
    return model.SerializeToString(), data


def _maker(model: bytes, *, alone: bool = False) -> Make:
    """Return what makes a session of a model.

    Args:
        model: the model.
        alone: whether it must be computed on the device. Otherwise onnxruntime computes on the
            processor what a provider does not take, and says nothing.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    if alone:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")

    def make(providers: Sequence[Any]) -> onnxruntime.InferenceSession:
        asked = [one for one in providers if not alone or one[0] != CPU_PROVIDER]
        return session_of(model, options, asked)

    return make


def _preload() -> None:
    """Load CUDA's libraries from the packages that pip installs them with, where they are there.

    ONNX Runtime prints what it does not find. What is missing shows when the device is tried.
    """
    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload is not None:
        with redirect_stdout(io.StringIO()):
            preload()
