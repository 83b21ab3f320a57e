"""Structured Optimal Brain Surgeon (OBS): criterion, allocation and compensation in one.

Unlabelled data gives the covariance of every consumer's inputs. From it follows, for each unit, how
much its removal with optimal compensation disturbs the network. The unit with the smallest
disturbance per operation saved is removed first, over all groups at once.

Sources: Hassibi and Stork, Second Order Derivatives for Network Pruning, 1993; blocks of a channel
as in Frantar and Alistarh, Optimal Brain Compression, 2022. The weighting of consumers by their
output sensitivity and the global budget of operations are this project's own.
"""

from .schedule import remove_to_loss, remove_to_rate, remove_units
from .select import Goal, select_units

__all__ = ["Goal", "remove_to_loss", "remove_to_rate", "remove_units", "select_units"]
