"""Errors of the command line in one line each, with a hint at what was probably meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyclopts import exceptions as parser

from .usage import UsageError, Written

if TYPE_CHECKING:
    from cyclopts.argument import Argument

__all__ = ["explained"]


def explained(error: parser.CycloptsError) -> Exception:
    """Return what a command line that cannot be parsed says to the user."""
    import secateur

    if isinstance(error, parser.UnknownOptionError):
        flag = (error.token.keyword or error.token.value).partition("=")[0]
        known = [name for argument in error.argument_collection for name in argument.names]
        hint = secateur.nearest_hint(flag, known, "--help lists the options")
        return UsageError(f"there is no option {flag}", hint=hint)
    if isinstance(error, parser.UnknownCommandError):
        name = (error.unused_tokens or [""])[0]
        known = [name for name in error.app or () if not name.startswith("-")]
        hint = secateur.nearest_hint(name, known, "secateur --help lists the commands")
        return UsageError(f"there is no command '{name}'", hint=hint)
    if isinstance(error, parser.UnusedCliTokensError):
        return UsageError(f"nothing takes '{(error.unused_tokens or [''])[0]}'")
    argument = error.argument
    if isinstance(error, parser.MissingArgumentError) and argument is not None:
        flag = _name(argument)
        given = argument.tokens or error.keyword
        return UsageError(f"{flag} needs a value" if given else f"{flag} is missing")
    if isinstance(error, parser.CoercionError) and error.token is not None:
        written = Written.of(error.token)
        kind = getattr(error.target_type, "__name__", "value")
        wanted = {"int": "whole number", "float": "number"}.get(kind, kind)
        return written.wrong(f"'{written.text}' is no {wanted}")
    return UsageError(str(error).strip().rstrip("."))


def _name(argument: Argument) -> str:
    return argument.name
