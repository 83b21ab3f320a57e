"""What a Caffe net is trained with in Caffe: a text with data and losses, a solver, the weights."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...core.errors import UnsupportedError, located
from ...core.ir.network import Network, Piece
from ..emission import FILL, Command, Emission
from .derived_loss import Derived, Feed, derived_loss
from .document import Document, Insert, parse
from .feeding import Feeding, feeding
from .layer import LAYERS, Layer
from .layers.data import FromFiles
from .layers.input import Input
from .named_files import NamedFiles, named_files
from .new_layer import free_name
from .solver import read_solver
from .solver_text import UPDATES, default_solver, own_solver
from .source import CaffeSource
from .upgrade import LayerText, Net, net_of

__all__ = ["emission"]

NET, SOLVER, SNAPSHOTS = "train_val.prototxt", "solver.prototxt", "snapshots"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Text:
    """The net that is trained.

    Args:
        files: name → content: the net, other texts that the solver names, files that they name.
        main: name of the net.
        own: whether it is the user's own.
        loss: what is minimised, in words.
        fill_in: what the user must fill in.
        notes: what the user must know.
        test_batch: images of a pass of testing, where it is known.
        boxes: whether it finds boxes.
    """

    files: Mapping[str, bytes]
    main: str
    own: bool
    loss: str
    fill_in: tuple[str, ...]
    notes: tuple[str, ...]
    test_batch: int | None = None
    boxes: bool = False


def emission(network: Network, solver: Path | None = None, data: Path | None = None) -> Emission:
    """Return what a Caffe net is trained with in Caffe.

    Args:
        network: read from Caffe's files, or made from such a one.
        solver: the user's solver; None for one that fine-tunes.
        data: not used: Caffe's data stands in the net.

    Raises:
        FormatError: a file is broken.
        UnsupportedError: no text has a loss, and none can be derived.
    """
    del data
    source = network.source
    assert isinstance(source, CaffeSource), "not a network of this format"
    text = _own_text(network, source, solver) or _derived_text(network, source)
    weights = _weights_name(source)
    pieces: dict[str, list[Piece]] = {name: [content] for name, content in text.files.items()}
    pieces[weights] = source.pieces(network)[".caffemodel"]
    prefix, updates = f"{SNAPSHOTS}/{_stem(source)}", UPDATES
    if solver is not None:
        with located(file=str(solver)):
            content, prefix = own_solver(solver, text.files, text.main, SNAPSHOTS, weights)
            updates = read_solver(solver).max_iter
    else:
        content = default_solver(text.main, prefix, test_batch=text.test_batch, boxes=text.boxes)
    pieces[SOLVER] = [content]
    command = f"${{CAFFE:-caffe}} train --solver={SOLVER} --weights={shlex.quote(weights)}"
    trained = f"{prefix}_iter_{updates}.caffemodel"
    return Emission(
        files=pieces,
        model={".prototxt": text.main, ".caffemodel": weights},
        solver=SOLVER,
        settings=_settings(network, source),
        framework="Caffe",
        trains={
            text.main: "the pruned net with data layers and losses",
            SOLVER: "your solver, with the paths of these files" if solver is not None
            else "a solver for fine-tuning: low rate, no restart",
            weights: "the pruned weights, which training starts from",
        },
        loss=text.loss,
        fill_in=(*text.fill_in, *([] if solver is not None else [
            f"{SOLVER}: test_iter, base_lr and max_iter for your data",
        ])),
        notes=(*text.notes, *_statistics(source)),
        folders=(SNAPSHOTS,),
        commands=(
            Command(text=command, comment="Caffe (CAFFE=/path/to/caffe if it is not in PATH)"),
            Command(
                text=f"${{CAFFE:-caffe}} train --solver={SOLVER} "
                f"--snapshot={shlex.quote(prefix)}_iter_N.solverstate",
                comment="To go on after an interruption",
            ),
        ),
        trained=trained,
        open=text.main if not text.own else "",
    )  # fmt: skip


def _settings(network: Network, source: CaffeSource) -> dict[str, object]:
    """Return the settings with which the written net is read again, as the user's was."""
    options = source.part.options
    return {
        "stages": options.stages, "level": options.level, "batch_norm": options.batch_norm,
        "opaque": options.opaque, "input_shapes": options.input_shapes,
        "image": _image(network),
    }  # fmt: skip


