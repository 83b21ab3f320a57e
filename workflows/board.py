"""What TensorBoard shows of a training: its measurements, written as they are made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from os import PathLike
from pathlib import Path

from ..core.errors import FormatError, UnsupportedError, located
from ..core.finetune.result import FinetuneEntry, Tell, unheard
from ..core.ir.network import Network
from ..core.training.team import team_place

__all__ = ["board"]


@contextmanager
def board(folder: str | PathLike[str] | None) -> Iterator[Tell]:
    """Yield what `tell=` of a training calls, so that measurements are written for TensorBoard.

    Args:
        folder: where; None to write nothing.

    Raises:
        UnsupportedError: TensorBoard is not installed.
        FormatError: the folder cannot be written.
    """
    if folder is None or team_place()[0]:
        yield unheard
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UnsupportedError(
            "TensorBoard is not installed", hint="pip install tensorboard"
        ) from error
    with located(file=str(folder)):
        try:
            writer = SummaryWriter(str(Path(folder)))
        except OSError as error:
            raise FormatError(f"cannot be written: {error.strerror or error}") from error
    try:
        yield partial(_write, writer)
    finally:
        writer.close()


def _write(writer: object, entry: FinetuneEntry, _: Network) -> None:
    """Write one measurement."""
    figures = {
        "loss/training": entry.loss,
        "loss/held out": entry.held_out,
        "metric/validation": entry.value,
        "learning rate": entry.rate,
    }
    for name, value in figures.items():
        if value is not None:
            writer.add_scalar(name, value, entry.step)  # type: ignore[attr-defined]
    writer.flush()  # type: ignore[attr-defined]
