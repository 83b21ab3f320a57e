"""A Darknet network at another size of its input, as Darknet itself resizes one in training."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from ...core.errors import UnsupportedError
from ...core.files import write_synced
from ...core.ir.network import Network
from .document import parse
from .source import DarknetSource

__all__ = ["at_size"]


def at_size(network: Network, height: int, width: int) -> Network:
    """Return a network at another size of its input: its cfg is read again with other sides.

    Args:
        network: read from Darknet's files, or made from such a one.
        height: rows of its input.
        width: columns.

    Raises:
        UnsupportedError: it is of another format.
        FormatError: a layer has a size of its own, such as one that reads all positions.
    """
    source = network.source
    if not isinstance(source, DarknetSource):
        raise UnsupportedError(f"'{network.name}' was not read from a cfg")
    sides: dict[tuple[int, str], int | str] = {(0, "height"): height, (0, "width"): width}
    with tempfile.TemporaryDirectory(prefix="secateur-") as folder:
        paths = {end: Path(folder) / path.name for end, path in source.paths.items()}
        cfg: bytes | None = None
        if source.unchanged(network):
            paths[".weights"] = source.paths[".weights"]  # read where they are
        else:
            files = source.render(replace(network, companions=()))
            cfg = files[".cfg"]
            write_synced(paths[".weights"], [files[".weights"]])
        document = source.document if cfg is None else parse(cfg, source.document.file)
        write_synced(paths[".cfg"], [bytes(document.replace(sides))])
        return source.reread(paths)
