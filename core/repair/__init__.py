"""Repair: how the remaining weights make up for what is gone, without training."""

from .refit import refit

__all__ = ["refit"]
