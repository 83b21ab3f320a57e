"""The net of a document in the current version: upgrades V0 and V1 layers and `input:` fields.

An upgrade makes new messages, but their values keep their spans in the original file. So an edit of
an upgraded value changes the text that the user wrote.
Source: util/upgrade_proto.cpp (UpgradeV0PaddingLayers, UpgradeV0LayerParameter,
UpgradeV1LayerType, UpgradeNetInput) and net.cpp (FilterNet, StateMeetsRule), BVLC 9b89154.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...core.errors import FormatError, UnsupportedError, located, nearest_hint
from ...proto.schema import ENUMS
from .document import Document, Field, Message, Scalar

__all__ = ["V0_FIELDS", "LayerText", "Net", "current_type", "net_of"]

_V1_TYPES = {
    "ABSVAL": "AbsVal", "ACCURACY": "Accuracy", "ARGMAX": "ArgMax", "BNLL": "BNLL",
    "CONCAT": "Concat", "CONTRASTIVE_LOSS": "ContrastiveLoss", "CONVOLUTION": "Convolution",
    "DATA": "Data", "DECONVOLUTION": "Deconvolution", "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData", "ELTWISE": "Eltwise", "EUCLIDEAN_LOSS": "EuclideanLoss",
    "EXP": "Exp", "FLATTEN": "Flatten", "HDF5_DATA": "HDF5Data", "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss", "IM2COL": "Im2col", "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss", "INNER_PRODUCT": "InnerProduct", "LRN": "LRN",
    "MEMORY_DATA": "MemoryData", "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN", "POOLING": "Pooling", "POWER": "Power", "RELU": "ReLU", "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss", "SILENCE": "Silence",
    "SLICE": "Slice", "SOFTMAX": "Softmax", "SOFTMAX_LOSS": "SoftmaxWithLoss", "SPLIT": "Split",
    "TANH": "TanH", "THRESHOLD": "Threshold", "WINDOW_DATA": "WindowData",
}  # fmt: skip
_V1_NUMBERS = {
    number: word for word, number in
    (entry.split() for entry in ENUMS["V1LayerParameter.LayerType"].split(", "))
}  # fmt: skip
_V0_TYPES = {
    "accuracy": "Accuracy", "bnll": "BNLL", "concat": "Concat", "conv": "Convolution",
    "data": "Data", "dropout": "Dropout", "euclidean_loss": "EuclideanLoss",
    "flatten": "Flatten", "hdf5_data": "HDF5Data", "hdf5_output": "HDF5Output",
    "im2col": "Im2col", "images": "ImageData", "infogain_loss": "InfogainLoss",
    "innerproduct": "InnerProduct", "lrn": "LRN",
    "multinomial_logistic_loss": "MultinomialLogisticLoss", "pool": "Pooling", "relu": "ReLU",
    "sigmoid": "Sigmoid", "softmax": "Softmax", "softmax_loss": "SoftmaxWithLoss",
    "split": "Split", "tanh": "TanH", "window_data": "WindowData",
}  # fmt: skip
_DATA = {
    "source": "source", "batchsize": "batch_size", "rand_skip": "rand_skip",
    "shuffle_images": "shuffle", "new_height": "new_height", "new_width": "new_width",
}  # fmt: skip
V0_FIELDS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "conv": ("convolution_param", {
        "num_output": "num_output", "biasterm": "bias_term", "pad": "pad",
        "kernelsize": "kernel_size", "group": "group", "stride": "stride",
        "weight_filler": "weight_filler", "bias_filler": "bias_filler",
    }),
    "innerproduct": ("inner_product_param", {
        "num_output": "num_output", "biasterm": "bias_term",
        "weight_filler": "weight_filler", "bias_filler": "bias_filler",
    }),
    "pool": ("pooling_param", {
        "pool": "pool", "pad": "pad", "kernelsize": "kernel_size", "stride": "stride",
    }),
    "dropout": ("dropout_param", {"dropout_ratio": "dropout_ratio"}),
    "lrn": ("lrn_param", {"local_size": "local_size", "alpha": "alpha", "beta": "beta", "k": "k"}),
    "concat": ("concat_param", {"concat_dim": "concat_dim"}),
    "data": ("data_param", _DATA),
    "images": ("image_data_param", _DATA),
    "hdf5_data": ("hdf5_data_param", _DATA),
    "window_data": ("window_data_param", _DATA),
}  # fmt: skip
"""V0 layer type → the message that holds its fields now, and (old name → new name)."""

_V0_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size",
                 "mirror": "mirror"}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerText:
    """A layer of the document, in the fields of LayerParameter."""

    name: str
    type: str
    bottoms: tuple[Scalar, ...]
    tops: tuple[Scalar, ...]
    message: Message
    line: int
    version: int = 2
    params: tuple[tuple[str, bool], ...] = ()
    """Name ("" for none) and permissiveness of each `param`, for sharing."""

    @property
    def item(self) -> str:
        """Name of the layer in messages."""
        return f"layer '{self.name}' ({self.type})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Net:
    """The layers of a document in all phases, and the stages of its own state."""

    name: str
    layers: tuple[LayerText, ...]
    stages: tuple[str, ...]

    def active(
        self, phase: str, stages: Sequence[str], level: int
    ) -> tuple[tuple[LayerText, ...], tuple[LayerText, ...]]:
        """Return the layers that a phase, stages and a level select, and the other layers."""
        here = {*stages, *self.stages}
        chosen: list[LayerText] = []
        others: list[LayerText] = []
        for layer in self.layers:
            with located(line=layer.line, item=layer.item):
                wanted = _included(layer.message, phase, here, level)
            (chosen if wanted else others).append(layer)
        return tuple(chosen), tuple(others)


def net_of(document: Document) -> Net:
    """Return the net of a document.

    Raises:
        FormatError: there are no layers, or fields of old versions contradict each other.
    """
    root = document.root
    old, new = root.messages("layers"), root.messages("layer")
    if not old and not new:
        raise FormatError("there are no layers in the file")
    if old and new:
        with located(line=max(old[0].line, new[0].line)):
            raise FormatError(
                "both 'layer' and 'layers' are there: Caffe reads only one kind",
                hint='write every layer as layer { type: "…" }',
            )
    if any(layer.first("layer") for layer in old):
        layers = _padded([_v0(layer) for layer in old])
        layers = _inputs(root, shapes=()) + layers
    else:
        layers = _inputs(root, root.messages("input_shape"))
        layers += [_v1(layer) for layer in old] + [_v2(layer) for layer in new]
    stages = tuple(text for state in root.messages("state") for text in state.texts("stage"))
    return Net(name=_text(root, "name"), layers=tuple(layers), stages=stages)


def current_type(word: str) -> str | None:
    """Return what a layer type of an old version is called now; None for other words."""
    return _V1_TYPES.get(word.upper()) or _V0_TYPES.get(word.lower())


def _old_type_hint(word: str) -> str | None:
    """Return a hint for a type in a block `layers` that is none of the old version's words."""
    meant = next((old for old, new in _V1_TYPES.items() if new == word), None)
    if meant is not None:
        return f"in a block 'layers' it is type: {meant}; '{word}' belongs into a block 'layer'"
    return nearest_hint(word, _V1_TYPES, 'newer types need blocks layer { type: "…" }')


