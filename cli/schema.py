"""`secateur schema`: the JSON Schema of pipeline files, for editors."""

from __future__ import annotations

import json

from .flags import with_flags
from .screen import ScreenOptions


@with_flags
def command(*, screen: ScreenOptions) -> None:
    """Print the JSON Schema of pipeline files: editors complete and check files by it."""
    from .pipeline_schema import pipeline_schema

    del screen
    print(json.dumps(pipeline_schema(), indent=1, ensure_ascii=False))  # noqa: T201
