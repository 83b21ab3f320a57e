"""The companions of a Caffe net: other texts, other phases, and what the caffemodel says itself.

All of them store their parameters in one caffemodel. A layer that a net does not have, but another
text or the caffemodel itself, may read what pruning removes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ...core.errors import FormatError, SecateurError, located
from ...core.ir.network import Caution, Network
from ..adapter import keys_of
from .definition import definition_of, related
from .document import read_document
from .fields import read_fields
from .layer import LAYERS, Layer, Unknown
from .part import Part
from .source import CaffeSource
from .upgrade import LayerText, Net, net_of

__all__ = ["check_alike", "read_companions"]

PHASES = ("TRAIN", "TEST")

Reader = Callable[[Part], Network]
"""Reads one net."""


def read_companions(
    network: Network, files: Sequence[tuple[Path, Path]], read: Reader
) -> tuple[tuple[Network, ...], list[str]]:
    """Return the companions of a network, and notes on them.

    They are: the given texts in each of their phases; the layers of the network's own text in the
    other phase, if they have weights of their own; layers that no text has, but the caffemodel, as
    it defines them. What was not given is left alone with a note where it cannot be read.

    Args:
        network: a Caffe net without companions.
        files: further texts, each with the folder of the files that it names.
        read: reads one net.

    Raises:
        FormatError: a given text cannot be read, or does not fit the network.
        UnsupportedError: a given text has a layer that is not supported.
    """
    main = _source(network)
    found: list[Network] = []
    for path, folder in files:
        with _named(path):
            found += [_followed(part, read) for part in _given(network, path, folder)]
    notes = _notes(found)
    unknown = why = "the file does not say what they read"
    for hidden in (_other_phase, _defined):
        try:
            parts = list(hidden(network, found))
        except SecateurError as error:
            why = error.message
            continue
        for part in parts:
            if _unread(main, found).isdisjoint(text.name for text in part.chosen):
                continue
            try:
                check_alike(main, part.chosen)
                found.append(read(part))
            except SecateurError as error:
                why = error.message if why is unknown else why
    return tuple(found), [*notes, *_left_alone(main, found, why)]


def _left_alone(main: CaffeSource, found: Sequence[Network], why: str) -> list[Caution]:
    """Return a caution on the layers whose weights no net reads, if there are any."""
    left = sorted(_unread(main, found))
    if not left:
        return []
    shown = ", ".join(f"'{name}'" for name in left[:5])
    shown += f" and {len(left) - 5} more" if len(left) > 5 else ""
    return [
        Caution(
            f"{main.weights.path.name} has weights of layers that no given text has: {shown}. "
            f"They stay as they are, since what they read is not known ({why}); --companion gives "
            "the text that has them"
        )
    ]


def _source(network: Network) -> CaffeSource:
    assert isinstance(network.source, CaffeSource)
    return network.source


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say in errors about other files that a companion was read."""
    try:
        with located(file=str(path)):
            yield
    except SecateurError as error:
        if error.where.file != str(path):
            said = f"{error.hint}; " if error.hint else ""
            error.hint = f"{said}read with the companion {path.name}"
        raise


def _followed(part: Part, read: Reader) -> Network:
    """Return the net of a given text; say in errors what was assumed of its images."""
    try:
        return read(part)
    except SecateurError as error:
        data = [text.tops[0].text for text in part.chosen if _takes_shape(text, part)]
        if data and error.hint is None and error.where.file == str(part.path):
            shape = "×".join(map(str, part.like))
            error.hint = (
                f"its images are read as those of the network ({shape}), "
                f"--input-shape {data[0]}=C,H,W gives others"
            )
        raise


def _takes_shape(text: LayerText, part: Part) -> bool:
    """Whether a layer makes images of which the user does not give the shape."""
    if text.bottoms or not text.tops or text.type in ("Input", "DummyData"):
        return False
    return text.tops[0].text not in part.options.input_shapes


def _given(network: Network, path: Path, folder: Path) -> Iterator[Part]:
    """Yield a further text in each phase in which it computes something else.

    Raises:
        FormatError: it cannot be read, or has other layers under the same names.
    """
    main = _source(network)
    document = read_document(path)
    net = net_of(document)
    known = {(own.text.name, own.text.type) for own in main.layers if own.layer.stored()}
    if not known & {(text.name, text.type) for text in net.layers}:
        raise FormatError("it has no layer of the network that has weights")
    check_alike(main, net.layers)
    options = main.part.options
    several = len({_computing(net, phase, main.part) for phase in PHASES}) > 1
    done: set[tuple[int, ...]] = set()
    for phase in PHASES:
        chosen, _ = net.active(phase, options.stages, options.level)
        computing = _computing(net, phase, main.part)
        if computing and computing not in done:
            done.add(computing)
            yield Part(
                document=document, path=path, net=net, chosen=chosen, weights=main.weights,
                options=replace(options, phase=phase), folder=folder,
                name=f"{path.name} in phase {phase}" if several else path.name,
                companion=True, like=_image(network), target=path,
            )  # fmt: skip


