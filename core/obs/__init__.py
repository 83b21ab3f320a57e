"""Structured Optimal Brain Surgeon (OBS): criterion, allocation and compensation in one.

One pass of unlabelled data gathers the covariance of every consumer's inputs. Then the unit whose
removal, optimally compensated, disturbs the network least per operation saved is removed first,
over all groups at once.

Sources: Hassibi and Stork, Second Order Derivatives for Network Pruning, 1993; blocks of a channel
as in Frantar and Alistarh, Optimal Brain Compression, 2022. The weighting of consumers by their
output sensitivity and the global budget of operations are this project's own.
"""

from .schedule import remove_to_loss, remove_to_rate
from .select import Goal, select_units

__all__ = ["Goal", "remove_to_loss", "remove_to_rate", "select_units"]
