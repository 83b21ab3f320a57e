"""Images that stand in for those that the user does not have, where nothing else was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from ..cost.network_cost import operations_by_node
from ..coupling import find_groups
from ..data import Dataset
from ..data.structured.dataset import StructuredDataset
from ..errors import DataError
from ..ir.network import Network
from ..statistics.normalizations import likely_preprocess
from .options import AUTOMATIC, PruneOptions

__all__ = ["StandIn", "stand_in"]

UNTOLD = (
    "nothing says how images become inputs, so that none can be made up (--scale, --mean, "
    "--preprocess)"
)
"""Why there are none: images in the wrong range lead astray. Where a network that takes pixels from
0 to 1 was pruned on pixels from 0 to 255, 10 % were left, where L1 left 90 %."""


MOST_WORK = 5e10
"""Operations · multiplying layers of a network up to which images stand in for data. OBS runs half
of the network for each layer. SqueezeNet has 2e10 and takes one to two minutes of a core, ResNet-50
4e11; whoever gives no data may expect seconds."""

LONG = (
    "on made images, obs would take long with so large a network (--data synthetic does it all "
    "the same)"
)
"""Why there are none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StandIn:
    """What stands in for data.

    Args:
        dataset: made images; None where there are none.
        told: what is to be known of how they were made; "" where the network's files say it.
        why: why there are none, in words; "" where there are some, or where none are of use.
    """

    dataset: Dataset | None = None
    told: str = ""
    why: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What users should know of it, in words."""
        return tuple(
            note for note in (self.told, self.why and f"channels are chosen by l1: {self.why}")
            if note
        )  # fmt: skip


def stand_in(network: Network, options: PruneOptions, *, samples: int | None = None) -> StandIn:
    """Return images to calibrate on where a user gives none.

    Options that say how channels are chosen are followed as they are: with a criterion, a plan, an
    analysis, a threshold, blocks to drop, steps or scales of scores, nothing stands in.

    Args:
        network: the network.
        options: how it is pruned.
        samples: how many images; None for as many as are affordable.
    """
    if _says_how(options):
        return StandIn()
    if _work(network) > MOST_WORK:
        return StandIn(why=LONG)
    try:
        preprocess = likely_preprocess(network)
        if preprocess is None:
            return StandIn(why=UNTOLD)
        dataset = StructuredDataset(network, samples=samples, preprocess=preprocess)
        return StandIn(dataset=dataset, told=preprocess.remark)
    except DataError as error:
        return StandIn(why=error.message)


def _says_how(options: PruneOptions) -> bool:
    """Return whether options say how channels are chosen, or ask for what OBS does not do."""
    return (
        options.criterion != AUTOMATIC
        or options.plan is not None
        or options.analysis is not None
        or options.threshold is not None
        or options.drop_blocks is not None
        or options.steps > 1
        or options.normalize != AUTOMATIC
    )


def _work(network: Network) -> float:
    """Return what OBS has to compute, as :data:`MOST_WORK` counts it."""
    operations = operations_by_node(network, find_groups(network))
    return float(sum(operations.values())) * len(operations)
