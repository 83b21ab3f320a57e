"""`secateur completion`: what a shell needs to offer commands, options and their values."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from .flags import COMPLETING

__all__ = ["command"]


def command(
    shell: Annotated[
        Literal["bash", "zsh", "fish"],
        Parameter(name="SHELL", help="The shell."),
    ],
    /,
) -> None:
    """Print a script with which a shell completes commands, options and values."""
    from .main import app

    token = COMPLETING.set(True)
    try:
        print(app.generate_completion(prog_name="secateur", shell=shell))  # noqa: T201
    finally:
        COMPLETING.reset(token)
