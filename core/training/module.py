"""A network as a PyTorch module.

The nodes that the wanted values need are compiled once into a flat list of functions; a step runs
the list. Parameters keep the names of their initializers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx_ir as ir

from ..errors import DataError, UnsupportedError, located
from ..ir.network import Network, blob_refs, layer_of
from ..ir.rebuild import node_key, rebuild
from ..ir.subgraphs import subgraphs
from .framework import torch
from .fusion import chains, normalised, operands, overwriting, readers_of
from .operators import OPERATORS, Call
from .operators.registry import Function, Mode
from .passing import Passing, pass_back
from .recipe import Statistics

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TrainingModule"]

_STATISTICS = (3, 4)
"""Inputs of BatchNormalization that hold the mean and the variance."""


class _Step(NamedTuple):
    """One node: its function, the places of its inputs and outputs, and what is read last here."""

    run: Function
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    done: tuple[int, ...]


@dataclass(frozen=True)
class _Plan:
    """What computes some values."""

    steps: tuple[_Step, ...]
    feeds: tuple[tuple[str, int], ...]
    stored: tuple[tuple[str, int], ...]
    wanted: tuple[tuple[str, int], ...]
    size: int
    refusal: UnsupportedError | None
    """Why a parameter can get no gradient; None where all can."""


class TrainingModule(torch.nn.Module):
    """A network whose weights are parameters; exact to the graph in eval mode.

    Args:
        network: the network.
        statistics: node key → how a batch normalisation behaves in training.
        frozen: initializers that get no gradient.
        passings: value → where its gradient goes, if not the way it was computed.
        channels_last: keep images and kernels with their channels last in memory, which processors
            convolve faster. Results differ by rounding.

    Raises:
        UnsupportedError: PyTorch is not installed.
    """

    def __init__(
        self,
        network: Network,
        *,
        statistics: Mapping[str, Statistics] | None = None,
        frozen: Collection[str] = (),
        passings: Mapping[str, Passing] | None = None,
        channels_last: bool = False,
    ):
        super().__init__()
        self.passings = dict(passings or {})
        self.channels_last = channels_last
        self.mode = Mode(statistics=dict(statistics or {}))
        self.source = network
        """The network that the module was made of."""
        self.names = frozenset(network.values())
        """Names of all values that can be asked for."""
        self._plans: dict[tuple[tuple[str, ...], tuple[str, ...]], _Plan] = {}
        self._constants: dict[str, np.ndarray] = {}
        kept = _statistics(network) | {rule.factor for rule in self.mode.statistics.values()}
        for name, value in network.graph.initializers.items():
            self._take(name, value, buffer=name in kept, frozen=name in frozen)
        self._factor_of = _factors(network, self.mode.statistics)
        self._bind()
        if channels_last:
            self.to(memory_format=torch.channels_last)

    def _take(self, name: str, value: ir.Value, *, buffer: bool, frozen: bool) -> None:
        """Make a tensor of an initializer.

        PyTorch's own registration refuses names with dots, which initializers may have.
        """
        assert value.const_value is not None
        array = np.array(value.const_value.numpy())
        tensor = torch.from_numpy(array)
        if not buffer and blob_refs(value) and tensor.is_floating_point():
            self._parameters[name] = torch.nn.Parameter(tensor, requires_grad=not frozen)
            return
        self._buffers[name] = tensor
        if not blob_refs(value):
            self._constants[name] = array
            self._non_persistent_buffers_set.add(name)

    def _bind(self) -> None:
        """Let batch normalisations find their factors after tensors were replaced."""
        names = {rule.factor for rule in self.mode.statistics.values()} - {""}
        self.mode.factors = {name: self._buffers[name] for name in names}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> TrainingModule:
        """Move or convert all tensors (PyTorch calls this)."""
        super()._apply(fn, recurse)
        self._bind()
        return self

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, strict: Any, missing_keys: Any,
        unexpected_keys: list[str], error_msgs: Any,
    ) -> None:  # fmt: skip
        """Take tensors (PyTorch calls this, and takes a name with a dot for that of a part)."""
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        own = {f"{prefix}{name}" for name in (*self._parameters, *self._buffers)}
        unexpected_keys[:] = [key for key in unexpected_keys if key not in own]

    def __deepcopy__(self, memo: dict[int, Any]) -> TrainingModule:
        copied = TrainingModule(
            self.source,
            statistics=self.mode.statistics,
            frozen=[name for name, p in self._parameters.items() if not p.requires_grad],
            passings=self.passings,
            channels_last=self.channels_last,
        )
        copied.load_state_dict(self.state_dict())
        copied.mode.draw = self.mode.draw
        return copied.train(self.training)

    def sharing(self, network: Network) -> TrainingModule:
        """Return a module in training mode that has the tensors of this one.

        Args:
            network: the same network at another size of its input: with the same initializers, but
                for constants that no file holds.
        """
        found = TrainingModule(
            network, statistics=self.mode.statistics, passings=self.passings,
            channels_last=self.channels_last,
        )  # fmt: skip
        device = next(iter(self.state_dict().values())).device
        found.to(device)
        found.mode = self.mode
        found._parameters = self._parameters
        for name, tensor in self._buffers.items():
            if name not in self._constants:
                found._buffers[name] = tensor
        return found.train()

    def train(self, mode: bool = True) -> TrainingModule:
        """Switch to training, or to evaluation."""
        super().train(mode)
        self.mode.training = mode
        return self

    def forward(
        self,
        feeds: Tensor | Mapping[str, Tensor],
        wanted: Sequence[str] | None = None,
        also: Sequence[str] = (),
    ) -> dict[str, Tensor]:
        """Return values of the graph by name.

        Args:
            feeds: input → tensor; a tensor alone is the only input. Other keys are not read.
            wanted: names of the values; None for the outputs.
            also: names of further values, which need not have gradients.

        Raises:
            DataError: an input that is needed is missing.
            UnsupportedError: an operator that is needed is not known here, or (in training mode)
                lets no gradient of `wanted` through where one must pass.
        """
        names = tuple(self.source.outputs) if wanted is None else tuple(wanted)
        plan = self._plans.get((names, tuple(also)))
        if plan is None:
            plan = self._plans[names, tuple(also)] = self._compile(names, tuple(also))
        tracked = torch.is_grad_enabled()
        if plan.refusal is not None and self.training and tracked:
            raise plan.refusal
        if isinstance(feeds, torch.Tensor):
            (only,) = self.source.inputs
            feeds = {only: feeds}
        values: list[Any] = [None] * plan.size
        for name, place in plan.feeds:
            feed = feeds.get(name)
            if feed is None:
                raise DataError(f"the data holds no '{name}', an input of the network")
            if self.channels_last and feed.dim() == 4:
                feed = feed.contiguous(memory_format=torch.channels_last)
            values[place] = feed
        parameters, buffers = self._parameters, self._buffers
        for name, place in plan.stored:
            values[place] = parameters[name] if name in parameters else buffers[name]
        for run, reads, writes, done in plan.steps:
            found = run(*[values[place] for place in reads])
            if len(writes) == 1:
                values[writes[0]] = found
            else:
                for place, value in zip(writes, found, strict=False):
                    values[place] = value
            if not tracked:
                for place in done:
                    values[place] = None
        return {name: values[place] for name, place in plan.wanted}

    def tensor(self, name: str) -> Tensor:
        """Return the tensor of an initializer."""
        found = self._parameters.get(name)
        return self._buffers[name] if found is None else found

    def stored(self, name: str) -> Tensor:
        """Return an initializer as a file holds it: statistics are times their factor."""
        factor = self._factor_of.get(name)
        return self.tensor(name) if factor is None else self.tensor(name) * self._buffers[factor]

    def network(self) -> Network:
        """Return the network with the weights as they are now.

        What did not change stays the same tensor object, so files keep their bytes.
        """
        changed = {}
        for name, tensor in (*self._parameters.items(), *self._buffers.items()):
            if name in self._constants:
                continue
            array = tensor.detach().cpu().numpy()
            before = self.source.array(name)
            if array.tobytes() != np.ascontiguousarray(before).tobytes():
                changed[name] = array.astype(before.dtype, copy=True)
        return rebuild(self.source, tensors=changed) if changed else self.source

    def _compile(self, differentiated: tuple[str, ...], also: tuple[str, ...]) -> _Plan:
        """Return the plan for some values."""
        graph = self.source.graph
        wanted = tuple(dict.fromkeys((*differentiated, *also)))
        nodes = _needed(graph, wanted)
        places: dict[str, int] = {"": 0}  # an absent input is None
        steps: list[tuple[Function, tuple[int, ...], tuple[int, ...]]] = []

        def place(value: ir.Value | None) -> int:
            name = "" if value is None else str(value.name)
            return places.setdefault(name, len(places))

        alone = {*wanted, *self.passings, *(one.source for one in self.passings.values())}
        readers = readers_of(nodes)
        for chain in chains(nodes, alone):
            first, last = chain[0], chain[-1]
            with located(item=self._item(first)):
                run = overwriting(first, readers, alone) or self._function(first)
            if len(chain) > 1:
                run = normalised(run, chain, self._constants)
            reads = tuple(place(value) for value in (*first.inputs, *operands(chain)))
            steps.append((run, reads, tuple(place(value) for value in last.outputs)))
            for value in last.outputs:
                passing = self.passings.get(_name(value))
                if passing is not None and passing.source in places:
                    own = places[_name(value)]
                    steps.append((_passed(passing), (places[passing.source], own), (own,)))
        for name in wanted:
            places.setdefault(name, len(places))
        keep = {0, *(places[name] for name in wanted)}
        stored = [name for name in graph.initializers if name in places]
        return _Plan(
            steps=_with_last_reads(steps, keep | {places[name] for name in stored}),
            feeds=tuple((n, places[n]) for n in map(_name, graph.inputs) if n in places),
            stored=tuple((name, places[name]) for name in stored),
            wanted=tuple((name, places[name]) for name in wanted),
            size=len(places),
            refusal=self._refusal(differentiated),
        )

    def _item(self, node: ir.Node) -> str:
        index = layer_of(node)
        if index is None or index >= len(self.source.layers):
            return f"operator '{node.name}'"
        layer = self.source.layers[index]
        return f"layer '{layer.name}' ({layer.type})"

    def _function(self, node: ir.Node) -> Function:
        """Return the function of a node.

        Raises:
            UnsupportedError: its operator is not known here.
        """
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS or subgraphs(node):
            name = f"{node.domain}.{node.op_type}".lstrip(".")
            raise UnsupportedError(f"operator {name} cannot be trained")
        constants = [
            None if value is None else self._constants.get(str(value.name), _constant(value))
            for value in node.inputs
        ]
        return OPERATORS[node.op_type].make(Call(node=node, constants=constants, mode=self.mode))

    def _refusal(self, wanted: Collection[str]) -> UnsupportedError | None:
        """Return why some parameter can get no gradient of some values; None where all can.

        That is so where it acts on them, but only through operators that let no gradient through.
        """
        trained = {name for name, p in self._parameters.items() if p.requires_grad}
        nodes = _needed(self.source.graph, wanted)
        acting = trained & {_name(v) for node in nodes for v in node.inputs if v is not None}
        lost = acting - _differentiable(nodes, wanted)
        if not lost:
            return None
        reached = set(lost)
        for node in nodes:
            entry = OPERATORS[node.op_type]
            for place, value in enumerate(node.inputs):
                if value is None or _name(value) not in reached:
                    continue
                if place in entry.side or entry.cut:
                    return UnsupportedError(
                        f"{self._item(node)}: operator {node.op_type} has no gradient, but one "
                        f"must pass it to train '{min(lost)}'"
                    )
                reached.update(_name(output) for output in node.outputs)
        raise AssertionError("a parameter without a gradient acts through an operator without one")


def _differentiable(nodes: Sequence[ir.Node], wanted: Collection[str]) -> set[str]:
    """Return the names of all values that a gradient of some values reaches."""
    reached = set(wanted)
    for node in reversed(nodes):
        entry = OPERATORS[node.op_type]
        if any(_name(v) in reached for k, v in enumerate(node.outputs) if k not in entry.cut):
            reached.update(
                _name(v) for k, v in enumerate(node.inputs) if v is not None and k not in entry.side
            )
    return reached


def _passed(passing: Passing) -> Function:
    """Return the function that gives a value a gradient of its own."""

    def run(x: Tensor, y: Tensor) -> Tensor:
        return pass_back(x, y, passing) if y.requires_grad else y

    return run


def _name(value: ir.Value) -> str:
    return str(value.name)


def _constant(value: ir.Value) -> np.ndarray | None:
    """Return the array of a Constant node's output."""
    node = value.producer()
    if node is None or node.op_type != "Constant" or "value" not in node.attributes:
        return None
    return np.asarray(node.attributes["value"].as_tensor().numpy())


