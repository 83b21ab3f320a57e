"""The companions of a Darknet network: further cfgs of the same sections, for the same weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ...core.errors import FormatError, SecateurError, located
from ...core.ir.network import Network
from ..adapter import keys_of
from .document import Document
from .source import DarknetSource

__all__ = ["with_companions"]


def with_companions(
    network: Network, paths: Sequence[Path], read_document: Callable[[Path], Document]
) -> Network:
    """Return a network with further cfgs, read with its weights.

    Args:
        network: a Darknet network.
        paths: the cfgs.
        read_document: reads the text of a cfg.

    Raises:
        FormatError: a cfg cannot be read, or describes other layers.
        UnsupportedError: a cfg has a section or key that is not supported.
    """
    source = network.source
    assert isinstance(source, DarknetSource)
    found = []
    for path in paths:
        with located(file=str(path)):
            _check_alike(source, read_document(path))
        try:
            companion = source.read_again(path, source.paths[".weights"], ())
        except SecateurError as error:
            if error.where.file != str(path):
                said = f"{error.hint}; " if error.hint else ""
                error.hint = f"{said}read with the companion {path.name}"
            raise
        found.append(replace(companion, name=path.name))
    return replace(network, companions=tuple(found), source=replace(source, files=tuple(paths)))


def _check_alike(source: DarknetSource, other: Document) -> None:
    """Raise if a cfg has other sections than the network, or sections of another size.

    Raises:
        FormatError: names the section and the key.
    """
    own = source.document.sections
    if [block.name for block in other.sections] != [block.name for block in own]:
        raise FormatError("its sections are not those of the network")
    for position, record in enumerate(source.records, 1):
        for name, (_, declared) in keys_of(record.section).items() if record.refs else ():
            key = declared.names[0] if declared.names else name
            mine, theirs = (blocks[position].options.get(key) for blocks in (own, other.sections))
            if declared.channels and mine and theirs and mine.value != theirs.value:
                with located(line=other.sections[position].line):
                    raise FormatError(f"{key} of section {position} is not that of the network")
