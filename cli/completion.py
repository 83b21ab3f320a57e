"""`secateur completion`: what a shell needs to offer commands, options and their values."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from .common import AsJson
from .flags import COMPLETING
from .output import print_json

__all__ = ["command"]


def command(
    shell: Annotated[
        Literal["bash", "zsh", "fish"],
        Parameter(name="SHELL", help="The shell."),
    ],
    /,
    *,
    as_json: AsJson = False,
) -> None:
    """Print a script with which a shell completes commands, options and values."""
    from .main import app

    token = COMPLETING.set(True)
    try:
        script = app.generate_completion(prog_name="secateur", shell=shell)
    finally:
        COMPLETING.reset(token)
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        print(script)  # noqa: T201
