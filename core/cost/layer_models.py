"""Networks of one layer, at several numbers of channels, to be timed alone.

Which numbers tell blocks apart: a layer of C channels computes a block less when the last 2ᵏ of
them leave, for blocks of 2ᵏ. So C − 1, C − 2, C − 4, … are timed, and half of C for the slope. Of
C as large as the values that a fully connected layer reads, no block is seen: half of C alone is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from ..coupling.groups import Groups
from ..coupling.rules.attributes import int_attribute
from ..data.base import fixed_batch
from ..ir.network import IR_VERSION, OPSET, Network, layer_of, shape_of
from ..ir.rebuild import node_key
from ..ir.weighted import WEIGHTED
from .owners import owner_of
from .step_model import BLOCKS, CONVOLUTION, DEPTHWISE, FULL

__all__ = ["LayerModel", "kind_of", "layer_models"]

SEED = 0

SEEN = 0.01
"""Parts of the channels below which a block does not show: times vary as much by chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerModel:
    """A layer that can be built with other numbers of channels.

    Args:
        layers: names of the layers that are alike, the first of the network first.
        kind: one of the kinds of :mod:`.step_model`.
        groups: in which it convolves.
        inputs: channels that it reads, in all groups; values where it is fully connected.
        outputs: channels that it makes.
        samples: that it computes at once.
    """

    layers: tuple[str, ...]
    kind: str
    groups: int
    inputs: int
    outputs: int
    samples: int
    _node: ir.Node = field(repr=False)
    _shape: tuple[int, ...] = field(repr=False)

    def counts(self) -> tuple[tuple[int, int], ...]:
        """Return the numbers of inputs and outputs to time, all channels first."""
        groups = self.groups
        if self.kind == DEPTHWISE:
            more = self.outputs // self.inputs
            return tuple((one, one * more) for one in _counts(self.inputs))
        ins, outs = _counts(self.inputs // groups), _counts(self.outputs // groups)
        pairs = [(ins[0], one) for one in outs] + [(one, outs[0]) for one in ins]
        pairs += [(ins[-1], outs[-1])]
        return tuple((groups * i, groups * o) for i, o in dict.fromkeys(pairs))

    def model(self, inputs: int, outputs: int) -> onnx.ModelProto:
        """Return the layer with other numbers of channels, and random weights.

        Args:
            inputs: channels that it reads.
            outputs: channels that it makes.
        """
        node = self._node
        random = np.random.default_rng(SEED)
        into = list(self._shape)
        into[-1 if self.kind == FULL else 1] = inputs
        weight = random.standard_normal(self._weight_shape(inputs, outputs), np.float32)
        weight /= np.float32(math.sqrt(inputs))
        values = [weight]
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            values.append(random.standard_normal(outputs, np.float32))
        names = ["weight", "bias"][: len(values)]
        settings = {
            name: attribute.value for name, attribute in node.attributes.items() if name != "group"
        }
        if self.kind != FULL:
            settings["group"] = self._groups_of(inputs)
        made = helper.make_node(node.op_type, ["x", *names], ["y"], name="layer", **settings)
        graph = helper.make_graph(
            [made], "layer",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, into)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(one, name) for one, name in zip(values, names, strict=True)],
        )  # fmt: skip
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        return onnx.shape_inference.infer_shapes(model)

    def weight_bytes(self, inputs: int, outputs: int) -> int:
        """Return the bytes of the weights of the layer with other numbers of channels.

        Args:
            inputs: channels that it reads.
            outputs: channels that it makes.
        """
        return math.prod(self._weight_shape(inputs, outputs)) * np.dtype(np.float32).itemsize

    def _groups_of(self, inputs: int) -> int:
        return inputs if self.kind == DEPTHWISE else self.groups

    def _weight_shape(self, inputs: int, outputs: int) -> tuple[int, ...]:
        node, groups = self._node, self._groups_of(inputs)
        stored = node.inputs[1]
        assert stored is not None, "a layer has weights"
        kernel = tuple(int(size) for size in shape_of(stored))[2:]
        if node.op_type == "Conv":
            return outputs, inputs // groups, *kernel
        if node.op_type == "ConvTranspose":
            return inputs, outputs // groups, *kernel
        turned = node.op_type == "Gemm" and int_attribute(node, "transB", 0) == 1
        return (outputs, inputs) if turned else (inputs, outputs)