def _text(message: Message, name: str) -> str:
    """Return the text of a scalar field that may occur once; "" if it is missing.

    Raises:
        FormatError: it is given twice, or is a message.
    """
    found = message.all(name)
    if len(found) > 1:
        with located(line=found[1].line, field=name):
            raise FormatError("given twice")
    if found and not isinstance(found[0].value, Scalar):
        with located(line=found[0].line, field=name):
            raise FormatError("a value is expected, not a message")
    return found[0].value.text if found and isinstance(found[0].value, Scalar) else ""


def _scalars(message: Message, name: str) -> tuple[Scalar, ...]:
    return tuple(f.value for f in message.all(name) if isinstance(f.value, Scalar))


def _v2(message: Message) -> LayerText:
    params = tuple(
        (_text(param, "name"), _text(param, "share_mode") in ("PERMISSIVE", "1"))
        for param in message.messages("param")
    )
    kind = _text(message, "type")
    if not kind:
        with located(line=message.line, item=f"layer '{_text(message, 'name')}'", field="type"):
            raise FormatError("required, but missing")
    return LayerText(
        name=_text(message, "name"), type=kind, bottoms=_scalars(message, "bottom"),
        tops=_scalars(message, "top"), message=message, line=message.line, params=params,
    )  # fmt: skip


def _v1(message: Message) -> LayerText:
    word = _text(message, "type")
    word = _V1_NUMBERS.get(word, word)
    name = _text(message, "name")
    kind = _V1_TYPES.get(word)
    if kind is None:
        with located(line=message.line, item=f"layer '{name}'", field="type"):
            raise UnsupportedError(
                f"unsupported old layer type '{word[:80]}'", hint=_old_type_hint(word)
            )
    modes = message.texts("blob_share_mode")
    params = tuple(
        (text, index < len(modes) and modes[index] in ("PERMISSIVE", "1"))
        for index, text in enumerate(message.texts("param"))
    )
    return LayerText(
        name=name, type=kind, bottoms=_scalars(message, "bottom"), tops=_scalars(message, "top"),
        message=message, line=message.line, version=1, params=params,
    )  # fmt: skip


