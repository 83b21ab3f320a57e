"""Everything that registers itself, by name: the only place that knows how registries are read.

Names of the core that tests of the contract need often stand here, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from secateur.core.allocation import ALLOCATIONS
from secateur.core.coupling import Groups, find_groups
from secateur.core.coupling.edit import mask, shrink
from secateur.core.coupling.rules import RULES
from secateur.core.criteria import CRITERIA
from secateur.core.data import KINDS, Batch, Dataset
from secateur.core.ir.network import Network
from secateur.core.plan.plan import removed_units
from secateur.core.pruning.result import PruneResult
from secateur.core.repair import REPAIRS
from secateur.core.verify.equivalence import verify_equal
from secateur.core.verify.stable_cuts import narrowed
from secateur.formats.caffe.data import kinds as _caffe_kinds  # noqa: F401
from secateur.formats.caffe.layer import LAYERS
from secateur.formats.darknet.data import kinds as _darknet_kinds  # noqa: F401
from secateur.formats.darknet.section import SECTIONS

LAYER_TYPES: Mapping[str, Any] = LAYERS
SECTION_NAMES: Mapping[str, Any] = SECTIONS
OPERATORS: Mapping[str, Any] = RULES
CHOICES: Mapping[str, Mapping[str, Any]] = {
    "criterion": CRITERIA,
    "allocation": ALLOCATIONS,
    "repair": REPAIRS,
}
DATASETS: Mapping[str, Any] = KINDS


class Fed:
    """One batch of given inputs, as data for comparisons."""

    name = "the values of the example"
    labelled = False
    problems: tuple[str, ...] = ()

    def __init__(self, inputs: Mapping[str, np.ndarray]):
        self.inputs = dict(inputs)
        self.samples = min((len(array) for array in inputs.values() if array.ndim), default=1)

    def __iter__(self) -> Iterator[Batch]:
        yield Batch(inputs=self.inputs)


def check_equal(claim: str, first: Network, second: Network, data: Dataset) -> None:
    """Raise where two networks differ by more than rounding."""
    verify_equal(claim, first, second, data)


def removal(network: Network, pruned: PruneResult) -> tuple[Groups, np.ndarray]:
    """Return the groups of a network, and which of their units a plan took out."""
    groups = find_groups(network)
    return groups, removed_units(pruned.plan, groups)


def check_masked(network: Network, pruned: PruneResult, data: Dataset) -> None:
    """Raise where the full-size network with zeros does not equal the pruned one."""
    groups, removed = removal(network, pruned)
    check_masks(network, groups, removed, pruned.network, data)


def check_shrunk(network: Network, groups: Groups, removed: np.ndarray, data: Dataset) -> None:
    """Raise where zeros in place of some units do not equal taking them out."""
    check_masks(network, groups, removed, shrink(network, groups, removed), data)


def check_masks(
    network: Network, groups: Groups, removed: np.ndarray, dense: Network, data: Dataset
) -> None:
    """Raise where zeros in place of some units do not equal a network without them."""
    masked = mask(network, groups, removed)
    verify_equal("masked = dense", masked, dense, data, narrow=narrowed(groups, removed))
