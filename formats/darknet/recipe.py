"""What a cfg says about training: the losses of its heads, its schedule, what each layer learns.

Where Darknet's code for CPUs and that for GPUs differ, this follows the GPU's (cuDNN), with which
networks were trained.

Source: parser.c, network.c `update_network_gpu`, convolutional_kernels.cu, shortcut_layer.c.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import onnx_ir as ir

from ...core.errors import FormatError, located
from ...core.ir.network import Network, blob_refs, layer_of
from ...core.ir.rebuild import node_key
from ...core.training.passing import Passing
from ...core.training.recipe import Objective, Recipe, Rule, Statistics
from ...core.training.solvers.settings import Settings
from ..adapter import key
from .batch_norm import EPSILON, PJREDDIE_EPSILON
from .head_training import HEADS
from .net_training import POLICIES, NetTraining
from .section import Context, Section, read_section
from .sections.convolutional import Convolutional
from .source import DarknetSource, Record
from .weights import seen_of, stamped

__all__ = ["TRUTH", "recipe", "seen", "with_seen"]

TRUTH = "truth"
"""Key of a batch under which the targets are."""
FRACTION = 0.99
"""Share of the old statistics. Source: batchnorm_layer.c `forward_batchnorm_layer_gpu`."""
LEARNERS = {
    False: ("convolutional", "conv", "batchnorm", "shortcut"),
    True: ("convolutional", "conv", "connected", "conn", "local", "deconvolutional", "deconv"),
}
"""Sections that AlexeyAB's (False) and pjreddie's Darknet (True) train: the others lack an update,
or the flag without which AlexeyAB's skips it."""
UNFOLLOWED = {
    "badlabels_rejection_percentage": "every label counts",
    "num_sigmas_reject_badlabels": "every label counts",
    "adversarial_lr": "images are not changed against the network",
    "attention": "images are not changed against the network",
    "contrastive": "the loss of embeddings is left out",
    "unsupervised": "only labels count",
    "dynamic_minibatch": "batches keep their number of images",
    "gaussian_noise": "images get no noise",
    "blur": "images are not blurred",
    "equidistant_point": "anchors are matched by overlap alone",
    "reject_threshold": "every label counts",
    "assisted_excitation": "maps are not excited by labels",
    "weights_reject_freq": "no weight is rejected",
    "track": "images are drawn one by one, not as parts of films",
}
"""Keys of AlexeyAB's Darknet that change training and are not followed → what that means. Source:
parser.c, network.c, detector.c, data.c."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _LayerTraining(Section):
    """Keys that any layer may have."""

    learning_rate: float = key(1.0)
    stopbackward: int = key(0)
    onlyforward: bool = key(default=False)
    dont_update: int = key(0)
    burnin_update: int = key(0)
    train_only_bn: bool = key(default=False)
    clip: float = key(0.0)
    grad_centr: bool = key(default=False)
    dropblock: bool = key(default=False)
    batch_normalize: bool = key(default=False)


def seen(network: Network) -> int:
    """Return how many images the weights say that training saw."""
    assert isinstance(network.source, DarknetSource), "not a network of this format"
    return seen_of(network.source.header)


def with_seen(network: Network, images: int) -> Network:
    """Return the network whose weights file will say that training saw so many images."""
    source = network.source
    assert isinstance(source, DarknetSource), "not a network of this format"
    changed = replace(source, header=stamped(source.header, images))
    return replace(network, source=changed)


def recipe(network: Network, *, all_layers: bool = False) -> Recipe:
    """Return what the files of a network say about training it.

    Args:
        network: read from Darknet's files with `training=True`, or made from such a one.
        all_layers: train layers too that this Darknet never updates, though they have weights
            (AlexeyAB's: [connected], [local], [implicit]).

    Raises:
        FormatError: keys contradict each other; names the place.
        UnsupportedError: a head has a loss that is not supported.
    """
    source = network.source
    assert isinstance(source, DarknetSource), "not a network of this format"
    if not source.training:
        raise FormatError("the network was read for inference: its dropouts are not in the graph")
    with located(file=str(source.paths[".cfg"])):
        return _Reading(network, source, all_layers=all_layers).recipe()


S = TypeVar("S", bound=Section)

ENDS = {
    "gelu": ("gelu", 7),
    "normalize_channels": ("channels", 3),
    "normalize_channels_softmax": ("channels softmax", 3),
    "normalize_channels_softmax_maxval": ("channels softmax", 5),
}
"""Activation → kind of its gradient, and how many nodes its last is behind its first."""


def _activation(name: str, nodes: Sequence[ir.Node]) -> tuple[str, Passing] | None:
    """Return the value that an activation makes, and where its gradient goes.

    Its nodes stand together behind those that make its input: the first of them is known by what it
    does alone.
    """
    kind, length = ENDS[name]
    firsts: dict[str, Callable[[ir.Node], bool]] = {
        "gelu": lambda node: node.op_type == "Mul" and node.inputs[0] is node.inputs[1],
        "normalize_channels": lambda node: node.op_type == "Relu",
        "normalize_channels_softmax": lambda node: node.op_type == "Exp",
        "normalize_channels_softmax_maxval": lambda node: node.op_type == "ReduceMax",
    }
    start = next((k for k, node in enumerate(nodes) if firsts[name](node)), None)
    if start is None or start + length >= len(nodes):
        return None
    source = nodes[start].inputs[0]
    assert source is not None
    return _output(nodes[start + length]), Passing(kind=kind, source=str(source.name))


def _output(node: ir.Node) -> str:
    return str(node.outputs[0].name)


class _Reading:
    """One look at a cfg for training."""

    def __init__(self, network: Network, source: DarknetSource, *, all_layers: bool):
        self.network = network
        self.source = source
        self.all_layers = all_layers
        net, *self.blocks = source.document.sections
        first = source.records[0].section.context
        self.context: Context = first
        with located(line=net.line, item=f"[{net.name}]"):
            read = read_section(NetTraining, net, replace(first, index=0))
        assert isinstance(read, NetTraining)
        self.net = read
        self.layers = [self._read(_LayerTraining, index) for index in range(len(self.blocks))]
        if net.options.get("clip") is not None and first.pjreddie:
            self.layers = [replace(layer, clip=self.net.clip) for layer in self.layers]
        self.names = {
            ref: name
            for name, value in network.graph.initializers.items()
            for ref in blob_refs(value)
        }
        self.notes: list[str] = []

    def _read(self, cls: type[S], index: int) -> S:
        block = self.blocks[index]
        with located(line=block.line, item=self.source.records[index].item):
            found = read_section(cls, block, self.source.records[index].section.context)
        assert isinstance(found, cls)
        return found

    def recipe(self) -> Recipe:
        """Return the recipe."""
        objectives = tuple(self._objectives())
        rules = tuple(self._rules())
        ruled = {rule.name for rule in rules}
        every = {name for record in self.source.records for name in self._own(record)}
        stopped = {
            name for index, record in enumerate(self.source.records) if self._stopped(index)
            for name in self._own(record)
        }  # fmt: skip
        self._note()
        return Recipe(
            objectives=objectives,
            rules=rules,
            frozen=frozenset((every - ruled) | stopped),
            statistics=self._statistics(),
            passings=self._passings(),
            settings=self._settings(ruled),
            notes=tuple(self.notes),
        )

    def _settings(self, ruled: Collection[str]) -> Settings:
        """Return the settings of the solver; what it trains of convolutions is what is averaged."""
        found = self.net.settings()
        if found.average is None:
            return found
        names = [
            name for record in self.source.records
            if isinstance(record.section, Convolutional)
            for name in self._own(record) if name in ruled
        ]  # fmt: skip
        average = replace(found.average, names=tuple(dict.fromkeys(names)))
        return replace(found, average=average)

    def _objectives(self) -> Iterator[Objective]:
        """Yield the losses of the heads."""
        for index, block in enumerate(self.blocks):
            record = self.source.records[index]
            if block.name not in HEADS or self.layers[index].onlyforward:
                continue
            head = self._read(HEADS[block.name], index)
            with located(line=block.line, item=record.item):
                loss = head.make_loss((self.net.width, self.net.height))
            if loss is None:
                continue
            (before,) = record.section.inputs()
            output = self._value(before if block.name == "cost" else index)
            reads = (self._value(self._pulled(before)), output, TRUTH)
            yield Objective(name=str(index), loss=loss, reads=reads)

    def _pulled(self, index: int) -> int:
        """Return the layer that gets the delta of a head: heads pass deltas on as they are."""
        while index >= 0 and self.blocks[index].name in HEADS:
            (index,) = self.source.records[index].section.inputs()
        return index

    def _value(self, index: int) -> str:
        """Return the name of a layer's output; −1 is the input."""
        if index < 0:
            return next(iter(self.network.inputs))
        return self.network.layers[index].tops[0]

    def _last_stop(self) -> int:
        """Return the last layer with stopbackward=1; −1 for none."""
        return max(
            (k for k in range(len(self.layers)) if self.layers[k].stopbackward == 1), default=-1
        )

    def _stopped(self, index: int) -> bool:
        """Whether no gradient reaches a layer."""
        return index <= self._last_stop() or self.layers[index].onlyforward

    def _own(self, record: Record) -> list[str]:
        """Return the initializers that hold the trained blobs of a layer, statistics left out."""
        return [
            self.names[ref]
            for name, (ref, *_) in record.refs.items()
            if ref in self.names and not name.startswith("rolling")
        ]

    def _rules(self) -> Iterator[Rule]:
        """Yield a rule for each blob that is updated, in the order of the file."""
        pjreddie = self.context.pjreddie
        only_bn = max(
            (k for k in range(len(self.layers)) if self.layers[k].train_only_bn), default=-1
        )
        last, done = self._last_stop(), set[str]()
        for index, record in enumerate(self.source.records):
            flag, kind = self.layers[index], self.blocks[index].name
            if kind not in LEARNERS[pjreddie] and not self.all_layers:
                continue
            if not pjreddie and (index < last or index <= only_bn):
                continue
            for name, (ref, *_) in record.refs.items():
                initializer = self.names.get(ref)
                if initializer is None or name.startswith("rolling") or initializer in done:
                    continue
                done.add(initializer)
                yield self._rule(initializer, kind, name, flag)

    def _rule(self, initializer: str, kind: str, blob: str, flag: _LayerTraining) -> Rule:
        weight, shortcut = blob == "weight", kind == "shortcut"
        decayed = (weight or self.net.adam) and not shortcut
        first = 0
        if not self.context.pjreddie:
            first = max(flag.dont_update + 1, flag.burnin_update * self.net.burn_in)
        return Rule(
            name=initializer,
            rate=flag.learning_rate,
            decay=1.0 if decayed else 0.0,
            limit=1.0 if shortcut else None,
            clip=flag.clip if weight and flag.clip and not shortcut else None,
            centred=weight and flag.grad_centr and flag.batch_normalize,
            first=first,
        )

    def _statistics(self) -> dict[str, Statistics]:
        """Return node key → behaviour of each batch normalisation."""
        root = PJREDDIE_EPSILON if self.context.rooted else 0.0
        rule = Statistics(fraction=FRACTION, epsilon=EPSILON, root=root)
        return {
            node_key(node): rule
            for node in self.network.graph
            if node.op_type == "BatchNormalization"
        }

    def _passings(self) -> dict[str, Passing]:
        """Return the values whose gradients Darknet computes in its own way."""
        found: dict[str, Passing] = {}
        by_layer: dict[int, list[ir.Node]] = {}
        for node in self.network.graph:
            index = layer_of(node)
            if index is not None:
                by_layer.setdefault(index, []).append(node)
        for index, record in enumerate(self.source.records):
            nodes = by_layer.get(index, [])
            activation = getattr(record.section, "activation", "")
            if record.refs and self.blocks[index].name == "shortcut":
                weight = self.names[record.refs["weight"][0]]
                share = next(node for node in nodes if node.op_type == "Div")
                found[_output(share)] = Passing(kind="straight", source=weight)
            if self.blocks[index].name == "reorg" and any(n.op_type == "Gather" for n in nodes):
                source = str(self.network.layers[index].bottoms[0])
                step = record.section.stride  # type: ignore[attr-defined]
                top = self.network.layers[index].tops[0]
                found[top] = Passing(kind="blocks", source=source, step=step)
                self.notes.append(
                    f"{record.item}: blocks do not divide the channels; as in Darknet, images of "
                    "a batch then read parts of each other"
                )
            if activation in ENDS and not self.context.pjreddie:
                passing = _activation(activation, nodes)
                if passing is not None:
                    found[passing[0]] = passing[1]
        return found

    def _note(self) -> None:
        """Write down what a user must know."""
        if not self.all_layers:
            idle = [
                str(index) for index, record in enumerate(self.source.records)
                if record.stored and self.blocks[index].name not in LEARNERS[self.context.pjreddie]
            ]  # fmt: skip
            if idle:
                self.notes.append(
                    f"layers {', '.join(idle)} keep their weights: this Darknet never updates them"
                )
        if self.net.policy not in POLICIES:
            self.notes.append(f"policy={self.net.policy[:80]} is unknown and taken for constant")
        if any(self.layers[k].dropblock for k in range(len(self.layers))):
            self.notes.append("dropblock is not followed: these layers drop nothing")
        if self.net.ema_alpha and self.net.settings().average is None:
            self.notes.append(
                f"ema_alpha={self.net.ema_alpha:g} has no effect: weights are averaged from half "
                f"of max_batches to 1,000 before it, and it is {self.net.max_batches}"
            )
        self.notes += self._unfollowed()
        if any(self.layers[k].stopbackward > 1 for k in range(len(self.layers))):
            self.notes.append("stopbackward above 1 is not followed: gradients pass from the start")

    def _unfollowed(self) -> Iterator[str]:
        """Yield a note for each key that changes Darknet's training, and not this one."""
        if self.context.pjreddie:
            return
        found: dict[str, str] = {}
        for block in self.source.document.sections:
            for name, option in block.options.items():
                if name in UNFOLLOWED and (option.value or "0").strip("0.,"):
                    found.setdefault(name, block.name)
        for name, owner in found.items():
            yield f"[{owner}] {name} is not followed: {UNFOLLOWED[name]}"