def _image(network: Network) -> tuple[int, ...]:
    """Return the shape of the images of a net, which data layers of training mostly have, too."""
    shapes = sorted((s[1:] for s in network.inputs.values()), key=lambda shape: len(shape) != 3)
    return tuple(size for size in shapes[0] if isinstance(size, int)) if shapes else ()


def _weights_name(source: CaffeSource) -> str:
    """Return the name of the weights; further suffixes name containers that are not written."""
    name = source.paths[".caffemodel"].name
    stem, found, _ = name.rpartition(".caffemodel")
    return f"{stem}.caffemodel" if found else f"{name}.caffemodel"


def _stem(source: CaffeSource) -> str:
    """Return the name that snapshots begin with: that of the weights without their iteration."""
    return re.sub(r"_iter_\d+$", "", Path(_weights_name(source)).stem)


def _own_text(network: Network, source: CaffeSource, solver: Path | None) -> _Text | None:
    """Return the first text of the user that has a loss in training; None where none has."""
    main = source.paths[".prototxt"]
    written = {main: source.pieces(network)[".prototxt"][0], **source.companions(network)}
    documents = {path: parse(bytes(content), path) for path, content in written.items()}
    found = next((p for p, document in documents.items() if _has_loss(net_of(document))), None)
    if found is None:
        return None
    wanted = set() if solver is None else _named_nets(solver)
    kept = {path: path.name if path.name in wanted else NET for path in (found,)}
    kept |= {path: path.name for path in documents if path.name in wanted}
    files: dict[str, bytes] = {}
    fill_in: list[str] = []
    for path, name in kept.items():
        named = named_files(documents[path], path.parent)
        files |= {name: named.text, **named.files}
        fill_in += _unfilled(name, named)
    return _Text(
        files=files, main=kept[found], own=True, fill_in=tuple(fill_in), notes=(),
        loss=f"as {found.name} says",
        boxes=b"DetectionEvaluate" in files[kept[found]],
    )  # fmt: skip


def _named_nets(solver: Path) -> set[str]:
    """Return the names of the nets that a solver names."""
    file = read_solver(solver)
    return {Path(name).name for name in (file.net, file.train_net, *file.test_nets) if name}


def _unfilled(name: str, named: NamedFiles) -> list[str]:
    return [
        f'{name}, line {line}: {field} "{text}" is looked for from this folder, and is not there'
        for line, field, text in named.missing
    ]


def _has_loss(net: Net) -> bool:
    """Whether a net has a loss in training."""
    chosen, _ = net.active("TRAIN", (), 0)
    return any(_is_loss(text) for text in chosen)


def _is_loss(text: LayerText) -> bool:
    cls = LAYERS.get(text.type)
    if cls is not None and cls.loss is not Layer.loss:
        return True
    return text.type.endswith("Loss") or bool(text.message.texts("loss_weight"))


def _derived_text(network: Network, source: CaffeSource) -> _Text:
    """Return a deploy text with data layers in the place of inputs, and the loss that follows.

    Raises:
        UnsupportedError: none can be derived, or the text is of the oldest version.
    """
    derived = derived_loss(network)
    net = source.part.net
    if any(text.version == 0 for text in net.layers):
        with located(file=str(source.paths[".prototxt"])):
            raise UnsupportedError(
                "this is the oldest form of prototxt, into which no losses are written",
                hint="upgrade_net_proto_text of Caffe rewrites it",
            )
    (image,) = network.inputs
    used = {text.name for text in net.layers}
    feed = feeding(
        image, _image(network), derived, network.preprocess, free_name("data", used - {"data"})
    )
    content = source.pieces(network)[".prototxt"][0]
    document = parse(bytes(content), source.paths[".prototxt"])
    text = _rewritten(document, net.layers, image, derived, feed)
    named = named_files(parse(text, source.paths[".prototxt"]), source.paths[".prototxt"].parent)
    missing = [entry for entry in named.missing if FILL not in entry[2]]
    return _Text(
        files={NET: named.text, **named.files}, main=NET, own=False, loss=derived.words,
        fill_in=(*feed.fill_in, *_unfilled(NET, replace(named, missing=tuple(missing)))),
        notes=(*derived.notes, *feed.notes), test_batch=feed.batch[1],
        boxes=derived.feed is Feed.BOXES,
    )  # fmt: skip


