"""Many networks made from one: measured as each alone is, whatever is kept of the original."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.data import SyntheticDataset
from secateur.core.engine.session import Session
from secateur.core.evaluation.loss import LossMeter
from secateur.core.evaluation.many import ManyMeter
from secateur.core.ir.rebuild import rebuild
from support.graphs import Graph


@pytest.mark.parametrize("room", [0, 500, 1 << 28])
def test_each_is_measured_as_alone(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    g = Graph(channels=3, size=4)
    network = g.network(y=g.conv("a", g.data, 2))
    others = [
        rebuild(network, tensors={"a/weight": network.array("a/weight") * np.float32(factor)})
        for factor in (1.3, 0.5)
    ]
    data = SyntheticDataset(network, samples=9, batch=2)
    alone = LossMeter.of(network, data)
    expected = [alone.loss(alone.value(one)) for one in others]
    ran: list[str] = []
    real = Session.run

    def counted(self: Session, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        ran.append("batch")
        return real(self, inputs)

    monkeypatch.setattr("secateur.core.evaluation.kept_outputs.KEPT_BYTES", room)
    meter = ManyMeter(network, data)
    monkeypatch.setattr(Session, "run", counted)
    assert [meter.loss(one) for one in others] == pytest.approx(expected)
    passes = 1 if room == 1 << 28 else 2  # the original runs again where it is not kept
    assert len(ran) == 5 * passes * len(others)
