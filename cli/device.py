"""`--device` of the commands that run networks: a decorator, since functions need not know."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from secateur import DeviceOptions

from .screen import ScreenOptions

if TYPE_CHECKING:
    from .terminal import Terminal

__all__ = ["runs_networks", "teller"]

BEHIND = ("as_json", "reading", "model", "screen")
"""Parameters of commands: the flag stands before the first of them."""


def runs_networks(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """Return a command with `--device`, which runs networks there from its first line on."""
    signature = inspect.signature(function, eval_str=True)

    @functools.wraps(function)
    def placed(
        *positional: object, running: DeviceOptions, screen: ScreenOptions, **values: object
    ) -> int | None:
        import secateur

        with secateur.using_device(running.device, tell=teller(screen.terminal())):
            return function(*positional, screen=screen, **values)

    own = list(signature.parameters.values())
    place = next(number for number, one in enumerate(own) if one.name in BEHIND)
    flag = inspect.Parameter("running", inspect.Parameter.KEYWORD_ONLY, annotation=DeviceOptions)
    parameters = [*own[:place], flag, *own[place:]]
    placed.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return placed


def teller(terminal: Terminal) -> Callable[[str], None]:
    """Return what prints notes on devices."""

    def tell(text: str) -> None:
        terminal.note(f"note: {text}")

    return tell
