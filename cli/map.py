"""`secateur map`: mean average precision of detectors, class by class."""

from __future__ import annotations

from . import options
from .terminal import Terminal
from .valid import Data, Models, Nms, Overlap, Score, run


def command(
    files: Models,
    data: Data,
    score: Score = None,
    nms: Nms = None,
    overlap: Overlap = 0.5,
    as_json: options.AsJson = False,
    scale: options.Scale = None,
    mean: options.Mean = None,
    channels: options.Channels = None,
    letterbox: options.Letterbox = None,
    root: options.Root = None,
    names: options.Names = None,
    batch: options.Batch = None,
    limit: options.Limit = None,
    flavour: options.Flavour = "auto",
    partial: options.Partial = False,
    phase: options.Phase = "TEST",
    stage: options.Stage = None,
    level: options.Level = 0,
    input_shape: options.InputShape = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Measure the mean average precision of detectors."""
    run(
        files,
        data,
        terminal=Terminal(quiet=quiet, verbose=verbose),
        loading=options.load_settings(flavour, partial, phase, stage, level, input_shape),
        opening={
            "mean": mean, "scale": scale, "channels": channels, "letterbox": letterbox,
            "root": root, "names": names, "limit": limit,
        },
        batch=batch,
        settings={"score": score, "suppress": nms, "overlap": overlap},
        per_class=True,
        as_json=as_json,
        detectors=True,
    )  # fmt: skip
