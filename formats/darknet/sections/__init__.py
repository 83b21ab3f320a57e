"""One file a section type; a new file is found by itself."""

from __future__ import annotations

import sys

from ...adapter import discover

discover(sys.modules[__name__])
