"""Computing on a Dask cluster: `--cluster` of commands that measure many times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from secateur import IterateOptions, PruneOptions

    from .terminal import Terminal

__all__ = ["Cluster", "computing_on", "tell_idle"]

Cluster = Annotated[
    str | None,
    Parameter(metavar="ADDRESS", help="Compute on a Dask cluster: the address of its scheduler."),
]

PATIENCE = 5
"""Seconds within which a scheduler must answer."""


@contextmanager
def computing_on(address: str | None) -> Iterator[None]:
    """Let joblib compute on the cluster of a scheduler; on this machine where there is none.

    Raises:
        UnsupportedError: Dask is not installed.
        DataError: nobody answers at the address.
    """
    if address is None:
        yield
        return
    import joblib

    import secateur

    try:
        from distributed import Client
    except ImportError as error:
        raise secateur.UnsupportedError(
            "--cluster needs Dask", hint="pip install 'secateur[dask]'"
        ) from error
    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise secateur.DataError(
            f"no Dask scheduler answers at '{address}'", hint="an address is like tcp://host:8786"
        ) from error
    with client, joblib.parallel_config(backend="dask"):
        yield


def tell_idle(
    terminal: Terminal, address: str | None, options: PruneOptions | IterateOptions
) -> None:
    """Say where a cluster was given, but nothing that is asked for makes many passes."""
    import secateur

    if address is None:
        return
    criteria = [name for name, entry in sorted(secateur.CRITERIA.items()) if entry.spreads]
    allocations = [name for name, entry in sorted(secateur.ALLOCATIONS.items()) if entry.spreads]
    scored = options.analysis is None and options.criterion in criteria
    planned = getattr(options, "plan", None) is not None
    if planned or not (scored or options.allocation in allocations):
        terminal.warn(
            f"the cluster has nothing to do: it serves the criteria {', '.join(criteria)}, and the "
            f"allocation {', '.join(allocations)}"
        )
