"""Samples for calibration, verification and measurements, from wherever the user has them.

Its names load when they are first used, so that options load without what reads data;
`__init__.pyi` lists them.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
