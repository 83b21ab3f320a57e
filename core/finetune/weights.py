"""The weights of a module as arrays, and zeros that are held in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..training.framework import torch
from ..training.module import TrainingModule

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["arrays_of", "hold", "load_arrays"]


def arrays_of(module: TrainingModule) -> dict[str, np.ndarray]:
    """Return copies of a module's tensors."""
    return {name: t.detach().cpu().numpy().copy() for name, t in module.state_dict().items()}


def load_arrays(module: TrainingModule, arrays: Mapping[str, np.ndarray]) -> None:
    """Put arrays into a module's tensors."""
    state = module.state_dict()
    with torch.no_grad():
        for name, array in arrays.items():
            state[name].copy_(torch.from_numpy(np.array(array)))


def hold(module: TrainingModule, masks: Mapping[str, Tensor]) -> None:
    """Put zeros back where channels were removed."""
    with torch.no_grad():
        for name, mask in masks.items():
            module.tensor(name).mul_(mask)