def _v0(outer: Message) -> LayerText:
    inner = outer.messages("layer")
    if len(inner) != 1:
        with located(line=outer.line):
            raise FormatError("old and oldest layers cannot be mixed in one file")
    flat = inner[0]
    name, word = _text(flat, "name"), _text(flat, "type")
    if word != "padding" and word not in _V0_TYPES:
        with located(line=flat.line, item=f"layer '{name}'", field="type"):
            raise UnsupportedError(
                f"unsupported old layer type '{word[:80]}'",
                hint=nearest_hint(word, _V0_TYPES, None),
            )
    param, names = V0_FIELDS.get(word, ("", {}))
    fields = [field for field in outer.fields if field.name != "layer"]
    fields += _moved(flat, param, names) + _moved(flat, "transform_param", _V0_TRANSFORM)
    return LayerText(
        name=name, type=_V0_TYPES.get(word, word), bottoms=_scalars(outer, "bottom"),
        tops=_scalars(outer, "top"), line=outer.line, version=0,
        message=Message((*fields, *flat.all("pad")), outer.span, outer.line, synthetic=True),
    )  # fmt: skip


def _moved(flat: Message, param: str, names: Mapping[str, str]) -> list[Field]:
    """Return a field `param` with the fields of a V0 layer under their new names; [] for none."""
    fields = tuple(replace(f, name=names[f.name]) for f in flat.fields if f.name in names)
    if not fields:
        return []
    return [
        Field(param, flat.line, flat.span, Message(fields, flat.span, flat.line, synthetic=True))
    ]


def _padded(layers: list[LayerText]) -> list[LayerText]:
    """Merge padding layers into the convolution or pooling that reads them."""
    makers: dict[str, LayerText] = {}
    kept = []
    for layer in layers:
        maker = makers.get(layer.bottoms[0].text) if layer.bottoms else None
        makers.update((top.text, layer) for top in layer.tops)
        if layer.type == "padding":
            if len(layer.bottoms) != 1 or len(layer.tops) != 1:
                with located(line=layer.line, item=layer.item):
                    raise FormatError("a padding layer has one bottom and one top")
            continue
        if maker is not None and maker.type == "padding":
            layer = _with_pad(layer, maker)
        kept.append(layer)
    return kept


def _with_pad(layer: LayerText, padding: LayerText) -> LayerText:
    """Return a layer with the padding of a padding layer."""
    fields = []
    merged = False
    for field in layer.message.fields:
        value = field.value
        if field.name in ("convolution_param", "pooling_param") and isinstance(value, Message):
            own = tuple(f for f in value.fields if f.name != "pad")
            value = replace(value, fields=(*own, *padding.message.all("pad")))
            merged = True
        fields.append(replace(field, value=value))
    if not merged:
        with located(line=layer.line, item=layer.item):
            raise FormatError("a padding layer may only feed a convolution or a pooling")
    message = replace(layer.message, fields=tuple(fields))
    return replace(layer, message=message, bottoms=padding.bottoms)


def _inputs(root: Message, shapes: Sequence[Message]) -> list[LayerText]:
    """Return an Input layer for the fields `input`, `input_shape` and `input_dim`."""
    names = _scalars(root, "input")
    if not names:
        return []
    line = names[0].line
    dims = root.all("input_dim")
    with located(line=line, field="input"):
        if shapes:
            if len(shapes) != len(names):
                raise FormatError(f"{len(names)} inputs, but {len(shapes)} input_shape")
            fields = [Field("shape", s.line, s.span, s) for s in shapes]
        else:
            if len(dims) != 4 * len(names):
                raise FormatError(
                    f"{len(names)} inputs need {4 * len(names)} input_dim, {len(dims)} are there"
                )
            fields = [_shape_field(dims[i : i + 4]) for i in range(0, len(dims), 4)]
    span = (0, 0)
    param = Field("input_param", line, span, Message(tuple(fields), span, line, synthetic=True))
    return [
        LayerText(
            name="input", type="Input", bottoms=(), tops=names, line=line,
            message=Message((param,), span, line, synthetic=True),
        )
    ]  # fmt: skip


def _shape_field(dims: Sequence[Field]) -> Field:
    fields = tuple(replace(dim, name="dim") for dim in dims)
    span = dims[0].span
    return Field("shape", dims[0].line, span, Message(fields, span, dims[0].line, synthetic=True))


def _included(message: Message, phase: str, stages: set[str], level: int) -> bool:
    """Whether the rules of a layer select it."""
    include, exclude = message.messages("include"), message.messages("exclude")
    if include and exclude:
        raise FormatError("give include rules or exclude rules, not both")
    if include:
        return any(_meets(rule, phase, stages, level) for rule in include)
    return not any(_meets(rule, phase, stages, level) for rule in exclude)


def _meets(rule: Message, phase: str, stages: Iterable[str], level: int) -> bool:
    """Whether phase, stages and level satisfy a rule."""
    wanted = _text(rule, "phase")
    if wanted and {"0": "TRAIN", "1": "TEST"}.get(wanted, wanted) != phase:
        return False
    try:
        lowest, highest = _text(rule, "min_level"), _text(rule, "max_level")
        if (lowest and level < int(lowest)) or (highest and level > int(highest)):
            return False
    except ValueError:
        raise FormatError("min_level and max_level are whole numbers") from None
    here = set(stages)
    return here.issuperset(rule.texts("stage")) and here.isdisjoint(rule.texts("not_stage"))
