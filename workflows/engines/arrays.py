"""Arrays by their names, as engines and their processes hand them over: an .npz file.

Names of values may hold characters that members of an archive cannot have. So the members are
`value0`, `value1`, …, and `names` says whose they are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["load_arrays", "save_arrays"]


def save_arrays(path: str | os.PathLike[str], arrays: Mapping[str, npt.ArrayLike]) -> None:
    """Write arrays to an .npz file."""
    values = {f"value{number}": np.asarray(one) for number, one in enumerate(arrays.values())}
    np.savez(path, allow_pickle=False, names=np.array(list(arrays), np.str_), **values)


def load_arrays(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an .npz file that :func:`save_arrays` wrote."""
    with np.load(path) as stored:
        return {str(name): stored[f"value{k}"] for k, name in enumerate(stored["names"])}
