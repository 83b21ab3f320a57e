"""`secateur convert`: a model as ONNX, or read and written in its own format again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options, words
from .bundles import unbundled


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
    reset_seen: options.ResetSeen = False,
    model: options.ModelFlags = options.MODEL_AS_USUAL,
    screen: options.ScreenFlags = options.SCREEN_AS_USUAL,
) -> None:
    """Write a model as ONNX, or in its own format again."""
    import secateur

    terminal = screen.terminal()
    if expose is not None and output.suffix.lower() != ".onnx":
        raise typer.BadParameter("needs an .onnx file as --output", param_hint="--expose")
    settings = model.settings()
    network = secateur.load(*files, **settings, reset_seen=reset_seen)
    terminal.notes(network.notes)
    if expose is not None:
        network = secateur.expose(network, None if expose == "all" else expose.split(","))
    with terminal.bars() as progress:
        saved = secateur.save(network, output, progress=progress)
    for path in saved.paths:
        terminal.note(f"wrote {path} ({words.size(path.stat().st_size)})")
    terminal.note(f"read again, it computes the same (difference {saved.difference:.1e})")
