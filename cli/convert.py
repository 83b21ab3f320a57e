"""`secateur convert`: a model as ONNX, or read and written in its own format again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from secateur import LoadOptions

from . import words
from .common import AsJson, File
from .flags import Fields, with_flags
from .output import files_as_data, print_json
from .screen import ScreenOptions
from .usage import UsageError

if TYPE_CHECKING:
    from secateur import Network

    from .terminal import Terminal


@with_flags
def command(
    *files: File,
    output: Annotated[
        Path,
        Parameter(
            name=("--output", "-o"), help="File (.onnx, .prototxt, .cfg) or folder to write."
        ),
    ],
    expose: Annotated[
        str | None,
        Parameter(
            metavar="all|LAYER,LAYER…",
            help="Add inner layers as outputs called layer:<name> (.onnx only).",
        ),
    ] = None,
    pad_channels: Annotated[
        int | None,
        Parameter(
            metavar="K",
            help="Fill up channels with zeros to multiples of K, for runtimes that compute K "
            "channels at once (.onnx only).",
        ),
    ] = None,
    as_json: AsJson = False,
    model: Annotated[LoadOptions, Fields(without=("lrn",))],
    screen: ScreenOptions,
) -> None:
    """Write a model as ONNX, or in its own format again."""
    import secateur

    terminal = screen.terminal()
    for flag, given in (("--expose", expose), ("--pad-channels", pad_channels)):
        if given is not None and output.suffix.lower() != ".onnx":
            raise UsageError("needs an .onnx file as --output", flag=flag)
    network = secateur.load(*files, options=model)
    terminal.notes(network.notes)
    if expose is not None:
        network = secateur.expose(network, None if expose == "all" else expose.split(","))
    if pad_channels is not None:
        network = _padded(network, pad_channels, terminal)
    with terminal.bars() as progress:
        saved = secateur.save(network, output, progress=progress)
    if as_json:
        print_json(
            {
                "files": files_as_data(saved.paths),
                "as_read": saved.as_read,
                "difference": saved.difference,
            }
        )
    for path in saved.paths:
        terminal.note(f"wrote {path} ({words.size(path.stat().st_size)})")
    if saved.as_read:
        terminal.note("these are the bytes that were read")
    else:
        terminal.note(f"read again, it computes the same (difference {saved.difference:.1e})")


def _padded(network: Network, multiple: int, terminal: Terminal) -> Network:
    """Return the network with padded channels, and say what that costs."""
    import secateur

    found = secateur.pad_channels(network, multiple)
    before, after = (
        secateur.measure_cost(one, secateur.find_groups(one)).operations for one in (network, found)
    )
    if found is network:
        terminal.note(f"no group of channels is to be padded to a multiple of {multiple}")
    else:
        terminal.note(
            f"channels padded to multiples of {multiple}: "
            f"{words.count(before)} operations become {words.count(after)}"
        )
    return found
