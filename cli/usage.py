"""What users wrote, where, and what is wrong with it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts import Token

__all__ = ["FROM_COMMAND_LINE", "FROM_FILE", "UsageError", "Written", "place_of"]

FROM_COMMAND_LINE = "cli"
"""The source of tokens that stand on the command line; those of a file are "file:line"."""


class UsageError(Exception):
    """The command line makes no sense; exit code 2."""

    exit_code = 2

    def __init__(self, message: str, *, flag: str = "", hint: str | None = None):
        super().__init__(message)
        self.message = message
        self.flag = flag
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.flag}: {self.message}" if self.flag else self.message
        return " ".join((f"{text} (hint: {self.hint})" if self.hint else text).split())


@dataclass(frozen=True, slots=True)
class Written:
    """A text that a user gave for a flag.

    Args:
        text: the text.
        name: the flag on the command line, or the key in a configuration file.
        source: where it stands.
    """

    text: str
    name: str
    source: str = FROM_COMMAND_LINE

    @classmethod
    def of(cls, token: Token) -> Written:
        """Return what a token of the parser holds."""
        return cls(token.value, token.keyword or "", token.source)

    @property
    def on_command_line(self) -> bool:
        """Whether it stands on the command line, not in a file."""
        return self.source == FROM_COMMAND_LINE

    def wrong(self, message: str, *, hint: str | None = None) -> Exception:
        """Return the error that says so, with the flag, or with file, line and key."""
        if self.on_command_line:
            return UsageError(message, flag=self.name, hint=hint)
        import secateur

        where = secateur.Where(**place_of(self.source))
        return secateur.FormatError(f"{self.name}: {message}", hint=hint, where=where)


def place_of(source: str) -> dict[str, Any]:
    """Return file and line of a source "file:line"."""
    file, _, line = source.rpartition(":")
    return {"file": file, "line": int(line)}


FROM_FILE: ContextVar[dict[str, Written] | None] = ContextVar("FROM_FILE", default=None)
"""Flag → what a configuration file says of it, in the command that is read at present. The values
of switches do not tell where they come from."""
