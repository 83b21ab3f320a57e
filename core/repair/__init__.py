"""Repair: how the remaining weights make up for what is gone, without training.

One file a repair, in one registry; `sequence.py` tries them one after another and keeps what helps.
"""

from __future__ import annotations

from .absorb import absorb
from .bias import correct_bias
from .recalibrate import recalibrate
from .refit import refit
from .registry import REPAIRS, Job, Repair, Repairs, find_repairs
from .sequence import repaired

__all__ = [
    "REPAIRS",
    "Job",
    "Repair",
    "Repairs",
    "absorb",
    "correct_bias",
    "find_repairs",
    "recalibrate",
    "refit",
    "repaired",
]
