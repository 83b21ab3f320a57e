"""Losses, one file each. A loss is a frozen record that is called with tensors; it needs PyTorch
only then.
"""
