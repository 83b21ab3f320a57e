"""How long each layer of a network takes: onnxruntime's own profile of some runs."""

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
from .budget import owner_of

__all__ = ["layer_latencies"]

SUFFIX = "_kernel_time"
"""How the profile names the time that the operator of a node took."""

FUSED = 32
"""Nodes that one operator can stand for, at most."""

DIGITS = 4
"""Significant digits that are kept; the noise is larger."""


def layer_latencies(
    network: Network,
    *,
    runs: int = 50,
    warmup: int = 3,
    seconds: float = 5.0,
    threads: int | None = None,
    progress: Progress = silent,
) -> dict[str, float]:
    """Measure the time of every layer on one sample of noise.

    Operators that onnxruntime fused with others count for the one that computes (a convolution
    with its activation for the convolution); what it added itself (changes of the
    layout) is shared out over all layers.

    Args:
        network: what to measure.
        runs: how many runs at most; the median of each operator counts.
        warmup: runs before that, not counted.
        seconds: no further run is begun after so many.
        threads: threads of a run; None for all cores this process may use.
        progress: told about every run.

    Returns:
        name of a layer → milliseconds of one sample, in the order of the network; nodes without a
        layer go by their own name. Layers that take no time of their own are left out.

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
    """Return the time of each layer, given milliseconds by name and type of what ran."""
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
    """Return the node that an operator is about, where it may be named by the last one it fused.

    It is the nearest node before `last` of the type that ran ("FusedConv" is a Conv) which no
    earlier operator is about.
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
