"""Pruning: the workflows that lead from a network to a smaller one."""
