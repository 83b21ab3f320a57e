"""Writes docs/layers.md from the layer declarations: `python docs/make_tables.py [--check]`.

Names, fields, defaults and blobs come from the classes. Whether channels can go through a layer is
not declared anywhere: a small network with the layer in its middle is traced, and asked.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from secateur.core.coupling import find_groups  # noqa: E402
from secateur.core.ir.network import Network  # noqa: E402
from secateur.formats.adapter import REQUIRED, Registry, keys_of  # noqa: E402
from secateur.formats.caffe import reader as caffe  # noqa: E402
from secateur.formats.caffe.layer import LAYERS  # noqa: E402
from secateur.formats.darknet import reader as darknet  # noqa: E402
from secateur.formats.darknet.section import SECTIONS  # noqa: E402
from support.darknet import write as write_darknet  # noqa: E402
from support.random_weights import caffemodel_for  # noqa: E402

PAGE = ROOT / "docs" / "layers.md"

NO_INPUT = "no input: makes a blob, whose channels are kept"
DECODES = "decodes answers: its inputs become outputs, whose channels are kept"
TRAINING = "for training: left out where there are no labels, and kept in the file"
CONVOLUTION = "convolution_param { num_output: 16 kernel_size: 3 pad: 1 }"

CAFFE: Mapping[str, str] = {
    "Accuracy": TRAINING,
    "BN": "bn_param { bn_mode: INFERENCE }",
    "Clip": "clip_param { min: 0 max: 1 }",
    "Convolution": CONVOLUTION,
    "DepthwiseConvolution": CONVOLUTION,
    "Deconvolution": CONVOLUTION,
    "Eltwise": 'bottom: "before"',
    "Axpy": 'bottom: "before" bottom: "before"',
    "Crop": 'bottom: "data"',
    "BatchReindex": "picks items, not channels; its positions are an input",
    "Embed": "reads whole numbers; its own channels are kept",
    "Im2col": "convolution_param { kernel_size: 3 pad: 1 }",
    "InnerProduct": "inner_product_param { num_output: 16 }",
    "LSTM": "keeps a state over time: all channels are kept",
    "RNN": "keeps a state over time: all channels are kept",
    "Pooling": "pooling_param { kernel_size: 2 stride: 2 }",
    "PriorBox": 'bottom: "data" prior_box_param { min_size: 2 }',
    "ROIPooling": 'bottom: "regions" roi_pooling_param { pooled_h: 2 pooled_w: 2 }',
    "PSROIPooling": DECODES,
    "Python": "refused: a program, whose arithmetic no file tells",
    "Reduction": "reduction_param { axis: 2 }",
    "Reorg": "reorg_param { stride: 2 }",
    "Reshape": "reshape_param { shape { dim: 0 dim: 16 dim: -1 dim: 1 } }",
    "ShuffleChannel": "shuffle_channel_param { group: 2 }",
    "Slice": 'top: "other" slice_param { slice_point: 3 }',
    "SPP": "spp_param { pyramid_height: 2 }",
    "Tile": "tile_param { axis: 2 tiles: 2 }",
    "SoftmaxWithLoss": TRAINING,
    "EuclideanLoss": TRAINING,
    "SigmoidCrossEntropyLoss": TRAINING,
    "HingeLoss": TRAINING,
    "MultinomialLogisticLoss": TRAINING,
    "InfogainLoss": TRAINING,
    "ContrastiveLoss": TRAINING,
    "Silence": "makes nothing",
    "Unpooling": 'bottom: "mask" unpooling_param { unpool_size: 8 }',
    "DetectionOutput": DECODES,
    "Yolov3DetectionOutput": DECODES,
    "HDF5Output": TRAINING,
}
"""First name of a type → the text that makes it an example, or a sentence where none can be made.
Types that need neither are not listed."""

DARKNET: Mapping[str, str] = {
    "scale_channels": "[avgpool]\n[scale_channels]\nfrom=-2",
    "sam": "from=-2",
    "convolutional": "filters=16\nsize=3\npad=1",
    "deconvolutional": "filters=16\nsize=3\npad=1",
    "connected": "output=16",
    "local": "filters=16\nsize=3\npad=1",
    "crop": "crop_width=6\ncrop_height=6",
    "maxpool": "size=2\nstride=2",
    "local_avgpool": "size=2\nstride=2",
    "implicit": "filters=16",
    "reorg": "stride=2",
    "reorg3d": "stride=2",
    "route": "layers=-1",
    "shortcut": "from=-2",
    "upsample": "stride=2",
    "net": "the input: its channels are kept",
    "cost": "for training: no part of the graph",
    "rnn": "refused: remembers earlier inputs",
    "contrastive": "refused: its arithmetic is about training",
    "detection": "a head: the channels it reads are kept",
    "region": "a head: the channels it reads are kept",
    "yolo": "a head: the channels it reads are kept",
    "Gaussian_yolo": "a head: the channels it reads are kept",
}

REFUSED: Mapping[str, Mapping[str, str]] = {
    "caffe": {
        "alias_reshape_inplace": "an in-place layer on the top of a Reshape, Flatten or Split: "
        "Caffe would change the other top, too",
    },
    "darknet": {
        "conv_1x1_stride_y": "1×1 convolution with stride_x=1 and another stride_y: AlexeyAB's "
        "Darknet ignores it on a CPU",
        "conv_xnor": "xnor=1: weights and inputs are binarised",
        "partial_boundary": "weights that end between two sections; `--partial` reads them",
        "rnn_pjreddie": "[rnn] remembers earlier inputs",
        "rnn_alexeyab": "[rnn] remembers earlier inputs",
        "gru_pjreddie": "[gru] remembers earlier inputs",
        "gru_alexeyab": "[gru] remembers earlier inputs",
        "lstm_pjreddie": "[lstm] remembers earlier inputs",
        "lstm_alexeyab": "[lstm] remembers earlier inputs",
        "crnn": "[crnn] remembers earlier inputs",
    },
}
"""Reference cases that load in the framework and are refused here, with the reason."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """How a format is asked: its classes, examples, and a network around a layer.

    `before` and `layer` are the names of the convolution and the layer in that network.
    """

    registry: Registry[Any]
    examples: Mapping[str, str]
    network: Callable[[Path, str, str], Network]
    before: str
    layer: str


def page() -> str:
    """Return the whole page."""
    lines = [
        "# Supported layers",
        "",
        "Written by `make tables` from the layer declarations; do not edit.",
        "",
        "*Channels* tells what pruning can do. It was asked of a small network: a convolution, the "
        "layer with the settings of an ordinary file, and a fully connected layer. *Pass* means "
        "that channels of the layer before can be removed through it.",
        "",
        "## Caffe",
        "",
        "A type that is not listed is refused, unless it reads labels: losses and scores of forks "
        "are left out of the graph, with a warning, and kept in the file. Fields that a fork added "
        "to one of Caffe's own messages and that are not listed are kept and warned of, since the "
        "fork may compute something else.",
        "",
        *_tables(
            Probe(
                registry=LAYERS,
                examples=CAFFE,
                network=caffe_network,
                before="before",
                layer="layer",
            ),
            "field",
        ),
        "## Darknet",
        "",
        *_tables(
            Probe(
                registry=SECTIONS, examples=DARKNET, network=darknet_network, before="1", layer="2"
            ),
            "key",
        ),
        "## Refused on purpose",
        "",
        "Cases of the reference collection that the frameworks load, and secateur does not:",
        "",
    ]
    for folder, cases in REFUSED.items():
        lines += [f"* {folder}: `{name}`: {reason}" for name, reason in cases.items()]
    return "\n".join(lines) + "\n"


def _tables(probe: Probe, word: str) -> Iterator[str]:
    classes: dict[type, list[str]] = {}
    for name, cls in probe.registry.classes.items():
        classes.setdefault(cls, []).append(name)
    for cls, names in sorted(classes.items(), key=lambda item: item[1][0].lower()):
        module = cls.__module__.removeprefix("secateur.").replace(".", "/")
        yield f"### {', '.join(names)}"
        yield ""
        yield f"{_first_sentence(cls)} ([{module.rpartition('/')[2]}.py](../{module}.py))"
        yield ""
        yield f"Channels: {channels(cls, names[0], probe)}."
        yield ""
        rows = [_field(name, field, declared) for name, (field, declared) in keys_of(cls).items()]
        if rows:
            yield f"| {word} | default | meaning |"
            yield "|---|---|---|"
            yield from rows
            yield ""
        if cls.blobs:  # type: ignore[attr-defined]
            yield "Stored, in this order: " + "; ".join(map(_blob, cls.blobs)) + "."  # type: ignore[attr-defined]
            yield ""


def _first_sentence(cls: type) -> str:
    return " ".join((cls.__doc__ or "").split("\n\n")[0].split())


def _field(name: str, field: dataclasses.Field[Any], declared: Any) -> str:
    names = ", ".join(f"`{known.lstrip('/')}`" for known in declared.names or (name,))
    default = "required" if field.default is REQUIRED else f"`{_shown(field.default)}`"
    if field.default in ((), "", None):
        default = "–"
    meaning = [declared.doc] if declared.doc else []
    if declared.choices:
        meaning.append(" or ".join(declared.choices))
    if declared.channels:
        meaning.append("*changed by pruning*")
    return f"| {names} | {default} | {'; '.join(meaning).replace('|', chr(92) + '|')} |"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value)


def _blob(blob: Any) -> str:
    when = f", where `{blob.when}`" if blob.when else ""
    doc = f" ({blob.doc})" if blob.doc else ""
    return f"{blob.name} [{blob.axes.replace(' ', ', ')}]{when}{doc}"


def channels(cls: type, name: str, probe: Probe) -> str:
    """Return what pruning can do with a layer of type `name`."""
    example = probe.examples.get(name, "")
    if example and not any(sign in example for sign in '{="'):
        return example
    if getattr(cls, "bottom_range", (1, 1)) == (0, 0):
        return NO_INPUT
    with tempfile.TemporaryDirectory() as folder:
        groups = find_groups(probe.network(Path(folder), name, example))
    before, layer = probe.before, probe.layer
    found = []
    group = next(group for group in groups.groups if before in group.layers)
    found.append("pass" if group.prunable else f"the layer before keeps its own ({group.reason})")
    own = [group for group in groups.groups if layer in group.layers and before not in group.layers]
    if own:
        found.append("its own can be removed" if own[0].prunable else f"its own: {own[0].reason}")
    if group.prunable and not own and len(group.layers) > 1 and layer in group.layers:
        found.append("together with its own")
    return "; ".join(found)


def caffe_network(folder: Path, name: str, example: str) -> Network:
    """Return convolution, layer, fully connected layer."""
    text = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 8 dim: 8 dim: 8 } } }
layer { name: "before" type: "Convolution" bottom: "data" top: "before"
  convolution_param { num_output: 16 kernel_size: 1 } }"""
    if '"regions"' in example:
        text += """
layer { name: "regions" type: "Input" top: "regions"
  input_param { shape { dim: 1 dim: 5 } } }"""
    bottom = "before"
    if '"mask"' in example:
        bottom = "pooled"
        text += """
layer { name: "pool" type: "Pooling" bottom: "before" top: "pooled" top: "mask"
  pooling_param { kernel_size: 2 stride: 2 } }"""
    text += f"""
layer {{ name: "layer" type: "{name}" bottom: "{bottom}" top: "layer" {example} }}
layer {{ name: "after" type: "InnerProduct" bottom: "layer" top: "after"
  inner_product_param {{ num_output: 3 }} }}"""
    prototxt, weights = folder / "net.prototxt", folder / "net.caffemodel"
    prototxt.write_text(text)
    weights.write_bytes(caffemodel_for(text.encode()))
    return caffe.load(prototxt, weights)


def darknet_network(folder: Path, name: str, example: str) -> Network:
    """Return two convolutions, the layer, and a fully connected layer."""
    text = f"""[net]
width=8
height=8
channels=16
[convolutional]
filters=16
[convolutional]
filters=16
{example if example.startswith("[") else f"[{name}]{chr(10)}{example}"}
[connected]
output=3
"""
    return darknet.load(*write_darknet(folder, text), partial=True)


def main(arguments: Iterable[str]) -> int:
    """Write the page, or say whether it is current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where the page is stale")
    check = parser.parse_args(list(arguments)).check
    text = page()
    if not check:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write("docs/layers.md is stale: run `make tables`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
