"""Allocations: how many channels does each group lose? Each has a file and a registry entry."""

from .overrides import Override
from .registry import ALLOCATIONS, Allocation, AllocationContext, allocation

__all__ = ["ALLOCATIONS", "Allocation", "AllocationContext", "Override", "allocation"]
