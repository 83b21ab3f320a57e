"""Schedules of masks: how channels leave during training. Each kind has a file of its own."""

from .registry import SCHEDULES, Memory, Schedule

__all__ = ["SCHEDULES", "Memory", "Schedule"]
