"""Allocation: how many channels leave each group? One file each, in one registry."""

from .overrides import Override
from .registry import ALLOCATIONS, Allocation, AllocationContext, allocation

__all__ = ["ALLOCATIONS", "Allocation", "AllocationContext", "Override", "allocation"]
