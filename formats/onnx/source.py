"""The source of a network read from an ONNX file: the graph itself is the document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.ir.network import Bypass, Network, Piece
from ...core.packed import plain_path

__all__ = ["OnnxSource"]


@dataclass(frozen=True, kw_only=True)
class OnnxSource:
    """The files of an ONNX network; renders a changed network as ONNX."""

    paths: Mapping[str, Path]
    release: Callable[[], None]
    """Releases the pages of the mapped files from memory."""
    format: str = "onnx"

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process gets: it has no mapped file to release."""
        return {**self.__dict__, "release": _nothing}

    def unchanged(self, network: Network) -> bool:
        """Return False: written files are not the bytes that were read, but have the same graph."""
        del network
        return False

    def render(self, network: Network) -> Mapping[str, bytes]:
        """Return the network as an ONNX file, with external weights if it had them."""
        return {end: b"".join(parts) for end, parts in self.pieces(network).items()}

    def pieces(self, network: Network) -> Mapping[str, Sequence[Piece]]:
        """Return the files of :meth:`render`, each as a list of consecutive parts."""
        from .writer import to_pieces

        return to_pieces(network, plain_path(self.paths[".onnx"]).name)

    def companions(self, network: Network) -> Mapping[Path, bytes]:  # noqa: ARG002
        """Return nothing: an ONNX file has no companions."""
        return {}

    def without(self, network: Network, bypasses: Sequence[Bypass]) -> None:
        """Return None: the graph is all that an ONNX file holds."""
        del network, bypasses

    def reread(self, paths: Mapping[str, Path], companions: Sequence[Path] = ()) -> Network:  # noqa: ARG002
        """Read a written file again."""
        from .reader import load

        return load(paths[".onnx"])


def _nothing() -> None:
    """Release nothing."""
