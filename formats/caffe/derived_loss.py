"""The loss of a deploy net, which states none: what its last layer makes tells it.

Source of the fields: caffe.proto (BVLC 9b89154), that of the SSD fork, and its example
`ssd_pascal.py` for the settings of MultiBoxLoss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from ...core.errors import UnsupportedError, located
from ...core.ir.network import Network, shape_of
from .layers.detection_output import DetectionOutput
from .new_layer import NewLayer, free_name
from .source import CaffeSource, SourceLayer
from .upgrade import LayerText

__all__ = ["Derived", "Feed", "derived_loss"]

_SHAPING = ("Flatten", "Reshape", "Split", "Dropout")
"""Layers that change no value of what they read, so that a loss may read before them."""
_ENDS = ("Softmax", "Sigmoid", "ArgMax")
"""Layers at the end of a net whose work a loss does itself."""
_IGNORED = 255
"""Label of pixels that count for nothing, as in most sets of maps."""
_MANY = 20
"""Classes from which on the accuracy of the five best is of use, too."""
_HINT = "--companion train_val.prototxt gives the text that has them"


class Feed(Enum):
    """Where images and labels come from."""

    LABELLED = auto()
    """A database of images, each with the number of its class."""
    BOXES = auto()
    """A database of images, each with boxes."""
    ARRAYS = auto()
    """HDF5 files with arrays."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Derived:
    """A loss, and how the text of a net changes for it.

    Args:
        words: what is minimised, for people.
        feed: where images and labels come from.
        label: name of the blob with the labels.
        shape: of the labels of a sample, for people.
        removed: layers that a training has not.
        testing: layers that are of use in testing alone.
        layers: the losses and measurements.
        notes: what the user must know.
    """

    words: str
    feed: Feed
    label: str
    shape: str = ""
    removed: tuple[LayerText, ...] = ()
    testing: tuple[LayerText, ...] = ()
    layers: tuple[NewLayer, ...]
    notes: tuple[str, ...] = ()


def derived_loss(network: Network) -> Derived:
    """Return the loss for what a network computes.

    Args:
        network: read from Caffe's files, or made from such a one.

    Raises:
        UnsupportedError: its last layers tell none, or Caffe has no layer for it.
    """
    source = network.source
    assert isinstance(source, CaffeSource), "not a network of this format"
    return _Derivation(network, source).derived()


