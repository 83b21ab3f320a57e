"""Analysis: what each group of channels is worth, measured point by point."""

from .analyze import MEMORY, RATES, analyze
from .result import Analysis, GroupAnalysis, Point, load_analysis, save_analysis

__all__ = [
    "MEMORY",
    "RATES",
    "Analysis",
    "GroupAnalysis",
    "Point",
    "analyze",
    "load_analysis",
    "save_analysis",
]
