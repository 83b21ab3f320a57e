"""A study: methods of pruning compared by the families of models that they make.

Its names load when they are first used, so that options load without what measures;
`__init__.pyi` lists them.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