def _computing(net: Net, phase: str, part: Part) -> tuple[int, ...]:
    """Return which layers of a phase compute: neither sources of data nor measurements."""
    chosen, _ = net.active(phase, part.options.stages, part.options.level)
    return tuple(id(text) for text in chosen if text.bottoms and text.type != "Accuracy")


def _image(network: Network) -> tuple[int, ...]:
    """Return the shape of the first image that a network reads, without the batch; () for none."""
    shapes = [shape[1:] for shape in network.inputs.values()]
    shapes.sort(key=lambda shape: len(shape) != 3)
    sizes = shapes[0] if shapes else ()
    numbers = tuple(size for size in sizes if isinstance(size, int))
    return numbers if len(numbers) == len(sizes) else ()


def check_alike(main: CaffeSource, texts: Sequence[LayerText]) -> None:
    """Raise if layers of one name are not of one type and size.

    Raises:
        FormatError: names the layer.
    """
    stored = {own.text.name: own for own in main.layers if own.layer.stored()}
    for text in texts:
        own = stored.get(text.name)
        if own is None:
            continue
        with located(line=text.line, item=text.item):
            if LAYERS.get(text.type, Unknown) is not type(own.layer):
                raise FormatError(f"its type is {text.type}, and {own.text.type} in the network")
            _check_sizes(own.layer, text)


def _check_sizes(own: Layer, text: LayerText) -> None:
    theirs = read_fields(type(own), text.message, own.param)
    for attribute, (field, declared) in keys_of(own).items():
        value = theirs.get(attribute, field.default)
        if declared.channels and value != getattr(own, attribute):
            here = getattr(own, attribute)
            raise FormatError(f"{attribute} is {value}, and {here} in the network")


def _unread(main: CaffeSource, found: Sequence[Network]) -> set[str]:
    """Return the names of layers whose weights no net reads.

    Those of borders are left out: nothing that they read changes.
    """
    layers = [own for source in (main, *map(_source, found)) for own in source.layers]
    read = {entry for own in layers for entry in own.stored}
    kept = {own.text.name for own in layers if own.layer.border}
    return {
        stored.name
        for entry, stored in enumerate(main.weights.layers)
        if stored.blobs and entry not in read and stored.name not in kept
    }


def _other_phase(network: Network, found: Sequence[Network]) -> Iterator[Part]:
    """Yield the network's own text in the phase that it was not read in."""
    del found
    part = _source(network).part
    for phase in PHASES:
        if phase != part.options.phase:
            options = replace(part.options, phase=phase)
            yield replace(
                part,
                chosen=part.net.active(phase, options.stages, options.level)[0],
                options=options,
                name=f"{part.path.name} in phase {phase}",
                companion=True,
                like=_image(network),
            )


def _defined(network: Network, found: Sequence[Network]) -> Iterator[Part]:
    """Yield the layers whose weights no net reads, as the caffemodel defines them.

    First with all that reads what they make; then without, where that cannot be read.
    """
    main = _source(network)
    left = _unread(main, found)
    document = definition_of(main.weights) if left else None
    if document is None:
        return
    net, path = net_of(document), main.weights.path
    for phase in PHASES:
        options = replace(main.part.options, phase=phase)
        chosen, _ = net.active(phase, options.stages, options.level)
        for behind in (True, False):
            texts, outputs = related(chosen, left, behind=behind)
            yield replace(
                main.part, document=document, path=path, net=net, chosen=texts, outputs=outputs,
                name=path.name, options=options, companion=True, like=_image(network),
                target=None,
            )  # fmt: skip


def _notes(found: Sequence[Network]) -> list[str]:
    """Return the notes of companions, each once."""
    notes = {note: network for network in reversed(found) for note in reversed(network.notes)}
    named = {note: f"{_source(network).part.path.name}: {note}" for note, network in notes.items()}
    return [
        Caution(text) if isinstance(note, Caution) else text
        for note, text in reversed(named.items())
    ]