def layer_models(network: Network, groups: Groups) -> tuple[LayerModel, ...]:
    """Return the layers that multiply channels, those that are alike as one.

    A layer that multiplies more than once is left out: no single number of channels tells its time.

    Args:
        network: the network.
        groups: its groups.
    """
    found: dict[object, LayerModel] = {}
    for name, node, shape in _layers(network, groups):
        kind, parts = kind_of(node)
        stored = node.inputs[1]
        assert stored is not None, "a layer has weights"
        weight = tuple(int(size) for size in shape_of(stored))
        inputs = shape[1] if kind != FULL else shape[-1]
        outputs = _outputs(node, weight, parts)
        bias = len(node.inputs) > 2 and node.inputs[2] is not None
        settings = tuple(sorted((key, str(one.value)) for key, one in node.attributes.items()))
        key = (node.op_type, shape, weight, bias, settings)
        known = found.get(key)
        found[key] = LayerModel(
            layers=(*(known.layers if known is not None else ()), name),
            kind=kind, groups=parts, inputs=inputs, outputs=outputs,
            samples=fixed_batch(network) or 1, _node=node, _shape=shape,
        )  # fmt: skip
    return tuple(found.values())


def kind_of(node: ir.Node) -> tuple[str, int]:
    """Return the kind of a multiplying node, and the number of its groups."""
    if node.op_type not in ("Conv", "ConvTranspose"):
        return FULL, 1
    groups = int_attribute(node, "group", 1)
    stored = node.inputs[1]
    assert stored is not None, "a layer has weights"
    each = shape_of(stored)[0 if node.op_type == "ConvTranspose" else 1]
    one = groups if node.op_type == "ConvTranspose" else 1
    return (DEPTHWISE, 1) if groups > 1 and each == one else (CONVOLUTION, groups)


def _layers(network: Network, groups: Groups) -> Iterator[tuple[str, ir.Node, tuple[int, ...]]]:
    """Yield name, node and shape of the input of each layer that multiplies once."""
    nodes = {node_key(node): node for node in network.graph}
    owners: dict[str, list[ir.Node]] = {}
    for term in groups.cost_terms:
        node = nodes[term.node]
        owners.setdefault(owner_of(network, layer_of(node), term.node), []).append(node)
    for name, own in owners.items():
        if len(own) > 1 or own[0].op_type not in WEIGHTED:
            continue
        read, stored = own[0].inputs[:2]
        if read is None or stored is None or stored.shape is None or read.shape is None:
            continue
        if own[0].op_type == "MatMul" and len(stored.shape) != 2:
            continue
        if own[0].op_type == "Gemm" and int_attribute(own[0], "transA", 0):
            continue
        shape = tuple(1 if isinstance(size, str) else size for size in shape_of(read))
        yield name, own[0], shape


def _outputs(node: ir.Node, weight: tuple[int, ...], groups: int) -> int:
    if node.op_type == "Conv":
        return weight[0]
    if node.op_type == "ConvTranspose":
        parts = weight[0] if kind_of(node)[0] == DEPTHWISE else groups
        return weight[1] * parts
    turned = node.op_type == "Gemm" and int_attribute(node, "transB", 0) == 1
    return weight[0] if turned else weight[1]


def _counts(channels: int) -> list[int]:
    """Return the numbers of channels to time: all, then fewer and fewer."""
    blocks = BLOCKS if BLOCKS[-1] >= SEEN * channels else ()
    fewer = {channels - block for block in blocks} | {channels // 2}
    return [channels, *sorted((one for one in fewer if one > 0), reverse=True)]
