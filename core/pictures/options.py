"""Options of showing what networks find."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DataError

__all__ = ["PredictOptions"]


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """What is told of each sample.

    Raises:
        DataError: an option is out of range.
    """

    score: float = 0.25
    """Detectors: show what scores as much or more."""

    suppress: float | None = None
    """Detectors: boxes of a class that overlap a better one by more are left out. If not given:
    what the files say, or 0.45."""

    top: int = 5
    """Classifiers: tell so many classes, the best."""

    def __post_init__(self) -> None:
        for name in ("score", "suppress"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise DataError(f"{name} must be from 0 to 1, got {value:g}", option=name)
        if self.top < 1:
            raise DataError(f"at least one class must be told, not {self.top}", option="top")
