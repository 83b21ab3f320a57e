"""secateur: prune Caffe and Darknet networks and write them back in their own format.

    import secateur

    network = secateur.load("yolo.cfg", "yolo.weights")
    pruned = secateur.prune(network, rate=0.3)
    secateur.save(pruned, "pruned/")

Everything here loads its part of the library when it is first used; `__init__.pyi` lists it.
"""

from __future__ import annotations

import lazy_loader

from .version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
