"""Why a channel cannot be removed, with a sentence for reports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Kind", "Reason"]


class Kind(IntEnum):
    """Kinds of reasons. If a unit has several reasons, the report prints the smallest."""

    BORDER = 0
    OUTPUT = 1
    INPUT = 2
    MIXED = 3
    OPERATOR = 4
    SPATIAL = 5
    BROADCAST = 6
    BALANCE = 7
    ALONE = 8


_SENTENCES = {
    Kind.BORDER: "read by {subject}, which cannot be computed",
    Kind.OUTPUT: "feeds output '{subject}'",
    Kind.INPUT: "is input '{subject}'",
    Kind.MIXED: "mixed by {subject}",
    Kind.OPERATOR: "read by operator {subject}, which is not traced",
    Kind.SPATIAL: "channels and positions mixed before {subject}",
    Kind.BROADCAST: "spread over all channels by {subject}",
    Kind.BALANCE: "cannot lose equally many channels from each share of {subject}",
    Kind.ALONE: "has one channel",
}


@dataclass(frozen=True, slots=True, order=True)
class Reason:
    """A kind of reason, and its subject: the name of the layer, node, input or output at fault."""

    kind: Kind
    subject: str

    def __str__(self) -> str:
        return _SENTENCES[self.kind].format(subject=self.subject)
