"""Generated nets with companions: what is written loads together and computes what was masked."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import secateur
from secateur.core.coupling import find_groups
from secateur.core.coupling.edit import mask
from secateur.core.ir.network import Network
from secateur.core.plan.plan import removed_units
from support.random_weights import caffemodel_for

few = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
SIDE, LOSS = 8, "_loss"
INPUT = (
    'layer { name: "data" type: "Input" top: "data" '
    f"input_param {{ shape {{ dim: 1 dim: 3 dim: {SIDE} dim: {SIDE} }} }} }}"
)
DATA = (
    'layer { name: "source" type: "Data" top: "data" top: "label" include { phase: %s } '
    f"transform_param {{ crop_size: {SIDE} }} "
    'data_param { source: "nowhere_lmdb" batch_size: 64 backend: LMDB } }'
)


@dataclass(frozen=True)
class Part:
    """A layer: one line of a prototxt."""

    name: str
    kind: str
    bottoms: tuple[str, ...]
    top: str
    param: str = ""
    phase: str = ""

    def __str__(self) -> str:
        bottoms = " ".join(f'bottom: "{bottom}"' for bottom in self.bottoms)
        phase = f"include {{ phase: {self.phase} }}" if self.phase else ""
        return (
            f'layer {{ name: "{self.name}" type: "{self.kind}" {bottoms} top: "{self.top}" '
            f"{self.param} {phase} }}"
        )


@dataclass(frozen=True)
class Family:
    """A deploy net, a companion, and the caffemodel of both.

    `changes` says what the companion has and the deploy net has not, or the other way around.
    """

    deploy: str
    companion: str
    weights: bytes = field(repr=False)
    changes: tuple[str, ...]


class _Net:
    """Layers one after another, with the channels of each blob."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.channels: dict[str, int] = {}

    def conv(self, name: str, bottom: str, width: int, kernel: int = 3, more: str = "") -> str:
        param = f"num_output: {width} kernel_size: {kernel} pad: {kernel // 2} {more}"
        return self.add(
            name, "Convolution", (bottom,), f"convolution_param {{ {param} }}", width=width
        )

    def add(
        self, name: str, kind: str, bottoms: tuple[str, ...], param: str = "", width: int = 0,
        top: str = "",
    ) -> str:  # fmt: skip
        self.parts.append(Part(name, kind, bottoms, top or name, param))
        self.channels[top or name] = width or self.channels[bottoms[0]]
        return top or name


BLOCKS = ("conv", "norm", "residual", "join", "depthwise", "grouped")
HEADS = ("conv", "fc", "depthwise", "join", "grouped")


@st.composite
def families(draw: st.DrawFn) -> Family:
    """Draw a trunk with a classifier, and a companion with other layers around the trunk."""
    net, width = _Net(), draw(st.sampled_from([4, 8]))
    net.channels["data"] = 3
    last = net.conv("stem", "data", width)
    for number, kind in enumerate(draw(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=4))):
        last = _block(net, kind, f"{kind}{number}", last, width)
    points = [blob for blob in net.channels if blob != "data"]
    trunk = list(net.parts)
    net.add("fc", "InnerProduct", (last,), "inner_product_param { num_output: 5 }")
    net.add("prob", "Softmax", ("fc",))
    end = net.parts[len(trunk) :]
    del net.parts[len(trunk) :]
    heads: list[Part] = []
    changes: list[str] = []
    for number, kind in enumerate(draw(st.lists(st.sampled_from(HEADS), max_size=3))):
        changes.append(kind)
        phase = draw(st.sampled_from(["", "TRAIN"]))
        _head(net, kind, f"head{number}", draw(st.permutations(points)))
        heads += [replace(part, phase=phase) for part in net.parts[len(trunk) :]]
        del net.parts[len(trunk) :]
    whole = "\n".join([INPUT, *map(str, trunk), *(str(replace(p, phase="")) for p in heads),
                       *map(str, end)])  # fmt: skip
    own = list(trunk)
    if draw(st.booleans()):
        changes.append("renamed")
        place = draw(st.sampled_from([k for k, part in enumerate(own) if "_param" in part.param]))
        own[place] = replace(own[place], name=f"{own[place].name}_new")
    tail = end[:1]
    if heads and draw(st.booleans()):
        changes.append("removed")
        tail = []
    lines = [*map(str, own), *map(str, tail), *map(str, heads)]
    if draw(st.booleans()):
        changes.append("trained")
        lines = [DATA % "TRAIN", DATA % "TEST", *lines]
        read = {bottom for part in (*own, *tail, *heads) for bottom in part.bottoms}
        lines += [
            f'layer {{ name: "{part.top}{LOSS}" type: "SoftmaxWithLoss" bottom: "{part.top}" '
            f'bottom: "label" top: "{part.top}{LOSS}" }}'
            for part in tail
            if part.top not in read
        ]
    else:
        lines = [INPUT, *lines]
    return Family(
        deploy="\n".join([INPUT, *map(str, trunk), *map(str, end)]),
        companion="\n".join(lines),
        weights=caffemodel_for(whole.encode(), draw(st.integers(0, 99))),
        changes=tuple(changes),
    )


def _block(net: _Net, kind: str, name: str, last: str, width: int) -> str:
    if kind == "conv":
        net.conv(name, last, width)
        return net.add(f"{name}_relu", "ReLU", (name,), top=name)
    if kind == "norm":
        net.conv(name, last, width)
        net.add(f"{name}_bn", "BatchNorm", (name,), top=name)
        return net.add(f"{name}_scale", "Scale", (name,), "scale_param { bias_term: true }")
    if kind == "residual":
        return net.add(name, "Eltwise", (last, net.conv(f"{name}_a", last, net.channels[last])))
    if kind == "join":
        joined = net.channels[last] + width
        net.conv(f"{name}_a", last, width, 1)
        net.add(f"{name}_cat", "Concat", (last, f"{name}_a"), width=joined)
        return net.conv(name, f"{name}_cat", width, 1)
    channels = net.channels[last]
    group = channels if kind == "depthwise" else 2
    return net.conv(name, last, channels, 3, f"group: {group}")


