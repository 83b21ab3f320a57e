"""Removals one after another are one removal of the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.errors import PlanError
from secateur.core.plan.compose import composed
from secateur.core.plan.plan import make_plan, removed_units

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
DARKNET = [FIXTURES / "shapes_darknet" / f"shapes.{end}" for end in ("cfg", "weights")]


@pytest.mark.parametrize("files", [CAFFE, DARKNET], ids=["caffe", "darknet"])
def test_two_removals_are_one_of_the_original(files: list[Path]) -> None:
    network = secateur.load(*files)
    groups = secateur.find_groups(network)
    first = secateur.prune(network, rate=0.3, criterion="l1", repair="none")
    second = secateur.prune(first.network, rate=0.4, criterion="l2", repair="none")
    later = secateur.find_groups(first.network)
    before, then = removed_units(first.plan, groups), removed_units(second.plan, later)
    both = composed(before, groups, then, later)
    assert both.sum() == before.sum() + then.sum() > before.sum() > 0
    assert (both | before).sum() == both.sum()
    plan = make_plan(groups, both, {})
    at_once = secateur.apply_plan(network, plan, repair="none").network
    for name in at_once.graph.initializers:
        assert np.array_equal(at_once.array(name), second.network.array(name)), name


def test_a_network_that_is_not_what_was_left_is_refused() -> None:
    network = secateur.load(*CAFFE)
    groups = secateur.find_groups(network)
    first = secateur.prune(network, rate=0.3, criterion="l1", repair="none")
    with pytest.raises(PlanError, match="channels, but"):
        composed(removed_units(first.plan, groups), groups, groups.mask(()), groups)
