"""Allocation: how many channels leave each group, as one order over all groups that a rate cuts."""

from .order import Order, Step, cut
from .uniform import uniform

__all__ = ["Order", "Step", "cut", "uniform"]
