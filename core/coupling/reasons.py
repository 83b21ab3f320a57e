"""Why a channel cannot be removed, with a sentence for reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

__all__ = ["Kind", "Reason"]


class Kind(IntEnum):
    """Kinds of reasons. If a unit has several reasons, the report prints the smallest.

    Channels that only sums over neighbours fix can be freed: the user may accept other sums.
    """

    BORDER = 0
    OUTPUT = 1
    INPUT = 2
    MIXED = 3
    NEIGHBOURS = 4
    OPERATOR = 5
    SPATIAL = 6
    BROADCAST = 7
    BALANCE = 8
    ALONE = 9
    WINDOW = 10


_SENTENCES = {
    Kind.BORDER: "read by {subject}, which cannot be computed",
    Kind.OUTPUT: "feeds output '{subject}'",
    Kind.INPUT: "is input '{subject}'",
    Kind.MIXED: "mixed by {subject}",
    Kind.NEIGHBOURS: "mixed by {subject}",
    Kind.OPERATOR: "read by operator {subject}, which is not traced",
    Kind.SPATIAL: "channels and positions mixed before {subject}",
    Kind.BROADCAST: "spread over all channels by {subject}",
    Kind.BALANCE: "cannot lose equally many channels from each share of {subject}",
    Kind.ALONE: "has one channel",
    Kind.WINDOW: "has no more channels than a window over neighbours",
}


@dataclass(frozen=True, slots=True, order=True)
class Reason:
    """A kind of reason, and its subject: the name of the layer, node, input or output at fault.

    `network` names the companion that it is in; "" for the network itself, whose reasons go first.
    """

    network: str = field(default="", kw_only=True)
    kind: Kind
    subject: str

    @property
    def remedy(self) -> str | None:
        """What users may do so that the channel is fixed no more; None if there is nothing."""
        return "--lrn inexact" if self.kind is Kind.NEIGHBOURS else None

    def __str__(self) -> str:
        sentence = _SENTENCES[self.kind].format(subject=self.subject)
        return f"{sentence} in {self.network}" if self.network else sentence
