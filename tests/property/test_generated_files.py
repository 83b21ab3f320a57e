"""Properties of generated network files: read and write are inverse, and pruned files compute."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import secateur
from secateur.core.coupling import find_groups
from support.darknet import with_random_weights
from support.random_weights import caffemodel_for

few = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
BLOCKS = ("conv", "norm", "depthwise", "residual", "join", "split", "gate", "pool", "up", "reorg")
blocks = st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=6)
widths = st.sampled_from([4, 8, 12])
BREAKS = st.sampled_from(["\n", "\r\n"])


@contextmanager
def folder() -> Iterator[Path]:
    """Hypothesis runs many examples in one test, so that `tmp_path` would be shared."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@st.composite
def cfgs(draw: st.DrawFn) -> bytes:
    """Draw a cfg: every block keeps the width, so that any may follow any."""
    width = draw(widths)
    lines = ["[net]", "width=16", "height=16", "channels=3", "# a comment", ""]
    count, side = 0, 16

    def section(name: str, *options: str) -> None:
        nonlocal count
        lines.extend([f"[{name}]", *draw(st.permutations(options)), ""])
        count += 1

    def conv(size: int, *more: str, normal: bool = False) -> None:
        section(
            "convolutional", f"filters={width}", f"size={size}", "stride=1", "pad = 1",
            f"batch_normalize={int(normal)}",
            f"activation={draw(st.sampled_from(['leaky', 'linear', 'relu', 'mish', 'logistic']))}",
            *more,
        )  # fmt: skip

    conv(3)
    for kind in draw(blocks):
        if kind == "conv":
            conv(draw(st.sampled_from([1, 3])))
        elif kind == "norm":
            conv(3, normal=True)
        elif kind == "depthwise":
            conv(3, f"groups={width}")
        elif kind == "residual":
            conv(3)
            section("shortcut", "from=-2", "activation=linear")
        elif kind == "join":
            conv(1)
            section("route", "layers = -1, -2")
            conv(1)
        elif kind == "split":
            section("route", "layers=-1", "groups=2", f"group_id={draw(st.integers(0, 1))}")
            conv(1)
        elif kind == "gate":
            section("avgpool")
            conv(1)
            section("scale_channels", f"from={count - 3}", "activation=linear")
        elif kind == "pool" and side > 4:
            section("maxpool", "size=2", "stride=2")
            side //= 2
        elif kind == "up" and side < 16:
            section("upsample", "stride=2")
            side *= 2
        elif kind == "reorg" and side > 4:
            section(draw(st.sampled_from(["reorg", "reorg3d"])), "stride=2")
            side //= 2
            conv(1)
    lines += ["[connected]", "output=5", "activation=linear"]
    return draw(BREAKS).join(lines).encode()


