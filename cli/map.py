"""`secateur map`: mean average precision of detectors, class by class."""

from __future__ import annotations

from . import options
from .bundles import unbundled
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
    model: options.ModelFlags = options.MODEL_AS_USUAL,
    screen: options.ScreenFlags = options.SCREEN_AS_USUAL,
) -> None:
    """Measure the mean average precision of detectors."""
    import secateur

    run(
        files,
        data,
        terminal=screen.terminal(),
        loading=model.settings(),
        reading=reading,
        batch=batch,
        options=secateur.TaskOptions(score=score, suppress=nms, overlap=overlap),
        per_class=True,
        as_json=as_json,
        detectors=True,
    )  # fmt: skip
