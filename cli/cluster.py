"""Computing on a Dask cluster: `--cluster` of commands that measure many points."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["computing_on"]

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
