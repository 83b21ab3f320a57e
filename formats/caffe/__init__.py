"""Caffe networks: the lossless documents, the layer types, and the way there and back."""

from __future__ import annotations

from . import layers  # registers every layer type
from .reader import load

__all__ = ["layers", "load"]
