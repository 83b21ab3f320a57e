"""Legal numbers of channels."""

from __future__ import annotations

import re

import pytest

import secateur
from secateur.core.data import SyntheticDataset
from secateur.core.errors import PlanError
from secateur.core.plan.limits import Limits
from support.graphs import Graph


@pytest.mark.parametrize(("kept", "multiple"), [(1, 1), (7, 1), (8, 4), (63, 4), (64, 8), (512, 8)])
def test_multiples_fit_what_stays(kept: int, multiple: int) -> None:
    assert Limits().multiple(kept) == multiple


def test_legal_numbers_of_a_wide_group() -> None:
    assert [80 - lost for lost in Limits().counts(80)] == [
        72, 64, 60, 56, 52, 48, 44, 40, 36, 32, 28, 24, 20, 16, 12, 8,
    ]  # fmt: skip
    finest = Limits().finer[-1]
    assert [80 - lost for lost in finest.counts(80)] == list(range(79, 7, -1))


@pytest.mark.parametrize("criterion", ["l1", "obs"])
def test_multiples_by_width_keep_nothing_out_of_reach(criterion: str) -> None:
    """45 % of 20 channels are 9, which is no multiple of 4: finer steps go there."""
    g = Graph(seed=3)
    x = g.op("r0", "Relu", g.conv("c0", g.data, 20))
    network = g.network(y=g.conv("last", g.op("r1", "Relu", g.conv("c1", x, 20)), 4))
    data = SyntheticDataset(network, samples=8) if criterion == "obs" else None
    settings = {"criterion": criterion, "data": data, "repair": "none"}
    limits = Limits(min_keep=0.45)
    with pytest.raises(PlanError, match=r"is the most: .* keep at least 45 % of") as refused:
        secateur.prune(network, rate=0.999, limits=limits, **settings)
    assert "multiple" not in str(refused.value)
    most = float(re.findall(r"out of reach, (0\.\d+)", refused.value.message)[0]) + 0.001
    found = secateur.prune(network, rate=most, limits=limits, **settings)
    assert found.plan.provenance["rate"]["achieved"] == pytest.approx(most, abs=0.005)
    assert min(own.kept for own in found.plan.groups) == 9
    with pytest.raises(PlanError, match="and a multiple of 8"):
        secateur.prune(network, rate=0.999, limits=Limits(round_to=8), **settings)


@pytest.mark.parametrize("asked", [0, -8, "automatic"])
def test_what_is_no_multiple(asked: int | str) -> None:
    with pytest.raises(PlanError, match="channels must be a multiple of 1 or more, not") as found:
        Limits(round_to=asked)
    assert found.value.hint == "a number, or auto"


@pytest.mark.parametrize("criterion", ["l1", "obs"])
def test_a_network_of_wide_and_narrow_layers(criterion: str) -> None:
    g = Graph(seed=3)
    x = g.data
    for number, width in enumerate((16, 40, 72)):
        x = g.op(f"r{number}", "Relu", g.conv(f"c{number}", x, width))
    network = g.network(y=g.conv("last", x, 4))
    data = SyntheticDataset(network, samples=8) if criterion == "obs" else None
    found = secateur.prune(network, rate=0.4, criterion=criterion, data=data, repair="none")
    uneven = [
        own
        for own in found.plan.groups
        if own.kept < own.channels and own.kept % Limits().multiple(own.kept)
    ]
    assert len(uneven) <= 1, "one group is enough to meet the rate"
    assert 0.39 < found.plan.provenance["rate"]["achieved"] <= 0.4
    assert "limits" not in found.plan.provenance, "multiples by width are the default"
    again = secateur.prune(network, plan=found.plan, repair="none")
    assert [own.kept for own in again.plan.groups] == [own.kept for own in found.plan.groups]
