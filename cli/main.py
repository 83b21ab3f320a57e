"""The program `secateur`: collects the commands, and turns errors into one line and an exit code.

Exit codes: 0 done, 1 error, 2 usage, 3 a proof, a comparison or a gate failed.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..core.errors import SecateurError
from ..version import __version__
from . import (
    ana,
    compare,
    convert,
    data,
    inspect,
    iterate,
    map,  # noqa: A004  # a command
    prune,
    stat,
    transform,
    valid,
)

__all__ = ["app", "main"]

app = typer.Typer(
    name="secateur",
    help="Prune Caffe and Darknet networks, prove it, and write them back in their own format.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (inspect, convert, ana, prune, iterate, transform, compare, valid, map, stat):
    app.command(_command.__name__.rpartition(".")[2])(_command.command)
app.add_typer(data.app, name="data")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"secateur {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Prune Caffe and Darknet networks, prove it, and write them back in their own format."""


def main() -> None:
    """Run the program."""
    debug = "--debug" in sys.argv
    try:
        app()
    except SecateurError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except Exception as error:
        # The last resort: a bug of ours. Users get one line, --debug gets the traceback.
        if debug:
            raise
        detail = " ".join(f"{type(error).__name__}: {error}".split())
        print(  # noqa: T201
            f"error: internal error, please report it: {detail} (hint: --debug shows more)",
            file=sys.stderr,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
