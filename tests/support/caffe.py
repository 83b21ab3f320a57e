"""What the Caffe tests share: the golden cases and models, running them, comparing outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from conftest import SHARED

GOLDEN = SHARED / "golden" / "caffe"


def cases() -> list[dict[str, Any]]:
    """Return the entries of the index; empty where the golden cases are not there."""
    index = GOLDEN / "index.json"
    return json.loads(index.read_text())["cases"] if index.is_file() else []


def malformed() -> dict[str, dict[str, Any]]:
    """Return the broken cases by name; empty where they are not there."""
    index = GOLDEN / "malformed" / "expected.json"
    return json.loads(index.read_text()) if index.is_file() else {}


def run(model: ir.Model, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a model with onnxruntime; inputs that it does not have are left out."""
    onnxruntime.set_default_logger_severity(4)
    session = onnxruntime.InferenceSession(
        ir.serde.serialize_model(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    wanted = {i.name: feed[i.name] for i in session.get_inputs()}
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, wanted), strict=True))


def difference(got: np.ndarray, want: np.ndarray, tolerance: float) -> str:
    """Return in what way `got` is not what Caffe gave, "" where it is (README of the cases)."""
    if got.shape != want.shape:
        return f"shape {got.shape}, want {want.shape}"
    if not np.array_equal(np.isnan(got), np.isnan(want)):
        return "NaN does not meet NaN"
    huge = np.abs(want) > 1e30
    if (np.sign(got[huge]) != np.sign(want[huge])).any() or (np.abs(got[huge]) <= 1e30).any():
        return "a value beyond 1e30 does not meet one"
    normal = ~np.isnan(want) & ~huge
    off = float(np.abs(got[normal] - want[normal]).max(initial=0))
    scale = float(np.abs(want[normal]).max(initial=0))
    return f"off by {off} of {scale}" if off > tolerance * scale else ""


def models() -> list[tuple[Path, Path]]:
    """Return prototxt and caffemodel of every real model; empty where they are not there."""
    found = []
    for prototxt in sorted((SHARED / "models").glob("*/*.prototxt")):
        weights = sorted(prototxt.parent.glob("*.caffemodel"))
        own = [path for path in weights if path.stem == prototxt.stem] or weights
        found.append((prototxt, own[0]))
    return found
