"""One file a layer type; every module here is imported by itself and registers its classes."""

from __future__ import annotations

import sys

from ...adapter import discover

discover(sys.modules[__name__])
