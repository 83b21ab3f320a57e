"""What the training tests share: the golden cases, and running them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from conftest import SHARED, lacking

GOLDEN = SHARED / "golden" / "training"


def need_torch() -> Any:
    """Return PyTorch on one thread; skip where it is not installed."""
    if importlib.util.find_spec("torch") is None:
        lacking("PyTorch is not installed: pip install 'secateur[train]'")
    import torch

    torch.set_num_threads(1)
    return torch


def cases(engine: str) -> list[dict[str, Any]]:
    """Return the entries of an index; empty where the golden cases are not there."""
    index = GOLDEN / engine / "index.json"
    return json.loads(index.read_text())["cases"] if index.is_file() else []


def folder(engine: str, case: Mapping[str, Any]) -> Path:
    """Return the folder of a case."""
    return GOLDEN / engine / str(case["dir"])


def difference(got: Any, want: np.ndarray, tolerance: float, least: float) -> str:
    """Return in what way an array is not what the engine gave; "" where it is.

    Args:
        got: an array or a tensor.
        want: the engine's.
        tolerance: of the case.
        least: smallest size that the tolerance is a part of.
    """
    array = np.asarray(got.detach().numpy() if hasattr(got, "detach") else got)
    if array.shape != want.shape and not (array.size == want.size == 1):
        return f"shape {array.shape}, want {want.shape}"
    array = array.reshape(want.shape).astype(np.float64)
    if not np.isfinite(array).all():
        return "not finite"
    off = float(np.abs(array - want).max(initial=0))
    scale = max(least, float(np.abs(want).max(initial=0)))
    return (
        f"off by {off / scale:.3g}, {tolerance:.3g} is allowed" if off > tolerance * scale else ""
    )


def rates_differ(got: Any, want: np.ndarray) -> str:
    """Return in what way rates differ by more than a millionth; "" where they do not."""
    rates = np.asarray(got, np.float64)
    if rates.shape != want.shape:
        return f"{rates.shape} rates, want {want.shape}"
    off = np.abs(rates - want) > 1e-6 * np.abs(want)
    return f"{off.sum()} differ, first at {int(np.argmax(off))}" if off.any() else ""