def _rewritten(
    document: Document,
    originals: Sequence[LayerText],
    image: str,
    derived: Derived,
    feed: Feeding,
) -> bytes:
    """Return the text of a deploy net as one for training.

    Args:
        document: the deploy net, pruned.
        originals: its layers before, in the same order.
        image: its input.
        derived: the loss.
        feed: the data layers.
    """
    document = _for_testing(document, derived.testing, originals)
    net = net_of(document)
    gone = [net.layers[originals.index(text)].message for text in derived.removed]
    gone += [text.message for text in net.layers if _feeds(text, image)]
    own = {id(text.message) for text in net.layers}
    fields = document.root.fields
    inputs = [field for field in fields if field.name in ("input", "input_dim", "input_shape")]
    first = next(f for f in fields if f in inputs or id(f.value) in own)
    spans = [f.span for f in fields if f in inputs or any(f.value is message for message in gone)]
    old, newline = bool(document.root.all("layers")), document.newline.decode()
    head = "".join(layer.text(old=old) for layer in feed.layers)
    tail = "".join(layer.text(old=old) for layer in derived.layers)
    place, _ = _line(document.data, first.span[0], first.span[0])
    edits = [(place, place, head.replace("\n", newline).encode())]
    edits += [(*_line(document.data, *span), b"") for span in dict.fromkeys(spans)]
    text = _patched(document.data, edits)
    end = b"" if text.endswith(b"\n") else newline.encode()
    return text + end + tail.replace("\n", newline).encode()


def _for_testing(
    document: Document, texts: Sequence[LayerText], originals: Sequence[LayerText]
) -> Document:
    """Return the text in which layers are there in testing only."""
    layers = net_of(document).layers
    messages = [layers[originals.index(text)].message for text in texts]
    return document.replace(
        [Insert(one, "include", "{ phase: TEST }") for one in messages if not one.all("include")]
    )


def _feeds(text: LayerText, image: str) -> bool:
    """Whether a layer only makes the images."""
    cls = LAYERS.get(text.type)
    is_source = cls is not None and issubclass(cls, FromFiles | Input)
    return is_source and not text.bottoms and image in [top.text for top in text.tops]


def _patched(data: bytes, edits: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Return a text with spans replaced; those that lie in others are left out with them."""
    parts, done = [], 0
    for start, stop, text in sorted(edits, key=lambda edit: edit[:2]):
        if stop < done:
            continue
        parts += [data[done : max(start, done)], text]
        done = max(done, stop)
    return b"".join([*parts, data[done:]])


def _line(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Return a span with the whole of its lines where nothing else stands in them."""
    before = data.rfind(b"\n", 0, start) + 1
    after = data.find(b"\n", end)
    after = len(data) if after < 0 else after + 1
    alone = not data[before:start].strip() and not data[end:after].strip()
    return (before, after) if alone else (start, end)


def _statistics(source: CaffeSource) -> Iterator[str]:
    """Yield a note where batch normalisation keeps its stored statistics in training."""
    frozen = [own for own in source.layers if getattr(own.layer, "use_global_stats", None)]
    if frozen:
        yield (
            f"{len(frozen)} BatchNorm layers have use_global_stats: true: they keep their "
            "statistics in training, which is usual with small batches. Take the line out of "
            "train_val.prototxt to train them, too"
        )
