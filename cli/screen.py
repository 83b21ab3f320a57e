"""How much a command prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .terminal import Terminal

__all__ = ["ScreenOptions"]


@dataclass(frozen=True, kw_only=True)
class ScreenOptions:
    """How much is printed; `debug` is read by :mod:`.main`."""

    quiet: bool = False
    """Print results and errors only."""

    verbose: bool = False
    """Print all notes about the files that were read, too."""

    debug: bool = False
    """Show a traceback where something fails."""

    def terminal(self, *, mute: bool = False) -> Terminal:
        """Return what the command prints with; a mute one prints nothing."""
        from .terminal import Terminal

        return Terminal(quiet=self.quiet, verbose=self.verbose, mute=mute)
