"""Pruning single kernels of convolutions: the network keeps its size, and most of it is zeros."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..criteria.kernels import METHODS, kernel_order, wanted
from ..errors import PlanError, nearest_hint, percent_hint
from ..ir.network import Network
from ..ir.rebuild import rebuild
from ..plan.exclude import check_excluded
from .companions import revalued_companions
from .densify import check_finite

__all__ = ["prune_kernels"]


def prune_kernels(
    network: Network,
    kept: float = 0.05,
    method: str = "lean",
    *,
    exclude: Sequence[str] = (),
) -> Network:
    """Return the network with most of the kernels of its convolutions set to zero.

    A kernel is what one channel that a convolution makes reads from one of its inputs. Kernels
    alone make no network smaller or faster: that needs whole channels (:func:`prune`). Biases and
    normalisations stay, so a channel without kernels is a constant. What is written of the network
    can be trained with its zeros held: `finetune(…, hold_zeros=True)`.

    Args:
        network: the network; it stays as it is.
        kept: fraction of the kernels that stay, of all convolutions together.
        method: how they are chosen. lean: those of the longest chains of operator norms
            (Schoonhoven et al., 2020); norm: those of the largest operator norms, each alone.
        exclude: names of layers that keep all kernels. They do not count.

    Raises:
        FormatError: a weight is no number.
        PlanError: an argument is out of range, a layer is not in the network, or no convolution is
            left to prune.
    """
    if not 0.0 < kept <= 1.0:
        raise PlanError(
            f"the fraction of kernels that stay must be over 0 and up to 1, got {kept:g}",
            hint=percent_hint(kept),
        )
    if method not in METHODS:
        raise PlanError(
            f"kernels are ordered by {' or '.join(METHODS)}, not '{method}'",
            hint=nearest_hint(method, METHODS, None),
        )
    check_excluded(network, exclude)
    check_finite(network)
    kernels = kernel_order(network, method, exclude=exclude, part=kept)
    if not len(kernels):
        raise PlanError(
            "there is no convolution whose kernels may leave",
            hint="exclude fewer layers" if exclude else None,
        )
    tensors = {}
    for name, stays in kernels.kept(wanted(kept, len(kernels)), network).items():
        if not stays.all():
            array = network.array(name)
            held = stays.reshape(*stays.shape, *(1,) * (array.ndim - 2))
            tensors[name] = np.where(held, array, np.zeros((), array.dtype))
    if not tensors:
        return network
    found = rebuild(network, tensors=tensors)
    return replace(found, companions=revalued_companions(network, found))
