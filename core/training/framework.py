"""PyTorch, imported when it is first used. The rest of secateur works without it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..errors import UnsupportedError

__all__ = ["check_installed", "functional", "torch"]


class _Lazy:
    """A module that is imported when one of its names is first read."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, name: str) -> Any:
        try:
            module = importlib.import_module(self._name)
        except ImportError as error:
            raise missing("training") from error
        found = getattr(module, name)
        vars(self)[name] = found
        return found


if TYPE_CHECKING:
    import torch
    import torch.nn.functional as functional
else:
    torch = _Lazy("torch")
    functional = _Lazy("torch.nn.functional")


def check_installed(what: str = "training") -> None:
    """Raise where there is no PyTorch.

    Args:
        what: what needs it.

    Raises:
        UnsupportedError: says what to install.
    """
    try:
        importlib.import_module("torch")
    except ImportError as error:
        raise missing(what) from error


def missing(what: str) -> UnsupportedError:
    """Return what to raise where there is no PyTorch."""
    return UnsupportedError(f"{what} needs PyTorch", hint="pip install 'secateur[train]'")
