"""The points of a study: each is one model to be made."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..allocation.registry import ALLOCATIONS
from ..criteria import CRITERIA
from ..errors import PlanError
from ..pruning.options import AUTOMATIC, PruneOptions
from ..pruning.resolve import FORMER_OBS, OBS
from ..repair import find_repairs
from .options import JOINT, StudyOptions, parts_of

__all__ = ["StudyPoint", "check_names", "points_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPoint:
    """One model of a study.

    Args:
        method: a criterion, alone or with an allocation.
        repair: a repair, or several that follow each other.
        rate: fraction of the budget to remove.
        images: calibration images of each class; None for all there are.
        seed: counts repetitions from 0.
    """

    method: str
    repair: str
    rate: float
    images: int | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        """What a folder of the model is called."""
        parts = [f"{self.rate:g}", self.method, self.repair]
        if self.images is not None:
            parts.append(f"{self.images}images")
        if self.images is not None or self.seed:
            parts.append(f"seed{self.seed}")
        return re.sub(r"[^\w.+-]", "_", "-".join(parts))

    @property
    def text(self) -> str:
        """The point without its rate, in words."""
        text = f"{self.method}, {self.repair}"
        if self.images is not None:
            text += f", {self.images} a class"
        return text + (f" (seed {self.seed})" if self.images is not None or self.seed else "")

    def key(self, basis: str, options: StudyOptions) -> str:
        """Return a digest of all that the model depends on.

        Args:
            basis: a text of network, data and metric.
            options: of the study.
        """
        plain: dict[str, Any] = self.pruning(options).plain()
        return hashlib.sha256(
            json.dumps(
                [basis, self.rate, plain, self.images, self.seed, options.training()],
                sort_keys=True,
            ).encode()
        ).hexdigest()

    def pruning(self, options: StudyOptions) -> PruneOptions:
        """Return how the model is pruned.

        Raises:
            PlanError: options do not fit each other.
        """
        return options.of_point(self.method, self.repair, self.rate)


def points_of(options: StudyOptions) -> Iterator[StudyPoint]:
    """Yield all points, in the order in which tables have them."""
    for method in options.methods:
        for repair in options.repairs:
            for images in (None, *options.low_data):
                drawn = images is not None or options.finetune is not None
                for seed in range(options.seeds if drawn else 1):
                    for rate in options.rates:
                        yield StudyPoint(
                            method=method, repair=repair, rate=rate, images=images, seed=seed
                        )


def check_names(options: StudyOptions) -> None:
    """Raise where a method or a repair has a name that nobody knows.

    Raises:
        PlanError: names it.
    """
    for method in options.methods:
        criterion, allocation = parts_of(method)
        try:
            if criterion not in (OBS, FORMER_OBS):
                CRITERIA.find(criterion, also=(AUTOMATIC, OBS))
            if allocation != AUTOMATIC:
                ALLOCATIONS.find(allocation, also=(AUTOMATIC,))
        except PlanError as error:
            raise PlanError(error.message, hint=error.hint, option="methods") from error
    for repair in options.repairs:
        try:
            find_repairs(repair.replace(JOINT, ","), data=True)
        except PlanError as error:
            raise PlanError(error.message, hint=error.hint, option="repairs") from error
