"""Processes that train one network together: each works on its part of every batch.

`torchrun` starts them and tells each its place in the environment. Gradients are summed over all
of them, so that every process makes the same update.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..errors import SecateurError, UnsupportedError
from .framework import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ALONE", "Team", "joined", "team_place"]

T = TypeVar("T")

TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun tells each process. Source: docs of torch.distributed.run."""

PATIENCE = timedelta(days=1)
"""How long a process waits for others: the first one may measure for hours."""


def team_place() -> tuple[int, int]:
    """Return the number of this process and how many there are: 0 and 1 without torchrun.

    Raises:
        UnsupportedError: the environment holds no such numbers.
    """
    if any(name not in os.environ for name in TOLD):
        return 0, 1
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except ValueError as error:
        raise UnsupportedError("RANK and WORLD_SIZE must be whole numbers") from error
    if not 0 <= rank < size:
        raise UnsupportedError(f"RANK={rank} is no process of WORLD_SIZE={size}")
    return rank, size


@dataclass(frozen=True, slots=True)
class Team:
    """The processes that train together.

    Args:
        rank: number of this process.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Put the sums over all processes in the place of some tensors."""
        listed = list(tensors)
        if self.size == 1 or not listed:
            return
        flat = torch.cat([tensor.reshape(-1).to(listed[0].dtype) for tensor in listed])
        torch.distributed.all_reduce(flat)
        place = 0
        for tensor in listed:
            tensor.copy_(flat[place : place + tensor.numel()].reshape(tensor.shape))
            place += tensor.numel()

    def summed(self, tensor: Tensor) -> Tensor:
        """Return the sum over all processes, with a gradient."""
        if self.size == 1:
            return tensor
        from torch.distributed.nn.functional import all_reduce

        return all_reduce(tensor)

    def first(self, work: Callable[[], T]) -> T:
        """Return what the first process finds, in all of them.

        Raises:
            SecateurError: what the first process raises; the others end quietly.
        """
        if self.size == 1:
            return work()
        box: list[Any] = [None]
        failed: SecateurError | None = None
        if self.rank == 0:
            try:
                box = [(True, work())]
            except SecateurError as error:
                failed, box = error, [(False, error.exit_code)]
        torch.distributed.broadcast_object_list(box, src=0)
        if failed is not None:
            raise failed
        done, found = box[0]
        if not done:
            raise SystemExit(found)
        return found

    def gathered(self, array: np.ndarray) -> np.ndarray:
        """Return the arrays of all processes, stacked in their order; they have the same shape."""
        if self.size == 1:
            return array[None]
        found: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(found, array)
        return np.stack(found)


ALONE = Team()
"""One process."""


@contextmanager
def joined() -> Iterator[Team]:
    """Join the processes that torchrun started, if it did; leave them at the end.

    Raises:
        UnsupportedError: they cannot reach each other.
    """
    rank, size = team_place()
    if size == 1:
        yield ALONE
        return
    if torch.distributed.is_initialized():
        yield Team(rank, size)
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        torch.distributed.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        detail = str(error).splitlines()[0]
        raise UnsupportedError(
            f"process {rank} of {size} cannot reach the others: {detail}",
            hint="torchrun starts them all",
        ) from error
    try:
        yield Team(rank, size)
    finally:
        torch.distributed.destroy_process_group()
