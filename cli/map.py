"""`secateur map`: mean average precision of detectors, class by class."""

from __future__ import annotations

from . import options
from .bundles import unbundled
from .terminal import Terminal
from .valid import Data, Models, Nms, Overlap, Score, run


@unbundled
def command(
    files: Models,
    data: Data,
    score: Score = None,
    nms: Nms = None,
    overlap: Overlap = 0.5,
    as_json: options.AsJson = False,
    reading: options.DataFlags = options.AS_USUAL,
    batch: options.Batch = None,
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
        reading=reading,
        batch=batch,
        settings={"score": score, "suppress": nms, "overlap": overlap},
        per_class=True,
        as_json=as_json,
        detectors=True,
    )  # fmt: skip
