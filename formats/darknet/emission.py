"""What a Darknet network is trained with in Darknet: a cfg with the keys of training, a `.data`
file, the weights.

Source: parser.c, detector.c `train_detector`, classifier.c `train_classifier`, utils.c `basecfg`,
region_layer.c (both Darknets).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import FormatError, UnsupportedError, located
from ...core.ir.network import Network, Piece
from ...core.packed import plain_path
from ..emission import Command, Emission
from .data_text import data_text
from .document import Document, parse
from .net_training import NetTraining
from .recipe import with_seen
from .section import read_section
from .source import DarknetSource
from .training_text import classes_of, training_text

__all__ = ["emission"]

DATA, BACKUP = "train.data", "backup"
DETECTORS = ("yolo", "Gaussian_yolo", "region")
FIRST_IMAGES = 12_800
"""Images for which [region] pulls all boxes to their anchors. Source: region_layer.c."""
MOST_BYTES = 1 << 26
"""Largest file named by a cfg that is copied."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """What a network is trained as.

    Args:
        command: the word of Darknet's command line.
        final: what Darknet calls the weights in the end.
        alexeyab: further words for AlexeyAB's.
        images: what the lists hold, for people.
    """

    command: str
    final: str
    alexeyab: str
    images: str


DETECTOR = _Kind(
    command="detector", final="_final", alexeyab="-map -dont_show",
    images="lists of your images, one path a line, with a .txt of boxes for each image",
)  # fmt: skip
CLASSIFIER = _Kind(
    command="classifier", final="", alexeyab="-topk -dont_show",
    images="lists of your images, one path a line, with the name of the class in the path",
)  # fmt: skip


def emission(network: Network, solver: Path | None = None, data: Path | None = None) -> Emission:
    """Return what a Darknet network is trained with in Darknet.

    Args:
        network: read from Darknet's files, or made from such a one.
        solver: must be None: a cfg holds its own schedule.
        data: the user's `.data` file, whose paths are kept; other data is left aside.

    Raises:
        DataError: the `.data` file is broken, or names files that are not there.
        FormatError: a key is out of its range.
        UnsupportedError: no section has a loss that is supported, or there is a solver.
    """
    source = network.source
    assert isinstance(source, DarknetSource), "not a network of this format"
    if solver is not None:
        raise UnsupportedError(
            "a cfg holds its own schedule: no solver file goes with it", option="solver"
        )
    path, document = _cfg(network, source)
    kind = _kind(document)
    with located(file=str(path)):
        text = training_text(document, detector=kind is DETECTOR)
        files, content = _with_files(text.content, path)
    name, weights = plain_path(source.paths[".cfg"]).name, _weights_name(source)
    settings = _settings(parse(content, str(path)), source)
    seen, clear = _seen(document, settings)
    late = _late(settings, seen)
    if late:
        content = bytes(parse(content, str(path)).replace({(0, "max_batches"): late}))
    lists = data_text(
        data, labels=kind is CLASSIFIER, classes=classes_of(document), images=kind.images,
        backup=BACKUP,
    )  # fmt: skip
    counted = with_seen(network, seen)
    assert isinstance(counted.source, DarknetSource), "the same files"
    pieces: dict[str, list[Piece]] = {
        name: [content],
        DATA: [lists.content],
        weights: list(counted.source.pieces(counted)[".weights"]),
        **{file: [held] for file, held in files.items()},
    }
    base = name.split(".")[0]
    words = [kind.command, "train", DATA, shlex.quote(name), shlex.quote(weights), clear]
    command = " ".join(["${DARKNET:-darknet}", *filter(None, words)])
    return Emission(
        files=pieces,
        model={".cfg": name, ".weights": weights},
        settings={"flavour": source.records[0].section.context.flavour.value, "all_layers": True},
        framework="Darknet",
        trains={
            name: "the pruned network with the keys of training",
            DATA: "where images, names and trained weights are",
            weights: "the pruned weights, which training starts from",
        },
        loss=f"that of {', '.join(f'[{head}]' for head in text.heads)}",
        fill_in=tuple(f"{DATA}, {line}" for line in lists.fill_in),
        notes=(
            *text.notes,
            _schedule(settings),
            _count(seen),
            *([f"so max_batches is {late}, to leave room for training"] if late else []),
            *_flavours(source, network),
        ),
        folders=(BACKUP,),
        commands=(
            Command(text=command, comment="Darknet (DARKNET=/path/to/darknet if it is not in "
                    "PATH); both Darknets take it"),
            Command(text=f"{command} {kind.alexeyab}",
                    comment="AlexeyAB's, with measurements on valid= and without a window"),
        ),
        trained=f"{BACKUP}/{base}{kind.final}.weights",
        open=DATA,
    )  # fmt: skip


def _cfg(network: Network, source: DarknetSource) -> tuple[Path, Document]:
    """Return the pruned cfg that is trained: a companion with a schedule, else the cfg itself."""
    own = source.paths[".cfg"]
    text = b"".join(map(bytes, source.pieces(network)[".cfg"]))
    texts = {own: text, **source.companions(network)}
    documents = {path: parse(text, str(path)) for path, text in texts.items()}
    stated = (
        path for path, document in documents.items()
        if path != own and "learning_rate" in document.sections[0].options
    )  # fmt: skip
    chosen = next(stated, own)
    return chosen, documents[chosen]


def _kind(document: Document) -> _Kind:
    """Return what a network is trained as.

    Raises:
        UnsupportedError: Darknet takes no data of the user for a section.
    """
    names = [block.name for block in document.sections]
    with located(file=document.file):
        for block in document.sections:
            if block.name == "detection":
                with located(line=block.line, item=f"[{block.name}]"):
                    raise UnsupportedError(
                        "no training can be written: Darknet trains this section with lists of "
                        "images whose paths are part of its program",
                        hint="secateur finetune --own-solver trains it",
                    )
    return DETECTOR if any(name in DETECTORS for name in names) else CLASSIFIER


def _weights_name(source: DarknetSource) -> str:
    name = plain_path(source.paths[".weights"]).name
    return name if name.endswith(".weights") else f"{name}.weights"


def _settings(document: Document, source: DarknetSource) -> NetTraining:
    """Return the keys of training of the written cfg.

    Raises:
        FormatError: a key is out of its range.
    """
    net = document.sections[0]
    with located(file=document.file, line=net.line, item="[net]"):
        found = read_section(NetTraining, net, source.records[0].section.context)
        assert isinstance(found, NetTraining)
        found.settings()
    return found


def _seen(document: Document, settings: NetTraining) -> tuple[int, str]:
    """Return how many images the weights say were seen, and the word that clears this.

    Training begins anew, with the first step of the schedule. [region] would pull all boxes to
    their anchors then, which is for networks that are not trained yet.
    """
    if not any(block.name == "region" for block in document.sections):
        return 0, "-clear"
    images = settings.images * settings.subdivisions
    return -(-FIRST_IMAGES // images) * images, ""


def _late(settings: NetTraining, seen: int) -> int:
    """Return the last batch for weights that begin late; 0 where that of the cfg leaves room."""
    first = seen // (settings.images * settings.subdivisions)
    return settings.max_batches + first if 0 < settings.max_batches < 2 * first else 0


def _count(seen: int) -> str:
    if not seen:
        return (
            "the count of images seen is 0 in these weights, and -clear sets it to 0 again: with "
            "the count of the first training, Darknet would think that all is done"
        )
    return (
        f"the count of images seen is {seen} in these weights: below {FIRST_IMAGES}, [region] "
        "pulls all boxes to their anchors. So do not give -clear"
    )


def _schedule(settings: NetTraining) -> str:
    return (
        f"[net] says learning_rate={settings.learning_rate:g}, policy={settings.policy}, "
        f"burn_in={settings.burn_in}, max_batches={settings.max_batches} of "
        f"{settings.images * settings.subdivisions} images. A first training has such a schedule; "
        "for fine-tuning a tenth of the rate and of the batches is usual"
    )


def _flavours(source: DarknetSource, network: Network) -> list[str]:
    """Return what to know of the two Darknets."""
    found = []
    kinds = {block.name for block in source.document.sections}
    if kinds & {"connected", "conn", "local"}:
        found.append("AlexeyAB's Darknet never updates [connected] and [local]; pjreddie's does")
    (shape, *_) = network.inputs.values()
    if len(shape) == 4 and shape[1] != 3:
        found.append(
            f"the network reads {shape[1]} channels; Darknet loads colour images for training "
            "(AlexeyAB's detector train alone follows channels=)"
        )
    return found


def _with_files(content: bytes, path: Path) -> tuple[dict[str, bytes], bytes]:
    """Return the files that a cfg names, by their names, and the cfg that names them so.

    Raises:
        FormatError: two files have one name, or one cannot be read.
    """
    document = parse(content, str(path))
    values: dict[tuple[int, str], int | str] = {}
    files: dict[str, bytes] = {}
    for place, block in enumerate(document.sections):
        for key in ("tree", "map"):
            option = block.options.get(key)
            if option is None or option.value is None or block.name not in ("softmax", *DETECTORS):
                continue
            folders = (path.parent, path.parent.parent)
            found = next((f for p in folders if (f := p / option.value).is_file()), None)
            if found is None:
                continue  # reading the network says so
            with located(line=option.line, item=f"[{block.name}]"):
                held = _content(found)
                if files.setdefault(found.name, held) != held:
                    raise FormatError(f"two files have the name {found.name}")
            values[place, key] = found.name
    return files, bytes(document.replace(values)) if values else content


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise FormatError(f"{path.name} is too large for a list of classes")
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror or error}") from error
