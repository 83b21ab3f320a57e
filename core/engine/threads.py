"""The number of threads this process may use, and a limit for libraries that ignore it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["cores", "within_cores"]


def cores() -> int:
    """Return the number of cores this process may use: its affinity and its container's quota.

    The environment variable LOKY_MAX_CPU_COUNT lowers it further.
    """
    import joblib

    return int(joblib.cpu_count())


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
