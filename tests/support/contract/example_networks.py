"""Small networks around the examples that layer files declare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secateur.core.ir.network import Network
from secateur.formats.caffe import reader as caffe
from secateur.formats.caffe.layer import Example as CaffeExample
from secateur.formats.darknet import reader as darknet
from secateur.formats.darknet.section import Example as DarknetExample
from support import darknet as darknet_files
from support.random_weights import caffemodel_for

__all__ = ["Files", "caffe_files", "darknet_files_of", "feed"]

DATA = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }"""
DATA_WITH_LABELS = """
layer { name: "data" type: "Data" top: "data" top: "label"
  data_param { batch_size: 2 }
  transform_param { crop_size: 8 force_color: true } }"""
CONVOLUTIONS = """
layer { name: "first" type: "Convolution" bottom: "data" top: "first"
  convolution_param { num_output: 16 kernel_size: 3 pad: 1 } }
layer { name: "before" type: "Convolution" bottom: "first" top: "before"
  convolution_param { num_output: 16 kernel_size: 1 } }"""
CONNECTED = """
layer {{ name: "after" type: "InnerProduct" bottom: "{bottom}" top: "after"
  inner_product_param {{ num_output: 3 }} }}"""


@dataclass(frozen=True, kw_only=True)
class Files:
    """The two files of a network with an example.

    `before` and `layer` are the names of the convolution before the example, and of its layer.
    """

    paths: tuple[Path, Path]
    before: str
    layer: str
    input_shapes: Mapping[str, tuple[int, ...]] | None = None

    def load(self, *, partial: bool = False) -> Network:
        """Read the network; with `partial`, Darknet's weights may be missing."""
        if self.paths[0].suffix == ".prototxt":
            return caffe.load(*self.paths, input_shapes=self.input_shapes)
        return darknet.load(*self.paths, partial=partial)


def caffe_files(
    folder: Path, name: str, example: CaffeExample, *, labels: bool = False, weights: bool = True
) -> Files:
    """Write the network around an example of layer type `name`.

    Args:
        folder: where to.
        name: type of the layer.
        example: of it.
        labels: whether labels are fed; where not, they are those of a data layer.
        weights: whether there are weights; without them, the net without the layer has some.
    """
    rest = "".join(f' bottom: "{bottom}"' for bottom in example.bottoms)
    rest += "".join(f' top: "{top}"' for top in example.tops)
    layer = f'\nlayer {{ name: "layer" type: "{name}"{rest} {example.text} }}'
    lead = example.lead and "\n" + example.lead.strip("\n")
    makes_data = example.tops[:1] == ("data",)
    text = layer if makes_data else DATA_WITH_LABELS if _reads_labels(example) else DATA
    if labels:
        dims = " ".join(f"dim: {dim}" for dim in (2, *example.label))
        text = f"""{DATA}
layer {{ name: "label" type: "Input" top: "label" input_param {{ shape {{ {dims} }} }} }}"""
    text += CONVOLUTIONS
    known = text
    if makes_data:
        text += CONNECTED.format(bottom="before")
    elif _reads_labels(example):
        text += CONNECTED.format(bottom="before") + lead + layer
    else:
        text += lead + layer
        text += CONNECTED.format(bottom="layer") if example.tail is None else example.tail
    prototxt, caffemodel = folder / "net.prototxt", folder / "net.caffemodel"
    prototxt.write_text(text + "\n")
    shapes = example.input_shapes
    content = (text if weights else known).encode()
    caffemodel.write_bytes(caffemodel_for(content, input_shapes=shapes))
    return Files(paths=(prototxt, caffemodel), before="before", layer="layer", input_shapes=shapes)


def _reads_labels(example: CaffeExample) -> bool:
    return "label" in example.bottoms


def darknet_files_of(
    folder: Path, name: str, example: DarknetExample, *, weights: bool = True
) -> Files:
    """Write the network around an example of section `name`."""
    net = "[net]\nwidth=8\nheight=8\nchannels=3"
    layer = f"[{name}]\n{example.text}".rstrip("\n")
    convolutions = "\n".join(
        f"[convolutional]\nfilters=16\nsize={size}\npad=1\nactivation=leaky" for size in (3, 1)
    )
    tail = "[connected]\noutput=3\nactivation=linear" if example.tail is None else example.tail
    if "width=" in example.text and "channels=" in example.text:
        parts = [layer, convolutions, tail]
    else:
        parts = [net, convolutions, example.lead, layer, tail]
    text = "\n".join(part for part in parts if part) + "\n"
    if weights:
        paths = darknet_files.with_random_weights(folder, text)
    else:
        paths = darknet_files.write(folder, text)
    lead = sum(line.startswith("[") for line in example.lead.splitlines())
    return Files(paths=paths, before="1", layer=str(2 + lead))


def feed(network: Network, values: Mapping[str, tuple[float, ...]]) -> dict[str, np.ndarray]:
    """Return inputs for two samples: noise around 0, but where an example gives values."""
    random = np.random.default_rng(1)
    inputs = {}
    for name, shape in network.inputs.items():
        dims = [dim if isinstance(dim, int) else 2 for dim in shape]
        drawn = random.normal(size=dims)
        inputs[name] = np.resize(values[name], dims) if name in values else drawn
    return {name: array.astype(np.float32) for name, array in inputs.items()}
