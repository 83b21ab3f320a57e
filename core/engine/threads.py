"""The number of threads this process may use, and a limit for libraries that ignore it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["cores", "limited", "within_cores"]

_LIMIT: ContextVar[int | None] = ContextVar("_LIMIT", default=None)
"""Threads that the present thread may start at most."""


def cores() -> int:
    """Return the number of cores this process may use: its affinity and its container's quota.

    The environment variable LOKY_MAX_CPU_COUNT lowers it further, and so does :func:`limited`.
    """
    import joblib

    most, found = _LIMIT.get(), int(joblib.cpu_count())
    return found if most is None else min(most, found)


@contextmanager
def limited(threads: int | None) -> Iterator[None]:
    """Let :func:`cores` be so many at most, in this thread: others work beside it.

    Args:
        threads: how many; None for no limit.
    """
    before = _LIMIT.set(threads)
    try:
        yield
    finally:
        _LIMIT.reset(before)


@contextmanager
def within_cores() -> Iterator[None]:
    """Keep NumPy's and SciPy's products to as many threads as there are :func:`cores`.

    Libraries of linear algebra start a thread for each core of the machine, whatever the quota of a
    container. Threads beyond the quota wait for each other, and products take many times as long.
    """
    from threadpoolctl import ThreadpoolController

    products = ThreadpoolController().select(user_api="blas")
    threads = max((library["num_threads"] for library in products.info()), default=0)
    with products.limit(limits=min(threads, cores()) or None):
        yield
