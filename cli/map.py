"""`secateur map`: mean average precision of detectors, class by class."""

from __future__ import annotations

from typing import Annotated

from secateur import DataOptions, EvaluateOptions, LoadOptions

from .common import AsJson
from .device import runs_networks
from .flags import Fields, with_flags
from .screen import ScreenOptions
from .valid import Data, Models, run


@with_flags
@runs_networks
def command(
    *files: Models,
    data: Data,
    options: Annotated[EvaluateOptions, Fields(without=("top", "output"))],
    as_json: AsJson = False,
    reading: DataOptions,
    model: Annotated[LoadOptions, Fields(without=("reset_seen", "lrn"))],
    screen: ScreenOptions,
) -> None:
    """Measure the mean average precision of detectors."""
    run(
        files,
        data,
        terminal=screen.terminal(),
        loading=model,
        reading=reading,
        options=options,
        per_class=True,
        as_json=as_json,
        detectors=True,
    )
