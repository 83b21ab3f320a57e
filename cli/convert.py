"""`secateur convert`: a model as ONNX, or read and written in its own format again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options, words
from .bundles import unbundled

if TYPE_CHECKING:
    from ..core.ir.network import Network
    from .terminal import Terminal


@unbundled
def command(
    files: options.Files,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File (.onnx, .prototxt, .cfg) or directory to write."),
    ],
    expose: Annotated[
        str | None,
        typer.Option(
            metavar="all|LAYER,LAYER...",
            help="Add inner layers as outputs called layer:<name> (.onnx only).",
        ),
    ] = None,
    pad_channels: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Fill channels up to multiples of K with zeros, for runtimes that compute "
            "so many at once (.onnx only).",
        ),
    ] = None,
    reset_seen: options.ResetSeen = False,
    model: options.ModelFlags = options.MODEL_AS_USUAL,
    screen: options.ScreenFlags = options.SCREEN_AS_USUAL,
) -> None:
    """Write a model as ONNX, or in its own format again."""
    import secateur

    terminal = screen.terminal()
    for flag, given in (("--expose", expose), ("--pad-channels", pad_channels)):
        if given is not None and output.suffix.lower() != ".onnx":
            raise typer.BadParameter("needs an .onnx file as --output", param_hint=flag)
    settings = model.settings()
    network = secateur.load(*files, **settings, reset_seen=reset_seen)
    terminal.notes(network.notes)
    if expose is not None:
        network = secateur.expose(network, None if expose == "all" else expose.split(","))
    if pad_channels is not None:
        network = _padded(network, pad_channels, terminal)
    with terminal.bars() as progress:
        saved = secateur.save(network, output, progress=progress)
    for path in saved.paths:
        terminal.note(f"wrote {path} ({words.size(path.stat().st_size)})")
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