def _head(net: _Net, kind: str, name: str, points: list[str]) -> None:
    """Add layers that read one of `points`, or a sum of two that have equally many channels."""
    first = points[0]
    if kind == "join":
        second = next((p for p in points[1:] if net.channels[p] == net.channels[first]), points[0])
        first = net.add(f"{name}_sum", "Eltwise", (first, second))
    elif kind in ("depthwise", "grouped"):
        channels = net.channels[first]
        group = channels if kind == "depthwise" else 2
        first = net.conv(f"{name}_{kind}", first, channels, 3, f"group: {group}")
    elif kind == "conv":
        first = net.conv(f"{name}_conv", first, 4, 1)
    net.add(name, "InnerProduct", (first,), "inner_product_param { num_output: 3 }", width=3)


@contextmanager
def written(family: Family) -> Iterator[tuple[Path, Path, Path]]:
    """Write a family; Hypothesis runs many examples in one test, which would share `tmp_path`."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        paths = place / "deploy.prototxt", place / "net.caffemodel", place / "train_val.prototxt"
        paths[0].write_text(family.deploy)
        paths[1].write_bytes(family.weights)
        paths[2].write_text(family.companion)
        yield paths


def run(network: Network, x: np.ndarray) -> dict[str, np.ndarray]:
    """Run a network with one input."""
    return secateur.Session(network).run({next(iter(network.inputs)): x})


def opencv(text: Path, weights: Path, wanted: list[str], x: np.ndarray) -> dict[str, np.ndarray]:
    """Run a net in OpenCV: all layers of all phases, fed through one input."""
    fed = re.compile(r'"(Data|Input|\w+WithLoss)"')
    lines = [line for line in text.read_text().splitlines() if not fed.search(line)]
    bare = text.with_name("opencv.prototxt")
    bare.write_text("\n".join([INPUT, *(re.sub(r"include \{.*?\}", "", line) for line in lines)]))
    net = cv2.dnn.readNetFromCaffe(str(bare), str(weights))
    net.setInput(x, "data")
    return dict(zip(wanted, net.forward(wanted), strict=True))


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return what a loss is read as without labels."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays are equal but for rounding."""
    return bool(np.abs(one - other).max() <= 1e-4 * max(1e-3, float(np.abs(other).max())))


@few
@given(families(), st.floats(0.2, 0.6))
def test_a_net_and_its_companion_are_cut_alike(family: Family, rate: float) -> None:
    with written(family) as (deploy, weights, companion):
        network = secateur.load(deploy, weights, companions=[companion])
        groups = find_groups(network)
        assume(any(group.prunable for group in groups.groups))
        pruned = secateur.prune(network, rate=rate, repair="none", as_far_as_possible=True)
        out = deploy.parent / "out"
        saved = secateur.save(pruned, out)
        again = secateur.load(*saved.paths, companions=saved.companions)
        removed = removed_units(pruned.plan, groups)
        x = np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
        assert len(again.companions) == len(network.companions) >= 1
        pairs = zip(network.companions, groups.companions, again.companions, strict=True)
        for before, own, after in pairs:
            want, got = run(mask(before, own, removed), x), run(after, x)
            assert want.keys() == got.keys()
            assert all(same(got[name], want[name]) for name in want)
        if "renamed" in family.changes:
            return  # OpenCV wants weights for every layer
        got = run(again.companions[0], x)  # in phase TRAIN all layers are there
        theirs = opencv(saved.companions[0], saved.paths[1], [n.removesuffix(LOSS) for n in got], x)
        for name, array in got.items():
            other = theirs[name.removesuffix(LOSS)].reshape(array.shape)
            assert same(softmax(other) if name.endswith(LOSS) else other, array)


@few
@given(families(), st.floats(0.2, 0.6))
def test_a_plan_carries_the_companion_out(family: Family, rate: float) -> None:
    with written(family) as (deploy, weights, companion):
        network = secateur.load(deploy, weights, companions=[companion])
        assume(any(group.prunable for group in find_groups(network).groups))
        place = deploy.parent
        pruned = secateur.prune(network, rate=rate, repair="none", as_far_as_possible=True)
        assume(pruned.plan.removes)  # a plan that removes nothing is refused
        direct = secateur.save(pruned, place / "direct")
        sparse = secateur.prune(
            network, rate=rate, repair="none", as_far_as_possible=True, sparse=True
        )
        wide = secateur.save(sparse, place / "sparse")
        assert wide.companions[0].read_text() == family.companion
        assert direct.plan is not None
        full = secateur.load(*wide.paths, companions=wide.companions)
        plan = secateur.load_plan(direct.plan)
        dense = secateur.save(secateur.densify(full, plan, repair="none"), place / "dense")
        for one, other in zip(
            (*direct.paths, *direct.companions), (*dense.paths, *dense.companions), strict=True
        ):
            assert one.read_bytes() == other.read_bytes()


def test_the_generated_companions_are_various() -> None:
    """Every change is drawn."""
    seen: set[str] = set()

    @few
    @given(families())
    def look(family: Family) -> None:
        seen.update(family.changes)

    look()
    assert seen == {*HEADS, "renamed", "removed", "trained"}