class _Derivation:
    """One look at the end of a net."""

    def __init__(self, network: Network, source: CaffeSource):
        self.network = network
        self.source = source
        self.layers = source.layers
        blobs = {blob for own in self.layers for blob in (*own.layer.tops, *own.layer.bottoms)}
        self.used = blobs | {text.name for text in source.part.net.layers}
        self.label = free_name("label", self.used)

    def derived(self) -> Derived:
        """Return the loss."""
        with located(file=str(self.source.paths[".prototxt"])):
            if len(self.network.inputs) != 1:
                names = ", ".join(f"'{name}'" for name in self.network.inputs)
                raise UnsupportedError(
                    f"no training can be written for several inputs: {names}", hint=_HINT
                )
            last = self._last()
            with located(line=last.text.line, item=last.text.item):
                if isinstance(last.layer, DetectionOutput):
                    return self._boxes(last, last.layer)
                if last.layer.decodes:
                    raise UnsupportedError(
                        "no loss can be derived: Caffe has no layer that trains such boxes",
                        hint="train its Darknet form, or give the train_val of your fork "
                        "(--companion)",
                    )
                if last.layer.border:
                    raise UnsupportedError(
                        "no loss can be derived behind a layer that is not computed", hint=_HINT
                    )
            return self._values(last)

    def _last(self) -> SourceLayer:
        """Return the only layer whose tops nothing reads.

        Raises:
            UnsupportedError: there are several.
        """
        makers: dict[str, int] = {}
        leaves: set[int] = set()
        for index, own in enumerate(self.layers):
            for bottom in own.layer.bottoms:
                leaves.discard(makers.get(bottom, -1))
            if own.layer.type == "Silence" or (not own.layer.bottoms and not own.stored):
                continue
            leaves.add(index)
            makers |= dict.fromkeys(own.layer.tops, index)
        if len(leaves) != 1:
            ends = ", ".join(f"'{self.layers[k].layer.name}'" for k in sorted(leaves)[:3])
            ends += f" and {len(leaves) - 3} more" if len(leaves) > 3 else ""
            raise UnsupportedError(
                f"no loss can be derived: the net ends in {len(leaves)} layers ({ends}), and how "
                "their losses add up stands in no file",
                hint=_HINT,
            )
        return self.layers[leaves.pop()]

    def _maker(self, of: SourceLayer, position: int = 0) -> SourceLayer | None:
        """Return the layer that made a bottom of a layer; None for an input."""
        blob = of.layer.bottoms[position]
        before = self.layers[: self.layers.index(of)]
        made = (own for own in reversed(before) if blob in own.layer.tops)
        return next(made, None)

    def _values(self, last: SourceLayer) -> Derived:
        """Return the loss of a net that makes scores or values."""
        walked = self._shaping(last)
        made = self._maker(walked[-1]) if walked else last
        kind = made.layer.type if made is not None else ""
        if made is not None and kind in ("Softmax", "Sigmoid"):
            if made.layer.tops == made.layer.bottoms:
                raise UnsupportedError(
                    f"no loss can be derived: '{made.layer.name}' ({kind}) works in place",
                    hint="give it a top of its own",
                )
            walked.append(made)
        places = [k for k, own in enumerate(walked) if own.layer.type in _ENDS]
        cut = walked[: places[-1] + 1] if places else []
        scores = cut[-1].layer.bottoms[0] if cut else last.layer.tops[0]
        sizes = self._sizes(cut[-1].bottoms[0] if cut else last.tops[0])
        texts = tuple(own.text for own in cut)
        if kind == "Sigmoid":
            return self._several(scores, sizes, texts)
        if cut or any(size != 1 for size in sizes[1:]):
            axis = getattr(made.layer, "axis", 1) if made is not None and kind == "Softmax" else 1
            return self._classes(scores, axis, sizes, texts, stated=kind == "Softmax")
        return self._numbers(scores, sizes, texts)

    def _shaping(self, last: SourceLayer) -> list[SourceLayer]:
        """Return the layers at the end that change no score, the last one first."""
        walked: list[SourceLayer] = []
        found: SourceLayer | None = last
        while found is not None and found.layer.type in (*_SHAPING, "ArgMax"):
            walked.append(found)
            found = self._maker(found)
        return walked

    def _sizes(self, value: str) -> tuple[int, ...]:
        """Return the shape of a value of the graph, without the batch."""
        shape = shape_of(self.network.values()[value])[1:]
        return tuple(size for size in shape if isinstance(size, int))

    def _classes(
        self, scores: str, axis: int, sizes: Sequence[int], cut: tuple[LayerText, ...], *,
        stated: bool,
    ) -> Derived:  # fmt: skip
        """Return a softmax over classes, of an image or of each of its pixels."""
        classes = sizes[axis - 1] if 0 < axis <= len(sizes) else max(sizes, default=1)
        one = all(size == 1 for place, size in enumerate(sizes, 1) if place != axis)
        along = f"softmax_param {{ axis: {axis} }}" if axis != 1 else ""
        of = f"axis: {axis}" if axis != 1 else ""
        ignore = "" if one else f"ignore_label: {_IGNORED}"
        loss = NewLayer(
            name=free_name("loss", self.used), type="SoftmaxWithLoss",
            bottoms=(scores, self.label), tops=("loss",),
            fields=(along, f"loss_param {{ {ignore} }}" if ignore else ""),
        )  # fmt: skip
        best = [1] if classes < _MANY or not one else [1, 5]
        layers = [loss, *(self._accuracy(scores, top, f"{of} {ignore}") for top in best)]
        notes = () if stated else (
            "the net ends without a softmax; its values are taken for scores of classes",
        )  # fmt: skip
        if one:
            return Derived(
                words=f"softmax over {classes} classes (SoftmaxWithLoss)", feed=Feed.LABELLED,
                label=self.label, removed=cut, layers=tuple(layers), notes=notes,
            )  # fmt: skip
        rest = "×".join(str(size) for place, size in enumerate(sizes, 1) if place != axis)
        return Derived(
            words=f"softmax over {classes} classes for each of {rest} places (SoftmaxWithLoss)",
            feed=Feed.ARRAYS, label=self.label,
            shape=f"{rest} numbers of classes, {_IGNORED} for places that do not count",
            removed=cut, layers=tuple(layers), notes=notes,
        )  # fmt: skip

    def _accuracy(self, scores: str, top: int, fields: str) -> NewLayer:
        name = free_name("accuracy" if top == 1 else f"accuracy_top{top}", self.used)
        text = " ".join([f"top_k: {top}" if top > 1 else "", fields]).strip()
        return NewLayer(
            name=name, type="Accuracy", bottoms=(scores, self.label), tops=(name,), phase="TEST",
            fields=(f"accuracy_param {{ {text} }}" if text else "",),
        )  # fmt: skip

    def _several(self, scores: str, sizes: Sequence[int], cut: tuple[LayerText, ...]) -> Derived:
        """Return the cross-entropy of independent probabilities."""
        loss = NewLayer(
            name=free_name("loss", self.used), type="SigmoidCrossEntropyLoss",
            bottoms=(scores, self.label), tops=("loss",),
        )  # fmt: skip
        return Derived(
            words="cross-entropy of probabilities, each for itself (SigmoidCrossEntropyLoss)",
            feed=Feed.ARRAYS, label=self.label,
            shape="×".join(map(str, sizes)) + " numbers from 0 to 1", removed=cut, layers=(loss,),
        )  # fmt: skip

    def _numbers(self, values: str, sizes: Sequence[int], cut: tuple[LayerText, ...]) -> Derived:
        """Return the squared difference of plain values."""
        loss = NewLayer(
            name=free_name("loss", self.used), type="EuclideanLoss", bottoms=(values, self.label),
            tops=("loss",),
        )  # fmt: skip
        return Derived(
            words="half the squared difference of the values (EuclideanLoss)", feed=Feed.ARRAYS,
            label=self.label, shape="×".join(map(str, sizes)) + " numbers", removed=cut,
            layers=(loss,), notes=(
                f"the files do not say what '{values}' means; it is taken for plain values. If "
                "they are scores of classes, put SoftmaxWithLoss in the place of EuclideanLoss",
            ),
        )  # fmt: skip

    def _boxes(self, last: SourceLayer, head: DetectionOutput) -> Derived:
        """Return the loss of SSD.

        Raises:
            UnsupportedError: the boxes are not made as there.
        """
        places, _, priors = head.bottoms[:3]
        chain, found = [last.text], self._maker(last, 1)
        while found is not None and found.layer.type in _SHAPING:
            chain.append(found.text)
            found = self._maker(found)
        if found is None or found.layer.type not in ("Softmax", "Sigmoid"):
            raise UnsupportedError(
                "no loss can be derived: its scores are made by neither a softmax nor a sigmoid",
                hint=_HINT,
            )
        kind = "SOFTMAX" if found.layer.type == "Softmax" else "LOGISTIC"
        chain.append(found.text)
        scores = found.layer.bottoms[0]
        before = self._maker(found)
        if before is not None and before.layer.type == "Reshape":
            chain.append(before.text)
            scores = before.layer.bottoms[0]
        loss = NewLayer(
            name=free_name("mbox_loss", self.used), type="MultiBoxLoss",
            bottoms=(places, scores, priors, self.label), tops=("mbox_loss",), phase="TRAIN",
            fields=(
                *(f"propagate_down: {word}" for word in ("true", "true", "false", "false")),
                "loss_param { normalization: VALID }",
                _block("multibox_loss_param", _multibox(head, kind)),
            ),
        )  # fmt: skip
        name = free_name("detection_eval", self.used)
        measured = NewLayer(
            name=name, type="DetectionEvaluate", bottoms=(last.layer.tops[0], self.label),
            tops=(name,), phase="TEST",
            fields=(_block("detection_evaluate_param", {
                "num_classes": head.num_classes,
                "background_label_id": head.background_label_id,
                "overlap_threshold": 0.5, "evaluate_difficult_gt": "false",
            }),),
        )  # fmt: skip
        return Derived(
            words=f"boxes and {head.num_classes} classes with the background (MultiBoxLoss)",
            feed=Feed.BOXES, label=self.label, testing=tuple(chain), layers=(loss, measured),
            notes=(
                "MultiBoxLoss, AnnotatedData and DetectionEvaluate are layers of the SSD fork of "
                "Caffe; its settings are those of ssd_pascal.py",
            ),
        )  # fmt: skip


def _multibox(head: DetectionOutput, kind: str) -> Mapping[str, object]:
    """Return the fields of MultiBoxLoss for a decoder."""
    return {
        "loc_loss_type": "SMOOTH_L1",
        "conf_loss_type": kind,
        "loc_weight": 1.0,
        "num_classes": head.num_classes,
        "share_location": str(head.share_location).lower(),
        "match_type": "PER_PREDICTION",
        "overlap_threshold": 0.5,
        "use_prior_for_matching": "true",
        "background_label_id": head.background_label_id,
        "use_difficult_gt": "true",
        "neg_pos_ratio": 3.0,
        "neg_overlap": 0.5,
        "code_type": head.code_type,
        "encode_variance_in_target": str(head.variance_encoded_in_target).lower(),
        "ignore_cross_boundary_bbox": "false",
        # The fork mines only where all classes have the same boxes.
        "mining_type": "MAX_NEGATIVE" if head.share_location else "NONE",
    }


def _block(name: str, fields: Mapping[str, object]) -> str:
    """Return a message with a field a line."""
    lines = "\n".join(f"    {key}: {value}" for key, value in fields.items())
    return f"{name} {{\n{lines}\n  }}"
