"""The samples in which two networks disagree most, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from ..data.arrays import AnyData, as_dataset
from ..data.base import Batch
from ..engine.session import Arrays
from ..evaluation.runner import side_by_side
from ..ir.network import Network
from ..progress import Progress, silent
from ..verify.compare import pair
from .findings import SURE, Classes, Finding, viewer_of
from .images import Picture, shown

__all__ = ["Example", "Examples", "PairedLabels", "find_examples"]

LOOKED_AT = 1000
"""Samples that are looked at where nobody says otherwise: it takes as long as measuring them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One sample and what two networks find in it.

    Args:
        name: of its file, or its number.
        picture: H×W×3, red first.
        before: what the original finds.
        after: what the other network finds.
        disagreement: how far they are apart.
        label: its class, where that is known.
    """

    name: str
    picture: Picture
    before: Finding
    after: Finding
    disagreement: float
    label: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedLabels:
    """How often two classifiers are right on the same samples.

    Args:
        samples: how many have a label.
        lost: right before, wrong after.
        gained: wrong before, right after.
    """

    samples: int = 0
    lost: int = 0
    gained: int = 0

    @property
    def change(self) -> float:
        """By how much the share of right ones changed, −1…1."""
        return (self.gained - self.lost) / self.samples if self.samples else 0.0

    @property
    def margin(self) -> float:
        """Half the width of the change's 95 % interval.

        Source: Agresti and Min, Statistics in Medicine 24 (2005), 729: Wald's interval for paired
        shares with half a sample added to each of the four cells.
        """
        n = self.samples + 2
        lost, gained = self.lost + 0.5, self.gained + 0.5
        spread = lost + gained - (gained - lost) ** 2 / n
        return 1.959964 * float(np.sqrt(spread)) / n


@dataclass(frozen=True, kw_only=True, slots=True)
class Examples:
    """Some samples, those first in which two networks disagree most.

    Args:
        kind: "classes", "boxes" or "map".
        examples: the worst first.
        samples: how many were looked at.
        changed: in how many of them people would be told something else.
        names: of the classes; empty where nobody tells them.
        paired: of labelled classes; None otherwise.
    """

    kind: str
    examples: tuple[Example, ...]
    samples: int
    changed: int
    names: tuple[str, ...] = ()
    paired: PairedLabels | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    batch: Batch
    before: Sequence[Finding]
    after: Sequence[Finding]


def find_examples(
    original: Network,
    compressed: Network,
    dataset: AnyData,
    *,
    count: int = 6,
    limit: int = LOOKED_AT,
    names: Sequence[str] = (),
    score: float = SURE,
    progress: Progress = silent,
) -> Examples | None:
    """Return the samples in which two networks disagree most.

    Args:
        original: the network before pruning.
        compressed: the smaller one.
        dataset: opened for `original`, or arrays.
        count: so many samples are returned.
        limit: so many are looked at, from the start.
        names: of the classes, where the dataset does not tell them.
        score: boxes with less are left out.
        progress: told about every batch.

    Returns:
        None where the outputs are neither boxes nor classes nor maps of classes.

    Raises:
        DataError: the data does not fit.
        VerificationError: inputs or outputs of the networks do not match.
    """
    viewer = viewer_of(original, score=score)
    if viewer is None:
        return None
    dataset = as_dataset(dataset, original)
    pairing = pair(original, compressed)

    def seen(batch: Batch, before: Arrays, after: Arrays) -> _Seen:
        renamed = pairing.renamed(after)
        return _Seen(batch, viewer.findings(before, batch), viewer.findings(renamed, batch))

    worst: list[Example] = []
    samples = changed = 0
    paired = PairedLabels()
    parts = side_by_side(original, compressed, pairing, dataset, seen, progress=progress)
    with closing(parts):  # type: ignore[type-var]
        for part in parts:
            for place, (before, after) in enumerate(zip(part.before, part.after, strict=True)):
                changed += before.differs(after)
                apart = before.disagreement(after)
                if len(worst) < count or apart > worst[-1].disagreement:
                    name, picture = shown(
                        dataset, part.batch, place, original.preprocess, samples + place
                    )
                    example = Example(
                        name=name,
                        picture=picture,
                        before=before, after=after, disagreement=apart,
                        label=_label(part.batch, place),
                    )  # fmt: skip
                    worst = sorted([*worst, example], key=lambda one: -one.disagreement)[:count]
            paired = _counted(paired, part)
            samples += part.batch.size
            if samples >= limit:
                break
    told = tuple(getattr(dataset, "classes", ())) or tuple(names)
    return Examples(
        kind=viewer.kind, examples=tuple(worst), samples=samples, changed=changed, names=told,
        paired=paired if paired.samples else None,
    )  # fmt: skip


def _label(batch: Batch, place: int) -> int | None:
    """Return the class of a sample, where it has one."""
    labels = batch.labels
    return int(labels[place]) if labels is not None and labels.ndim == 1 else None


def _counted(paired: PairedLabels, part: _Seen) -> PairedLabels:
    """Return the counts with those of a batch."""
    labels = part.batch.labels
    if labels is None or labels.ndim != 1 or not isinstance(part.before[0], Classes):
        return paired
    before, after = _right(part.before, labels), _right(part.after, labels)
    return PairedLabels(
        samples=paired.samples + len(labels),
        lost=paired.lost + int((before & ~after).sum()),
        gained=paired.gained + int((~before & after).sum()),
    )


def _right(found: Sequence[Finding], labels: np.ndarray) -> np.ndarray:
    """Return in which samples the best class is the label's."""
    best = [one.best[0][0] for one in found if isinstance(one, Classes)]
    return np.asarray(np.asarray(best) == labels)
