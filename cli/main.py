"""The program `secateur`: collects the commands, and turns errors into one line and an exit code.

Exit codes: 0 done, 1 error, 2 usage, 3 a verification, a comparison or a limit failed, 130 stopped
by Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from cyclopts import App, CycloptsError, Group, Parameter

from ..version import __version__
from . import config, listings
from .flags import SHOWN, Panel
from .spelling import shown
from .usage import UsageError
from .usual import EVERYTHING, PAGES, epilogue
from .vendor import meant, old_words

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions

__all__ = ["app", "main", "program"]

NAMES: tuple[tuple[str, ...], ...] = (
    ("init",),
    ("run",),
    ("inspect",),
    ("convert",),
    ("ana", "analyze"),
    ("prune",),
    ("study",),
    ("finetune",),
    ("iterate",),
    ("transform",),
    ("compare",),
    ("diff",),
    ("valid", "evaluate"),
    ("map",),
    ("predict", "detect"),
    ("stat", "stats"),
    ("latency",),
    ("targets",),
    ("schema",),
    ("completion",),
)
"""The commands: the name of the file, and what else they answer to."""

HELP = ("--help", "-h")

NAMED = {other: names[0] for names in NAMES for other in names[1:]}
"""What a command also answers to → the command."""

PRUNER = "The commands of vai_p_darknet, with its own files."
"""For the list of commands; `meant` runs them."""

STOPPED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""


def _show_commands(console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
    """Print the commands with all their names, in one line each."""
    from cyclopts.help import ColumnSpec, DefaultFormatter, DescriptionRenderer

    names = ColumnSpec(renderer=lambda entry: ", ".join(entry.all_options), style="cyclopts.name")
    text = ColumnSpec(renderer=DescriptionRenderer(), overflow="fold")
    DefaultFormatter(column_specs=(names, text))(console, options, panel)


app = App(
    name="secateur",
    help="Prune Caffe and Darknet networks, verify them, and write them back in their own format.",
    version=f"secateur {__version__}",
    version_flags=["--version"],
    help_flags=HELP,
    help_format="plaintext",
    config=config.read,
    default_parameter=Parameter(
        negative=(), allow_repeating=True, show_default=lambda value: shown(value) or None
    ),
    group_parameters=Panel.OPTIONS,
    group_commands=Group("Commands", help_formatter=_show_commands),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
for _place, _names in enumerate(NAMES):
    app.command(f"{__package__}.{_names[0]}:command", name=_names, sort_key=_place)
app.command(f"{__package__}.data:app", name="data", sort_key=len(NAMES))
app.command(App(name="pruner", help=PRUNER, sort_key=len(NAMES) + 1))


def program() -> NoReturn:
    """Run the program as a process of its own.

    What failed or was stopped may leave threads that still compute. They are written in C++, and
    abort the process where Python ends under them. So Python does not end then: all files are
    closed, the output is written out, and the process leaves at once.
    """
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:  # pressed on the way out
        code = STOPPED
    else:
        code = 0
    # All is written or told, and nothing is left that Ctrl-C could stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not code:
        sys.exit(0)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever reads is gone, or has closed it
            stream.flush()
    os._exit(code)


def main() -> None:
    """Run the program: SystemExit tells how it ended."""
    arguments = old_words(sys.argv[1:])
    debug = "--debug" in arguments
    stops = _Stops()
    try:
        with stops:
            code = _run(arguments)
        sys.stdout.flush()
        sys.exit(code)
    except BrokenPipeError:
        # Who reads has seen enough (`| head`). Python would write what is left at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt as stop:
        _stopped(stop)
    except Exception as error:
        if stops.asked and not isinstance(error, _told()):
            _stopped(KeyboardInterrupt())  # a library made something else of it
        if debug:
            raise
        print(f"error: {_message(error)}", file=sys.stderr)  # noqa: T201
        sys.exit(getattr(error, "exit_code", 1))


class _Stops:
    """Notes whether Ctrl-C was pressed: libraries turn the exception into others, or lose it.

    Where SIGINT is ignored, as in the background, or the caller handles it, that stays.
    """

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> None:
        self._own = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._own:
            signal.signal(signal.SIGINT, self._note)

    def __exit__(self, *_: object) -> None:
        if self._own:
            # After the first one, nothing is left to be stopped but the way out.
            signal.signal(
                signal.SIGINT, signal.SIG_IGN if self.asked else signal.default_int_handler
            )

    def _note(self, *_: object) -> None:
        self.asked = True
        raise KeyboardInterrupt


def _stopped(stop: KeyboardInterrupt) -> NoReturn:
    """Say that the program was stopped, in one line, and end it."""
    print(str(stop) or "stopped", file=sys.stderr)  # noqa: T201
    sys.exit(STOPPED)


def _told() -> type[Exception]:
    """Return the errors that tell what is wrong, whether or not Ctrl-C was pressed."""
    import secateur

    return secateur.SecateurError


def _run(arguments: list[str]) -> int:
    """Run a command and return the exit code."""
    old = meant(arguments)
    if old is not None:
        return old(["--help" if one == EVERYTHING else one for one in arguments])
    if not arguments or arguments[0] in HELP:
        app.resolved_commands()  # for their first lines
    try:
        arguments = _with_page(arguments)
        _, apps, rest = app.parse_commands(arguments)
        if values := listings.asked(arguments, apps[-1].default_command):
            print(listings.lines(values()))  # noqa: T201
            return 0
        if apps[-1].default_command is None and not rest:
            app.help_print(arguments)
            return 2
        return app(arguments, exit_on_error=False, print_error=False) or 0
    except CycloptsError as error:
        from .messages import explained

        raise explained(error) from error


def _with_page(arguments: list[str]) -> list[str]:
    """Return a command line that asks for help as the parser knows it, and say what is shown."""
    everything = EVERYTHING in arguments
    arguments = ["--help" if one == EVERYTHING else one for one in arguments]
    if not any(one in HELP for one in arguments):
        return arguments
    names, apps, _ = app.parse_commands([one for one in arguments if one not in HELP])
    command = " ".join(NAMED.get(name, name) for name in names)
    apps[-1].help_epilogue = epilogue(command, everything=everything) or None
    page = PAGES.get(command)
    SHOWN.set(None if everything or page is None else page.shown)
    return arguments


def _message(error: Exception) -> str:
    """Return what to print of an error."""
    import secateur

    if isinstance(error, secateur.SecateurError | UsageError):
        return str(error)
    # The last resort: a bug of ours. Users get one line, --debug gets the traceback.
    detail = " ".join(f"{type(error).__name__}: {error}".split())
    return f"internal error, please report it: {detail} (hint: --debug shows more)"


if __name__ == "__main__":
    program()
