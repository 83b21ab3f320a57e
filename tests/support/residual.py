"""Small residual networks in every format, for tests of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

import secateur
from secateur.core.blocks import Block
from secateur.core.ir.network import Network, blob_refs
from secateur.core.ir.rebuild import node_key, rebuild
from support.darknet import with_random_weights
from support.onnx_text import model
from support.random_weights import caffemodel_for

HEAD = "[net]\nwidth=8\nheight=8\nchannels=3\n"


def section(name: str, **keys: object) -> str:
    """Return a section of a cfg, with a blank line behind it."""
    return "\n".join([f"[{name}]", *(f"{key}={value}" for key, value in keys.items())]) + "\n\n"


def conv(
    filters: int = 4, size: int = 3, activation: str = "leaky", norm: int = 1, **keys: object
) -> str:
    """Return a convolution of a cfg."""
    return section(
        "convolutional", batch_normalize=norm, filters=filters, size=size, stride=1, pad=1,
        activation=activation, **keys,
    )  # fmt: skip


def darknet(folder: Path, body: str, **settings: str) -> Network:
    """Return a network of sections with random weights."""
    return secateur.load(*with_random_weights(folder, f"{HEAD}\n{body}", **settings))


def layer(name: str, kind: str, bottoms: str, tops: str, rest: str = "") -> str:
    """Return a layer of a prototxt; bottoms and tops are separated by blanks."""
    links = [f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()]
    return f'layer {{\n  name: "{name}"\n  type: "{kind}"\n  {" ".join(links)}\n  {rest}\n}}\n'


def convolution(name: str, bottom: str, filters: int = 4, size: int = 3) -> str:
    """Return a convolution of a prototxt, whose top has its name."""
    pad = size // 2
    keys = f"num_output: {filters} kernel_size: {size} pad: {pad}"
    return layer(name, "Convolution", bottom, name, f"convolution_param {{ {keys} }}")


def relu(name: str, blob: str) -> str:
    """Return a ReLU in place."""
    return layer(name, "ReLU", blob, blob)


def residual(name: str, x: str, size: int = 3, after: str = "relu") -> str:
    """Return a block: two convolutions, their sum with x; its top is `name`."""
    text = convolution(f"{name}_a", x, size=size) + relu(f"{name}_a_relu", f"{name}_a")
    text += convolution(f"{name}_b", f"{name}_a", size=size)
    text += layer(name, "Eltwise", f"{x} {name}_b", name)
    return text + (relu(f"{name}_relu", name) if after else "")


INPUT = 'name: "net"\n' + layer(
    "data", "Input", "", "data", "input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } }"
)
END = layer("pool", "Pooling", "LAST", "pool", "pooling_param { pool: AVE global_pooling: true }")
END += layer("fc", "InnerProduct", "pool", "fc", "inner_product_param { num_output: 3 }")


def caffe(folder: Path, body: str, last: str, companions: Sequence[Path] = ()) -> Network:
    """Return a net of layers with random weights; `last` is what is pooled in the end."""
    text = (INPUT + body + END.replace("LAST", last)).encode()
    (folder / "net.prototxt").write_bytes(text)
    (folder / "net.caffemodel").write_bytes(caffemodel_for(text))
    return secateur.load(
        folder / "net.prototxt", folder / "net.caffemodel", companions=list(companions)
    )


def three_blocks(folder: Path) -> Network:
    """Return a Caffe net of three blocks in a row, each with a ReLU behind its sum."""
    body = convolution("stem", "data") + relu("stem_relu", "stem")
    body += residual("one", "stem") + residual("two", "one") + residual("three", "two")
    return caffe(folder, body, "three")


def onnx_net(folder: Path) -> Network:
    """Return an ONNX network of two blocks, without and with an activation behind the sum."""
    proto = model(
        """
        a = Conv <pads = [1,1,1,1]> (x, w0, b0)
        c = Conv <pads = [1,1,1,1]> (a, w1, b1)
        d = Relu (c)
        e = Conv <pads = [1,1,1,1]> (d, w2, b2)
        s = Add (a, e)
        f = Conv <pads = [1,1,1,1]> (s, w3, b3)
        t = Add (f, s)
        g = Relu (t)
        y = Conv (g, w4, b4)
        """,
        {f"w{k}": (4, 4, 3, 3) for k in range(5)} | {f"b{k}": (4,) for k in range(5)},
    )
    onnx.save(proto, folder / "net.onnx")
    return secateur.load(folder / "net.onnx")


def silenced(network: Network, blocks: Sequence[Block]) -> Network:
    """Return a network in which blocks add nothing: their parameters are zero.

    This is what dropping them must compute, found without any of its code.
    """
    gone = {key for block in blocks for key in block.nodes}
    tensors: dict[str, np.ndarray] = {}
    for node in network.graph:
        for place, value in enumerate(node.inputs if node_key(node) in gone else ()):
            if value is None or value.const_value is None or not blob_refs(value):
                continue
            if node.op_type == "BatchNormalization" and place == 4:
                continue  # the variance, which divides
            tensors[str(value.name)] = np.zeros_like(network.array(str(value.name)))
    return rebuild(network, tensors=tensors)


def outputs(network: Network, seed: int = 0) -> list[np.ndarray]:
    """Return what a network makes of two samples of noise, in the order of its outputs."""
    random = np.random.default_rng(seed)
    feeds = {
        name: random.normal(size=(2, *shape[1:])).astype(np.float32)
        for name, shape in network.inputs.items()
    }
    return list(secateur.Session(network).run(feeds).values())
