"""Structured optimal brain surgery: which channels leave, and how the rest makes up for them.

One pass of unlabelled data gathers the covariance of every consumer's inputs; then the channel
whose loss, optimally compensated, disturbs the network least per operation saved goes first, over
all groups at once.

Sources: Hassibi and Stork, Second Order Derivatives for Network Pruning, 1993; blocks of a channel
as in Frantar and Alistarh, Optimal Brain Compression, 2022. The weighting of consumers by their
effect on the network's outputs and the global budget of operations are this project's own.
"""

from ..statistics.moments import InputMoments, gather_moments
from ..statistics.operators import Operator, find_operators
from .select import Removal, operate

__all__ = ["InputMoments", "Operator", "Removal", "find_operators", "gather_moments", "operate"]
