"""File formats: each folder reads its own files into a Network and renders them back."""

from .loading import load, load_all
from .saving import Saved, render, save

__all__ = ["Saved", "load", "load_all", "render", "save"]
