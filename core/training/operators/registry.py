"""The table of operators, and what a maker of functions knows about a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from ...errors import UnsupportedError
from ...ir.rebuild import node_key
from ...registry import Registry
from ..recipe import Statistics

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATORS", "Call", "Function", "Mode", "Operator", "operator"]

Function = Callable[..., Any]
"""Takes the tensors of all inputs (None for an absent one), returns one output or a tuple."""


@dataclass
class Mode:
    """What functions of a module share and look up at every call.

    Args:
        training: whether batch normalisations take the statistics of the batch, and dropouts drop.
        statistics: node key → how a batch normalisation behaves in training.
        summed: returns the sum of a tensor over all processes that train together, where batch
            normalisations take the statistics of all of them; None where each takes its own.
        draw: returns what a dropout keeps, 0 or 1, for its node key, its input and its ratio.
    """

    training: bool = False
    statistics: Mapping[str, Statistics] = field(default_factory=dict)
    factors: dict[str, Tensor] = field(default_factory=dict)
    draw: Callable[[str, Tensor, float], Tensor] | None = None
    summed: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True, kw_only=True)
class Call:
    """One node of a graph.

    Args:
        node: the node.
        constants: for every input its array, where it is known without running the graph.
        mode: of the module.
    """

    node: ir.Node
    constants: Sequence[np.ndarray | None]
    mode: Mode

    @property
    def key(self) -> str:
        """What identifies the node in every copy of its graph."""
        return node_key(self.node)

    @property
    def opset(self) -> int:
        """Version of the operator set that the node is written for."""
        graph = self.node.graph
        return graph.opset_imports.get("", 18) if isinstance(graph, ir.Graph) else 18

    def given(self, place: int) -> bool:
        """Whether the node has an input at a place."""
        return place < len(self.node.inputs) and self.node.inputs[place] is not None

    def rank(self, place: int = 0) -> int:
        """Return the number of axes of an input.

        Raises:
            UnsupportedError: the graph does not tell it.
        """
        value = self.node.inputs[place]
        if value is None or value.shape is None:
            raise self.refusal("an input whose number of axes is not known")
        return len(value.shape)

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute as a Python value."""
        found = self.node.attributes.get(name)
        if found is None:
            return default
        value = found.value
        if found.type in (ir.AttributeType.INTS, ir.AttributeType.FLOATS):
            return list(value)
        return value

    def integers(self, place: int, name: str = "") -> Callable[[Sequence[Any]], list[int] | None]:
        """Return what gives the whole numbers of an input, or of the attribute in older opsets.

        It takes the tensors of all inputs. It returns None where neither is there.
        """
        if self.given(place):
            known = self.constants[place]
            if known is not None:
                numbers = [int(number) for number in known.reshape(-1)]
                return lambda _: list(numbers)
            return lambda tensors: [int(number) for number in tensors[place].reshape(-1).tolist()]
        listed = self.attribute(name) if name else None
        return lambda _: None if listed is None else list(listed)

    def refusal(self, what: str) -> UnsupportedError:
        """Return what to raise where an operator cannot be trained."""
        return UnsupportedError(f"operator {self.node.op_type} with {what} cannot be trained")


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """How an operator is computed.

    Args:
        make: returns the function of one node.
        cut: outputs through which no gradient passes.
        side: inputs that only steer (positions, conditions, shapes): a gradient need not pass them.
    """

    make: Callable[[Call], Function]
    cut: frozenset[int] = frozenset()
    side: frozenset[int] = frozenset()


OPERATORS: Registry[Operator] = Registry(
    "operator", package=__name__.rpartition(".")[0], group="secateur.operators"
)
"""Operators by their ONNX names."""


def operator(
    *names: str, cut: Sequence[int] = (), side: Sequence[int] = ()
) -> Callable[[Callable[[Call], Function]], Callable[[Call], Function]]:
    """Register a maker of functions under operator names."""

    def claim(make: Callable[[Call], Function]) -> Callable[[Call], Function]:
        entry = Operator(make=make, cut=frozenset(cut), side=frozenset(side))
        OPERATORS.add(*names, entry=entry)
        return make

    return claim
