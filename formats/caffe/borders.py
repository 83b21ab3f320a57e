"""Borders: layers that the graph does not carry.

It is found here which of their tops must become inputs, and of what shapes.

A top becomes an input where something that matters would be lost without it: where a layer with
weights reads it or what is made of it alone, or where it meets a computed blob. Labels, lists of
boxes, and what only losses and other borders read need nobody to feed them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from ...core.errors import UnsupportedError
from ...core.ir.network import Border, Caution
from ...core.ir.repeats import REGIONS
from .layer import CaffeBuilder, Layer, Settings, Shape
from .upgrade import LayerText

__all__ = ["Needs", "Seams", "Top", "find_needs", "input_shape"]

Top = tuple[int, int]
"""A top of a net: position of its layer, and position among that layer's tops."""

Origin = frozenset[Top] | None
"""The tops of borders that a blob is made of alone: None for a computed blob, and no top at all for
one that is absent whatever is fed."""

ABSENT: frozenset[Top] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What the layers of a net need of its borders.

    Args:
        readers: top of a border that becomes an input → the layer that needs it; None where the
            user names it.
        regions: tops of borders whose rows are regions of images.
        pooled: border that lays windows by regions → the tops of borders that these come from.
        unread: tops of other layers that would be inputs, but which only borders read.
    """

    readers: Mapping[Top, int | None]
    regions: frozenset[Top]
    pooled: Mapping[int, frozenset[Top]]
    unread: frozenset[Top]


@dataclass(kw_only=True)
class _Pass:
    """One walk over the layers of a net.

    Args:
        fed: tops of borders that are inputs.
        named: blobs whose shapes the user gives.
        origins: blob → what its last version is made of.
        moved: blob → the tops of borders that it is made of alone, fed or not.
    """

    fed: Collection[Top]
    named: Collection[str]
    origins: dict[str, Origin] = field(default_factory=dict)
    moved: dict[str, frozenset[Top]] = field(default_factory=dict)
    needed: dict[Top, int] = field(default_factory=dict)
    regions: set[Top] = field(default_factory=set)
    pooled: dict[int, frozenset[Top]] = field(default_factory=dict)

    def add(self, index: int, layer: Layer) -> None:
        """Take in the next layer."""
        read = [self.origins.get(bottom) for bottom in layer.bottoms]
        sources = [self.moved.get(bottom, ABSENT) for bottom in layer.bottoms]
        if layer.regions is not None and layer.regions < len(read):
            self.regions.update(sources[layer.regions])
            self.pooled[index] = sources[layer.regions]
        if layer.border:
            for position, top in enumerate(layer.tops):
                own = (index, position)
                self.origins[top] = None if own in self.fed else frozenset((own,))
                self.moved[top] = frozenset((own,))
            return
        only_moved = sources and all(sources) and not layer.stored()
        made_of = frozenset().union(*sources) if only_moved else ABSENT
        self.moved |= dict.fromkeys(layer.tops, made_of)
        made = self._made(index, layer, read)
        absent = layer.absent()
        for position, top in enumerate(layer.tops):
            left_out = position in absent and top not in self.named
            self.origins[top] = ABSENT if left_out else made

    def _made(self, index: int, layer: Layer, read: Sequence[Origin]) -> Origin:
        """Return what the tops of a layer are made of; note which tops it needs."""
        origins = [origin for origin in read if origin is not None]
        if layer.decodes:
            return ABSENT
        if not origins:
            return None
        if layer.optional or ABSENT in origins:
            return ABSENT
        every: frozenset[Top] = frozenset().union(*origins)
        if len(origins) == len(read) and not layer.stored():
            return every
        for top in every:
            self.needed.setdefault(top, index)
        return None


def find_needs(layers: Sequence[Layer], named: Collection[str]) -> Needs:
    """Find which tops of borders must be fed.

    Args:
        layers: the layers of the net, in order.
        named: blobs whose shapes the user gives: they become inputs in any case.
    """
    readers: dict[Top, int | None] = {
        (index, position): None
        for index, layer in enumerate(layers)
        if layer.border
        for position, top in enumerate(layer.tops)
        if top in named
    }
    while True:
        walk = _Pass(fed=readers.keys(), named=named)
        for index, layer in enumerate(layers):
            walk.add(index, layer)
        if not walk.needed:
            return Needs(
                readers=readers,
                regions=frozenset(walk.regions),
                pooled=walk.pooled,
                unread=_read_by_borders(layers),
            )
        readers |= walk.needed


def _read_by_borders(layers: Sequence[Layer]) -> frozenset[Top]:
    """Return the tops of layers without bottoms that borders read, and nothing else does."""
    current: dict[str, Top] = {}
    readers: dict[Top, list[Layer]] = {}
    for index, layer in enumerate(layers):
        for bottom in layer.bottoms:
            if bottom in current:
                readers[current[bottom]].append(layer)
        for position, top in enumerate(layer.tops):
            current.pop(top, None)
            if not layer.bottoms and not layer.border:
                current[top] = (index, position)
                readers[index, position] = []
    return frozenset(
        top for top, found in readers.items() if found and all(layer.border for layer in found)
    )


def input_shape(
    layers: Sequence[Layer],
    top: Top,
    needs: Needs,
    bottoms: Sequence[Shape | None],
    settings: Settings,
) -> tuple[int, ...]:
    """Return the shape of a border's top that becomes an input.

    Args:
        layers: the layers of the net.
        top: which top.
        needs: what the net needs.
        bottoms: shapes of the border's bottoms; None for those that are absent.
        settings: settings of the reading; the batch is that of the inputs so far.

    Raises:
        UnsupportedError: neither the file nor the user tells the shape.
    """
    index, position = top
    layer = layers[index]
    name = layer.tops[position]
    first = bottoms[0][:1] if bottoms and bottoms[0] else ()
    batch = settings.batch or 1
    rows = first[0] if first and isinstance(first[0], int) else batch
    if layer.regions is not None:
        rows = stated_regions(layers, index, needs, bottoms, settings) or batch
    given = settings.input_shapes.get(name)
    if given is not None:
        return tuple(given) if top in needs.regions and len(given) > 1 else (rows, *given)
    told = layer.top_shape(position, *bottoms)
    if told is not None:
        return told if layer.regions is None else (rows, *told[1:])
    if not layer.bottoms and not position and settings.like and top not in needs.regions:
        return (batch, *settings.like)
    if position < len(layer.bottoms) and layer.bottoms[position] == name:
        same = bottoms[position] or settings.left_out.get(name)
        if same:
            return tuple(dim if isinstance(dim, int) else batch for dim in same)
    if top in needs.regions:
        return (batch, 5)
    raise _no_shape(layers, name, layer, needs.readers.get(top))


def stated_regions(
    layers: Sequence[Layer],
    index: int,
    needs: Needs,
    bottoms: Sequence[Shape | None],
    settings: Settings,
) -> int:
    """Return how many regions a border lays windows by; 0 where nothing tells it.

    Args:
        layers: the layers of the net.
        index: position of the border.
        needs: what the net needs.
        bottoms: shapes of its bottoms; None for those that are absent.
        settings: settings of the reading.
    """
    place = layers[index].regions
    shape = bottoms[place] if place is not None and place < len(bottoms) else None
    if shape:
        return shape[0] if isinstance(shape[0], int) else 0
    counts = []
    for maker, position in needs.pooled.get(index, ()):
        given = settings.input_shapes.get(layers[maker].tops[position], ())
        told = given if len(given) > 1 else layers[maker].top_shape(position)
        counts += [told[0]] if told else []
    return max(counts, default=0)


def _no_shape(
    layers: Sequence[Layer], name: str, layer: Layer, reader: int | None
) -> UnsupportedError:
    hint = f"--input-shape {name}=C,H,W"
    if not layer.bottoms:
        return UnsupportedError(
            f"the shape of '{name}' stands in the data, not in this file", hint=hint
        )
    other = layers[reader] if reader is not None else layer
    return UnsupportedError(
        f"'{name}', which layer '{other.name}' ({other.type}) reads, becomes an input, and its "
        "shape is not in the file",
        hint=hint,
    )


@dataclass(kw_only=True)
class Seams:
    """Where graph and borders meet, collected while the layers are read.

    Args:
        needs: what the net needs of its borders.
    """

    needs: Needs
    _read: list[tuple[int, str, ir.Value]] = field(default_factory=list)
    _made: list[tuple[int, ir.Value]] = field(default_factory=list)
    _names: dict[int, str] = field(default_factory=dict)
    _indices: list[int] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def cross(
        self,
        b: CaffeBuilder,
        layers: Sequence[Layer],
        index: int,
        bottoms: Sequence[ir.Value | None],
    ) -> tuple[ir.Value | None, ...]:
        """Take in a border and return its tops: inputs, or None where nobody needs them.

        Args:
            b: declares the inputs.
            layers: the layers of the net.
            index: position of the border.
            bottoms: what it reads; None where absent.

        Raises:
            UnsupportedError: the shape of an input is not known.
        """
        layer = layers[index]
        self._indices.append(index)
        shapes = [None if value is None else b.shape(value) for value in bottoms]
        read = {
            name: value
            for name, value in zip(layer.bottoms, bottoms, strict=True)
            if value is not None and not b.builder.is_input(value)
        }
        self._read += [(index, name, value) for name, value in read.items()]
        tops: list[ir.Value | None] = []
        for position, name in enumerate(layer.tops):
            if (index, position) not in self.needs.readers:
                tops.append(None)
                continue
            top = (index, position)
            value = b.input(name, input_shape(layers, top, self.needs, shapes, b.reading))
            assert value is not None
            if layer.regions is not None:
                stated = stated_regions(layers, index, self.needs, shapes, b.reading)
                value.meta[REGIONS] = stated // (b.reading.batch or 1)
            if top in self.needs.regions and not self._stated(layers, top, b.reading):
                self._open.append(name)
            self._made.append((index, value))
            tops.append(value)
        return tuple(tops)

    @staticmethod
    def _stated(layers: Sequence[Layer], top: Top, settings: Settings) -> bool:
        """Whether the file or the user tells how many regions a top holds."""
        layer = layers[top[0]]
        named = settings.input_shapes.get(layer.tops[top[1]], ())
        return len(named) > 1 or layer.top_shape(top[1]) is not None

    def outputs(self, taken: Collection[str]) -> dict[str, ir.Value]:
        """Return what borders read by the names of the outputs, each value once.

        Args:
            taken: names of inputs and of other outputs.
        """
        used = set(taken)
        found = {}
        for _, blob, value in self._read:
            if id(value) in self._names:
                continue
            name, number = blob, 1
            while name in used:
                name, number = f"{blob}_out{number if number > 1 else ''}", number + 1
            used.add(name)
            self._names[id(value)] = name
            found[name] = value
        return found

    def borders(
        self, texts: Sequence[LayerText], sharing: Mapping[str, tuple[str, ...]]
    ) -> tuple[Border, ...]:
        """Return the borders, once the outputs have their names.

        Args:
            texts: the layers in the document.
            sharing: name of a shared parameter → the initializers that hold it.
        """
        return tuple(
            Border(
                layer=index,
                subject=f"'{texts[index].name}' ({texts[index].type})",
                outputs=tuple(
                    dict.fromkeys(self._names[id(v)] for own, _, v in self._read if own == index)
                ),
                inputs=tuple(str(value.name) for own, value in self._made if own == index),
                parameters=tuple(
                    held for name, _ in texts[index].params for held in sharing.get(name, ())
                ),
            )
            for index in self._indices
        )

    def notes(self, layers: Sequence[Layer], borders: Sequence[Border]) -> list[str]:
        """Return what a user should know of the borders."""
        counts = [
            f"the file does not say how many regions '{name}' holds: 1 an image is read "
            f"(--input-shape {name}=300,5 for 300)"
            for name in self._open
        ]
        return [*counts, *(_note(layers[border.layer], border) for border in borders)]


def _note(layer: Layer, border: Border) -> str:
    """Return what a user should know of a border: a warning where the net is cut by it."""
    parts = [
        f"{_listed(names)} {one if len(names) == 1 else more}"
        for names, one, more in (
            (border.outputs, "is an output", "are outputs"),
            (border.inputs, "is an input", "are inputs"),
        )
        if names
    ]
    text = f"layer {border.subject} is not computed"
    text += f": {', '.join(parts)}" if parts else ""
    return Caution(text) if layer.bottoms else text


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
