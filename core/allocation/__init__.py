"""Allocation: how many channels leave each group, as one order over all groups that a rate cuts."""

from .limits import NO_LIMITS, Limits
from .order import Order, Step, cut
from .uniform import uniform

__all__ = ["NO_LIMITS", "Limits", "Order", "Step", "cut", "uniform"]
