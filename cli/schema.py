"""`secateur schema`: the JSON Schemas of pipeline files, for editors, and of what --json prints."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from .flags import with_flags
from .output import print_json
from .screen import ScreenOptions


@with_flags
def command(
    what: Annotated[
        Literal["pipeline", "output"],
        Parameter(name="WHAT", help="pipeline: of pipeline files. output: of what --json prints."),
    ] = "pipeline",
    /,
    *,
    as_json: Annotated[
        bool, Parameter(name="--json", help="Print JSON, which a schema is anyway.")
    ] = False,
    screen: ScreenOptions,
) -> None:
    """Print a JSON Schema: that of pipeline files, for editors, or that of what --json prints."""
    del screen, as_json
    if what == "output":
        from .output_schema import output_schema

        print_json(output_schema())
    else:
        from .pipeline_schema import pipeline_schema

        print_json(pipeline_schema())
