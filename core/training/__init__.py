"""Gradients, losses and solvers: training a network that was read from files, with PyTorch.

Nothing in here imports PyTorch before it computes; descriptions (:mod:`.recipe`, the losses, the
settings of solvers) need none at all.
"""
