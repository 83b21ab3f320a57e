"""Time to find channel groups, compared with Torch-Pruning on the same networks in one run.

    pip install torch torchvision onnx onnxscript
    pip install --no-deps torch-pruning==1.6.1
    python benchmarks/tracing.py [NETWORK …] [--runs N] [--exporter torchscript|dynamo] [--members]

Both tools run in turn on networks of torchvision with random weights. The result is a Markdown
table with the smallest processor time of each (one thread). Torch-Pruning's time includes building
its graph and getting all groups except that of the last layer. Ours is the time of `find_groups` on
the loaded ONNX file; the time to load the file is printed beside it. `--members` prints the layers
of every group that only one of the tools finds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch_pruning
import torchvision

import secateur
from secateur.core.coupling import Groups, find_groups
from secateur.core.ir.network import Network

NETWORKS = (
    "resnet152", "densenet121", "googlenet", "inception_v3", "efficientnet_b0", "regnet_y_400mf",
    "shufflenet_v2_x1_0", "mobilenet_v3_small", "mnasnet0_5", "squeezenet1_1", "resnext50_32x4d",
    "convnext_tiny",
)  # fmt: skip

WITH_HEADS = ("googlenet", "inception_v3")
"""Networks whose further heads, used in training only, are left out."""

Member = tuple[frozenset[str], int]
"""The layers that produce the channels of a group, and how many channels the group has."""


@dataclass(frozen=True)
class Measured:
    """Result of one tool on one network: seconds and the prunable groups, or the failure."""

    seconds: float = float("inf")
    found: Any = None
    members: tuple[Member, ...] = ()
    failure: str = ""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--runs", type=int, default=5, help="Runs of each, in turn.")
    parser.add_argument("--exporter", choices=("torchscript", "dynamo"), default="torchscript")
    parser.add_argument("--members", action="store_true", help="Print the groups that differ.")
    parser.add_argument("--keep", type=Path, help="Directory for the ONNX files.")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, "
          f"Torch-Pruning {version('torch-pruning')}, secateur {secateur.__version__}, "
          f"{arguments.exporter} exporter\n")  # fmt: skip
    print("| network | groups, Torch-Pruning | groups, secateur | the same | "
          "Torch-Pruning (s) | secateur (s) | share | load (s) |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in arguments.networks:
            measure(name, folder, arguments.exporter, arguments.runs, arguments.members)


def measure(name: str, folder: Path, exporter: str, runs: int, members: bool) -> None:
    """Print the row of one network."""
    model, sample = made(name)
    path = folder / f"{name}.{exporter}.onnx"
    if not path.exists():
        export(model, sample, path, exporter)
    start = time.process_time()
    network = secateur.load(path)
    load = time.process_time() - start
    theirs, ours = Measured(), Measured()
    for _ in range(runs):
        if not theirs.failure:
            theirs = better(theirs, lambda: torch_pruning_groups(model, sample))
        ours = better(ours, lambda: find_groups(network))
    if not theirs.failure:
        theirs = replace(theirs, members=their_members(model, *theirs.found))
    ours = replace(ours, members=our_members(network, ours.found))
    same = Counter(theirs.members) & Counter(ours.members)
    share = "" if theirs.failure else f"{ours.seconds / theirs.seconds:.2f}"
    their_seconds = "" if theirs.failure else f"{theirs.seconds:.3f}"
    print(f"| {name} | {theirs.failure or len(theirs.members)} | {len(ours.members)} | "
          f"{sum(same.values())} | {their_seconds} | {ours.seconds:.3f} | {share} | {load:.2f} |",
          flush=True)  # fmt: skip
    if members:
        for tool, found, other in (("Torch-Pruning", theirs, ours), ("secateur", ours, theirs)):
            for layers, channels in (Counter(found.members) - Counter(other.members)).elements():
                print(f"    only {tool}: {channels} channels of {', '.join(sorted(layers))}")


def made(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """Return a network with random weights and an input for it."""
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": False} if name in WITH_HEADS else {}
    model = getattr(torchvision.models, name)(weights=None, **options).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # exporters merge equal vectors
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
    return model, torch.randn(1, 3, 224, 224)


def export(model: torch.nn.Module, sample: torch.Tensor, path: Path, exporter: str) -> None:
    """Write a network as ONNX with a symbolic batch."""
    names: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"]}
    if exporter == "dynamo":
        batch = ({0: torch.export.Dim("n")},)
        torch.onnx.export(
            model, (sample,), path, dynamo=True, dynamic_shapes=batch, verbose=False, **names
        )
    else:
        axes = {"x": {0: "n"}, "y": {0: "n"}}
        torch.onnx.export(
            model, (sample,), str(path), dynamo=False, dynamic_axes=axes, opset_version=17, **names
        )


def better(before: Measured, run: Callable[[], Any]) -> Measured:
    """Run once more and return the faster of both runs."""
    start = time.process_time()
    try:
        found = run()
    except Exception as error:  # noqa: BLE001 - any failure of the other tool is its result
        return Measured(failure=f"fails: {type(error).__name__}")
    return Measured(min(time.process_time() - start, before.seconds), found)


def torch_pruning_groups(model: torch.nn.Module, sample: torch.Tensor) -> tuple[Any, list[Any]]:
    """Return Torch-Pruning's graph, and all its groups except that of the last layer."""
    last = [m for m in model.modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d))][-1]
    graph = torch_pruning.DependencyGraph().build_dependency(model, sample, verbose=False)
    return graph, list(graph.get_all_groups(ignored_layers=[last]))


def their_members(model: torch.nn.Module, graph: Any, groups: list[Any]) -> tuple[Member, ...]:
    """Return the layers and the size of each of Torch-Pruning's groups."""
    names = {module: name for name, module in model.named_modules()}
    found = []
    for group in groups:
        makers = {
            names[dependency.target.module]
            for dependency, _ in group
            if dependency.target.module in names and produces(graph, dependency)
        }
        found.append((frozenset(makers), len(group[0][1])))
    return tuple(found)


def produces(graph: Any, dependency: Any) -> bool:
    """Whether a dependency cuts the outputs of a layer that is not depthwise."""
    module = dependency.target.module
    if not isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
        return False
    depthwise = isinstance(module, torch.nn.Conv2d) and module.groups == module.in_channels > 1
    return not depthwise and bool(graph.is_out_channel_pruning_fn(dependency.handler))


def our_members(network: Network, groups: Groups) -> tuple[Member, ...]:
    """Return the layers and the size of each of our prunable groups."""
    return tuple(
        (frozenset(module_name(network, layer) for layer in group.layers), len(group.units))
        for group in groups.groups
        if group.prunable
    )


def module_name(network: Network, layer: str) -> str:
    """Return the name of the module that a node of an exported network belongs to."""
    node = next(node for node in network.graph if node.name == layer)
    if not layer.startswith("/"):  # the dynamo exporter keeps the names of weights
        return str(node.inputs[1].name).rpartition(".")[0]
    whole, last = "", ""
    for part in layer.strip("/").split("/")[:-1]:
        nested = last and part.startswith(last + ".")
        whole = whole[: -len(last)] + part if nested else f"{whole}.{part}".strip(".")
        last = part
    return whole


if __name__ == "__main__":
    sys.exit(main())
