"""What tests let workers of a cluster do: they find it by its name."""

from __future__ import annotations

import os
import signal

from secateur.core.engine.spread import spread
from secateur.core.errors import DataError


class Large:
    """An argument that Dask sends apart from the calls: it lies where it was first needed."""

    def __init__(self, value):
        self.value = value

    def __sizeof__(self):
        return 1 << 20


def ends_once(large, folder, number):
    """End the worker, with the argument that it alone holds, at the first call of a number."""
    if number == 2 and not (folder / "ended").exists():
        (folder / "ended").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return large.value + number


def ends(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def nested(number):
    """What a call spreads in turn is computed where the call is."""
    return [os.getpid() == pid for pid in spread(os.getpid, [()] * number, jobs=None)]


def fails(number):
    raise DataError(f"sample {number} has no labels")
