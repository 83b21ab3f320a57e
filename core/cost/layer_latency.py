"""The latency of each layer of a network, from onnxruntime's profile of several runs."""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Set
from pathlib import Path
from statistics import median

import onnx_ir as ir

from ..data import SyntheticDataset
from ..data.base import fixed_batch
from ..engine.session import Session
from ..errors import UnsupportedError
from ..ir.network import Network, layer_of
from ..ir.rebuild import node_key
from ..progress import Progress, silent
from .owners import owner_of

__all__ = ["layer_latencies"]

SUFFIX = "_kernel_time"
"""Suffix of the profile's entries for the time of a node's operator."""

FUSED = 32
"""Largest number of nodes that onnxruntime fuses into one operator."""

DIGITS = 4
"""Significant digits of a result; the noise is larger."""


def layer_latencies(
    network: Network,
    *,
    runs: int = 50,
    warmup: int = 3,
    seconds: float = 5.0,
    threads: int | None = None,
    progress: Progress = silent,
) -> dict[str, float]:
    """Return the time of every layer on one sample of noise.

    The time of fused operators counts for the main one: a convolution with its activation counts
    for the convolution. Operators that onnxruntime added (changes of the layout) are distributed
    over all layers, in proportion to their times.

    Args:
        network: the network.
        runs: largest number of runs; the result is the median of each operator.
        warmup: number of earlier runs, which are not counted.
        seconds: time after which no run begins.
        threads: threads of a run; None for all cores of this process.
        progress: reports every run.

    Returns:
        name of a layer → milliseconds of one sample, in the order of the network. Nodes without a
        layer have their own names. Layers without a time of their own are left out.

    Raises:
        UnsupportedError: onnxruntime cannot run the network, or its profile is empty.
    """
    samples = fixed_batch(network) or 1
    (batch,) = SyntheticDataset(network, samples=samples, batch=samples)
    with tempfile.TemporaryDirectory(prefix="secateur-") as folder:
        session = Session(network, threads, profile=Path(folder) / "profile")
        run = session.prepare(batch.inputs)
        began = time.perf_counter()
        for done in range(warmup + runs):
            progress("measuring layers", done, warmup + runs)
            run()
            if done > warmup and time.perf_counter() - began > seconds:
                break
        progress("measuring layers", warmup + runs, warmup + runs)
        events = json.loads(session.end_profile().read_text(encoding="utf-8"))
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and str(event["name"]).endswith(SUFFIX):
            name = str(event["name"]).removesuffix(SUFFIX)
            times[name, str(event["args"].get("op_name", ""))].append(float(event["dur"]))
    taken = {key: median(spans[warmup:]) / 1e3 / samples for key, spans in times.items()}
    return _by_layer(network, taken)


def _by_layer(network: Network, taken: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """Return the time of each layer.

    Args:
        network: the network.
        taken: (name, type) of an operator that ran → milliseconds.

    Raises:
        UnsupportedError: the times are 0.
    """
    nodes: dict[str, ir.Node] = {}
    found: dict[str, float] = {}
    for node in network.graph:
        found[_owner(network, node)] = 0.0
        nodes.update(dict.fromkeys(filter(None, (node_key(node), node.name)), node))
    longest = sorted(nodes, key=lambda name: (-len(name), name))
    claimed: set[str] = set()
    rest = 0.0
    for (name, kind), span in taken.items():
        inside = name if name in nodes else next((own for own in longest if own in name), None)
        if inside is None:
            rest += span
            continue
        node = _computing(nodes[inside], kind, claimed)
        claimed.add(node_key(node))
        found[_owner(network, node)] += span
    whole = sum(found.values())
    if not whole > 0.0:
        raise UnsupportedError(f"the profile of network '{network.name}' holds no times")
    scale = 1.0 + rest / whole
    return {name: float(f"{span * scale:.{DIGITS}g}") for name, span in found.items() if span > 0.0}


def _owner(network: Network, node: ir.Node) -> str:
    return owner_of(network, layer_of(node), node_key(node))


def _computing(last: ir.Node, kind: str, claimed: Set[str]) -> ir.Node:
    """Return the main node of an operator, which may have the name of its last fused node.

    It is the nearest node, from `last` backwards, that has the type of the operator ("FusedConv" is
    a Conv) and is not the main node of an earlier operator.

    Args:
        last: the node with the name of the operator.
        kind: type of the operator.
        claimed: keys of the main nodes of earlier operators.
    """
    seen, waiting = {node_key(last)}, deque([last])
    while waiting and len(seen) <= FUSED:
        node = waiting.popleft()
        if node.op_type in kind and node_key(node) not in claimed:
            return node
        for value in node.inputs:
            before = value.producer() if value is not None else None
            if before is not None and node_key(before) not in seen:
                seen.add(node_key(before))
                waiting.append(before)
    return last
