"""Repair: how remaining weights make up for removed channels, without training.

One file a repair, in one registry; `sequence.py` tries them one after another and keeps what helps.
"""

from .registry import REPAIRS, Repair, Repairs, find_repairs, repair
from .sequence import RepairRecord, repaired

__all__ = ["REPAIRS", "Repair", "RepairRecord", "Repairs", "find_repairs", "repair", "repaired"]
