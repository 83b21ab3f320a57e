"""The registry of file formats, and the declaration of a format.

Each format declares itself in `format.py` of its folder. That file imports readers, writers and
data sources only when they are first used.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..core.errors import FormatError
from ..core.foreign import Foreign, is_text
from ..core.ir.network import Network, Piece, Preprocess
from ..core.registry import Registry

if TYPE_CHECKING:
    from ..core.evaluation.task import Task
    from ..core.training.recipe import Start
    from ..core.training.solvers.solver import Progress
    from .emission import Emit

__all__ = ["FORMATS", "HEAD_BYTES", "Format", "Reader", "first_line", "is_text"]

HEAD_BYTES = 65536
"""Number of bytes at the start of a file that identify its format."""


class Reader(Protocol):
    """Reads the files of one model."""

    def __call__(self, paths: Mapping[str, Path], **settings: object) -> Network:
        """Return the network that the files describe.

        Args:
            paths: the files by their usual suffix.
            settings: those of :attr:`Format.settings` that the caller gave.

        Raises:
            FormatError: the files are broken or do not fit together.
            UnsupportedError: a layer cannot be carried.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """A file format for networks.

    Args:
        name: the name in code ("caffe").
        suffixes: usual suffixes of the files of a model, the description of the network first.
        rank: formats are tried on a file by rising rank.
        sniff: returns the usual suffix for the first :data:`HEAD_BYTES` of a file; None if the
            file has another format.
        relative: returns what a file is, by its first bytes, that belongs to the framework but to
            no model (a solver, a mean image); None for others. None if there are no such files.
        missing: suffix → name of the file that is missing if a file of that suffix is alone.
        read: reads a model.
        settings: names of the settings that `read` takes.
        companions: whether `read` takes `companions`, paths of further descriptions of a network.
        export: returns files by suffix, in pieces, for any network and a file name; None if only
            networks that were read from this format can be written in it.
        same: whether a network and the network read back from its export have the same graph and
            weights; None if only running them can show it.
        register_datasets: registers the kinds of data of this format.
        read_mean: reads a mean image as C×H×W float32; None if the format has none.
        begin: reads a model for training, with its losses and its solver; None if the format says
            nothing about training. The second path is that of a file with the solver, if the
            format has such. With `like`, a network of this format, its settings count.
        read_state: reads the state of a solver; None if there are no files of such.
        write_state: returns the file of a state, for the name of the weights of that moment.
        emit: makes the files with which a network is trained in the framework of the format; None
            if there are none.
        stated: returns how a text of the format says that images become inputs of a network; raises
            FormatError where it does not say it. None if texts always belong to one model.
        beside: returns what the other texts in the folder of a network say of that, by their
            paths, if they are of the same layers. None likewise.
        named_accuracy: returns, for a network and a name in its files, the network to measure and
            the task. None if the files of the format name no measurements.
        read_text: reads the description of a network alone, with zeros for its weights, and takes
            the same settings as `read`. None if the format cannot do without the weights.
    """

    name: str
    suffixes: tuple[str, ...]
    rank: int
    sniff: Callable[[bytes], str | None]
    relative: Callable[[bytes], Foreign | None] | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    read: Reader
    settings: tuple[str, ...] = ()
    companions: bool = False
    export: Callable[[Network, str], Mapping[str, Sequence[Piece]]] | None = None
    same: Callable[[Network, Network], bool] | None = None
    register_datasets: Callable[[], None] = lambda: None
    read_mean: Callable[[Path], np.ndarray] | None = None
    begin: Callable[..., Start] | None = None
    read_state: Callable[[Path], Progress] | None = None
    write_state: Callable[[Progress, str], bytes] | None = None
    emit: Emit | None = None
    stated: Callable[[Path, Network], Preprocess] | None = None
    beside: Callable[[Network], Mapping[Path, Preprocess]] | None = None
    named_accuracy: Callable[[Network, str], tuple[Network, Task]] | None = None
    read_text: Callable[..., Network] | None = None


def _declarations() -> list[str]:
    """Return the modules that declare the formats of this package."""
    package = __name__.rpartition(".")[0]
    folder = str(Path(__file__).parent)
    found = sorted(module.name for module in pkgutil.iter_modules([folder]) if module.ispkg)
    return [f"{package}.{name}.format" for name in found]


FORMATS: Registry[Format] = Registry(
    "format", modules=_declarations, group="secateur.formats", error=FormatError
)
"""Every format by its name."""


def first_line(head: bytes) -> bytes:
    """Return the first line that is neither blank nor a comment; b"" if there is none."""
    for line in head.removeprefix(b"\xef\xbb\xbf").splitlines():
        text = line.strip()
        if text and text[:1] not in (b"#", b";"):
            return text
    return b""
