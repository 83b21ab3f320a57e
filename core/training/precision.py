"""The type that a network is computed in; its weights stay float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from .framework import torch

__all__ = ["FLOAT32", "computed_in"]

FLOAT32 = "float32"


def computed_in(precision: str, device: str) -> AbstractContextManager[Any]:
    """Return the context in which a network is computed in a type.

    Args:
        precision: float32, bfloat16 or float16.
        device: kind of the device: cpu or cuda.
    """
    if precision == FLOAT32:
        return nullcontext()
    context: AbstractContextManager[Any] = torch.autocast(device, dtype=getattr(torch, precision))
    return context