@st.composite
def prototxts(draw: st.DrawFn) -> bytes:
    """Draw a prototxt: every block keeps the width, so that any may follow any."""
    width = draw(widths)
    text = [
        'name: "net"  # a comment',
        'layer { name: "data" type: "Input" top: "data"',
        "  input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }",
    ]
    last, side, number = "data", 16, 0

    def layer(kind: str, *bottoms: str, param: str = "", top: str = "") -> str:
        nonlocal last, number
        number += 1
        name = f"{kind.lower()}{number}"
        parts = [f'name: "{name}"', f'type: "{kind}"', f'top: "{top or name}"', param,
                 *(f'bottom: "{bottom}"' for bottom in bottoms or (last,))]  # fmt: skip
        gap = draw(st.sampled_from([" ", "\n  ", "  # why\n"]))
        text.append("layer { " + gap.join(part for part in parts if part) + "\n}")
        last = top or name
        return last

    def conv(size: int, more: str = "") -> str:
        param = f"num_output: {width} kernel_size: {size} pad: {size // 2} {more}"
        return layer("Convolution", param=f"convolution_param {{ {param} }}")

    conv(3)
    for kind in draw(blocks):
        before = last
        if kind == "conv":
            conv(3)
            layer(draw(st.sampled_from(["ReLU", "PReLU", "TanH", "ELU", "Sigmoid"])), top=last)
        elif kind == "norm":
            layer("BatchNorm", top=last)
            layer("Scale", param="scale_param { bias_term: true }")
        elif kind == "depthwise":
            conv(3, f"group: {width} bias_term: false")
        elif kind == "residual":
            layer("Eltwise", conv(3), before)
        elif kind == "join":
            layer("Concat", conv(1), before)
            conv(1)
        elif kind == "split":
            left, right = f"left{number}", f"right{number}"
            text.append(
                f'layer {{ name: "cut{number}" type: "Slice" bottom: "{before}" '
                f'top: "{left}" top: "{right}" }}'
            )
            last = left
            layer("Concat", conv(1), right)
            conv(1)
        elif kind == "gate":
            layer("Pooling", param="pooling_param { pool: AVE global_pooling: true }")
            gate = layer("Flatten", conv(1))
            layer("Scale", before, gate, param="scale_param { axis: 0 }")
        elif kind == "pool" and side > 4:
            layer("Pooling", param="pooling_param { kernel_size: 2 stride: 2 }")
            side //= 2
        elif kind == "up" and side < 16:
            param = f"num_output: {width} kernel_size: 2 stride: 2"
            layer("Deconvolution", param=f"convolution_param {{ {param} }}")
            side *= 2
        elif kind == "reorg":
            layer("ShuffleChannel", param="shuffle_channel_param { group: 2 }")
    layer("InnerProduct", param="inner_product_param { num_output: 5 }")
    return draw(BREAKS).join("\n".join(text).split("\n")).encode()


def check(paths: tuple[Path, Path], rate: float) -> None:
    """Read, write, prune, write, read."""
    network = secateur.load(*paths)
    assert network.source is not None
    before = {path.suffix: path.read_bytes() for path in paths}
    assert network.source.render(network) == before
    if not any(group.prunable for group in find_groups(network).groups):
        return
    pruned = secateur.prune(network, rate=rate, as_far_as_possible=True)
    saved = secateur.save(pruned, paths[0].parent / "out")
    assert saved.difference < 1e-4
    again = secateur.load(*saved.paths)
    assert again.source is not None
    # What was read from the pruned files is written as they are, and they differ where they must.
    after = {path.suffix: path.read_bytes() for path in saved.paths}
    assert again.source.render(again) == after
    if any(group.removed for group in pruned.plan.groups):
        assert after != before


@few
@given(cfgs(), st.integers(0, 99), st.floats(0.1, 0.6))
def test_generated_cfg(cfg: bytes, seed: int, rate: float) -> None:
    with folder() as place:
        check(with_random_weights(place, cfg, seed=seed), rate)


@few
@given(prototxts(), st.integers(0, 99), st.floats(0.1, 0.6))
def test_generated_prototxt(prototxt: bytes, seed: int, rate: float) -> None:
    with folder() as place:
        paths = place / "net.prototxt", place / "net.caffemodel"
        paths[0].write_bytes(prototxt)
        paths[1].write_bytes(caffemodel_for(prototxt, seed))
        check(paths, rate)


def test_the_generated_files_are_various() -> None:
    """Each block is drawn, and networks of all sizes are."""
    seen: set[str] = set()
    sizes: set[int] = set()

    @few
    @given(cfgs(), prototxts())
    def look(cfg: bytes, prototxt: bytes) -> None:
        seen.update(line.strip("[]\r") for line in cfg.decode().split("\n") if line[:1] == "[")
        seen.update(part for part in ("Slice", "Deconvolution") if part.encode() in prototxt)
        sizes.add(cfg.count(b"["))

    look()
    assert {"route", "shortcut", "scale_channels", "maxpool", "reorg", "Slice"} <= seen
    assert len(sizes) > 4
    assert np.min(list(sizes)) < 6
