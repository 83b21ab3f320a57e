"""Criteria: which channels matter? Each has a file of its own and an entry in the registry."""

from .registry import CRITERIA, Criterion, ScoreContext, Scores, criterion

__all__ = ["CRITERIA", "Criterion", "ScoreContext", "Scores", "criterion"]
