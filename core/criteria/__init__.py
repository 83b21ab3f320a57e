"""Criteria: which channels matter? One file each, in one registry."""

from .registry import CRITERIA, Criterion, ScoreContext, Scores, criterion

__all__ = ["CRITERIA", "Criterion", "ScoreContext", "Scores", "criterion"]
