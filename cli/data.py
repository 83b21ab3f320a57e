"""Opening the data of a command, with the preprocessing its flags ask for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .options import numbers

if TYPE_CHECKING:
    from ..core.data import Dataset
    from ..core.ir.network import Network


def open_data(
    path: Path | None,
    network: Network,
    *,
    mean: str | None,
    scale: float | None,
    channels: str | None,
    letterbox: bool | None,
    limit: int | None,
) -> Dataset | None:
    """Return the dataset at `path`, or None where none is given.

    Raises:
        DataError: it cannot be read or does not fit the network.
        typer.BadParameter: a flag has an impossible value.
    """
    if path is None:
        return None
    import secateur

    changes: dict[str, Any] = {}
    if mean is not None:
        changes["mean"] = numbers(mean, "--mean")
    if scale is not None:
        changes["scale"] = scale
    if channels is not None:
        if channels not in ("bgr", "rgb", "gray"):
            raise typer.BadParameter("must be bgr, rgb or gray", param_hint="--channels")
        changes["channels"] = channels
    if letterbox is not None:
        changes["letterbox"] = letterbox
    preprocess = replace(network.preprocess, **changes)
    return secateur.open_dataset(path, network, preprocess=preprocess, limit=limit)
