"""Every operator with a rule: what the rule says of channels is what the operator does to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import secateur
from secateur.core.coupling import find_groups
from support.contract.examples_of_rules import EXAMPLES, RuleExample
from support.contract.registries import OPERATORS, Fed, check_masked, check_shrunk
from support.graphs import random_removal

CASES = [
    pytest.param(name, index, id=f"{name}-{index}" if index else name)
    for name in sorted(OPERATORS)
    for index in range(len(EXAMPLES.get(name, (None,))))
]


def read(folder: Path, example: RuleExample) -> secateur.Network:
    path = folder / "net.onnx"
    onnx.save(example.proto(), str(path))
    return secateur.load(path)


@pytest.mark.parametrize(("name", "index"), CASES)
def test_a_rule_tells_what_its_operator_does(name: str, index: int, tmp_path: Path) -> None:
    if name not in EXAMPLES:
        pytest.fail(
            f"operator {name} has a rule, but no example: add one to EXAMPLES in "
            "tests/support/contract/examples_of_rules.py"
        )
    example = EXAMPLES[name][index]
    network = read(tmp_path, example)
    assert name in {node.op_type for node in network.graph}
    groups = find_groups(network)
    (own,) = (group for group in groups.groups if "Conv:a" in group.layers)
    if example.fixed:
        assert str(own.reason).startswith(example.fixed)
    else:
        assert own.prunable, str(own.reason)
    random = np.random.default_rng(1)
    data = Fed({"x": random.normal(size=(2, 4, 8, 8)).astype(np.float32)})
    pruned = secateur.prune(network, rate=0.35, criterion="l1", repair="none")
    check_masked(network, pruned, data)
    check_run(network, data)
    check_run(pruned.network, data)
    for _ in range(2):
        check_shrunk(network, groups, random_removal(groups, random), data)


def check_run(network: secateur.Network, data: Fed) -> None:
    """Check the graph by ONNX, and its output for finite values that are not all the same."""
    onnx.checker.check_model(ir.serde.serialize_model(network.model), full_check=True)
    (y,) = secateur.Session(network).run(data.inputs).values()
    assert np.isfinite(y).all()
    assert np.ptp(y) > 0


def test_no_example_stands_for_an_operator_without_a_rule() -> None:
    assert set(EXAMPLES) <= set(OPERATORS)