def _statistics(network: Network) -> set[str]:
    """Return the initializers that batch normalisations take their mean and variance from."""
    return {
        _name(value)
        for node in network.graph
        if node.op_type == "BatchNormalization"
        for value in (node.inputs[place] for place in _STATISTICS)
        if value is not None and value.const_value is not None
    }


def _factors(network: Network, statistics: Mapping[str, Statistics]) -> dict[str, str]:
    """Return mean or variance → the factor that a file multiplies it by."""
    found: dict[str, str] = {}
    for node in network.graph:
        rule = statistics.get(node_key(node))
        if rule is not None and rule.factor:
            values = [node.inputs[place] for place in _STATISTICS]
            found.update((_name(value), rule.factor) for value in values if value is not None)
    return found


def _needed(graph: ir.Graph, wanted: Collection[str]) -> list[ir.Node]:
    """Return the nodes that some values depend on, in the order of the graph."""
    missing = set(wanted)
    found = []
    for node in reversed(list(graph)):
        if any(_name(value) in missing for value in node.outputs):
            found.append(node)
            missing.update(_name(value) for value in node.inputs if value is not None)
    return found[::-1]


def _with_last_reads(
    steps: Sequence[tuple[Function, tuple[int, ...], tuple[int, ...]]], keep: Collection[int]
) -> tuple[_Step, ...]:
    """Return the steps, each with the places that no later step reads."""
    seen = set(keep)
    found = []
    for run, reads, writes in reversed(steps):
        done = tuple(place for place in {*reads, *writes} if place not in seen)
        seen.update(done)
        found.append(_Step(run, reads, writes, done))
    return tuple(found[::-1])
