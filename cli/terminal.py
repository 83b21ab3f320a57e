"""What a command prints with: results on stdout, all else on stderr, bars for long work."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

__all__ = ["Bars", "Terminal"]

PATIENCE = 1.0
"""Seconds before a bar appears."""

DETAIL = " · "
"""Stands in a label between the job and what is to be told of it now."""

PLAIN_WIDTH = 120
"""Columns of tables that go to a file or a pipe."""


class Terminal:
    """The two streams of a command, and how talkative it is."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False, mute: bool = False):
        self.quiet = quiet or mute
        self.verbose = verbose
        self.mute = mute
        self._said: set[str] = set()
        width = None if sys.stdout.isatty() else PLAIN_WIDTH
        self.out = Console(width=width, highlight=False, soft_wrap=False)
        self.err = Console(stderr=True, highlight=False)

    def note(self, text: str) -> None:
        """Print a note unless --quiet."""
        if not self.quiet:
            self.err.print(text, markup=False, soft_wrap=True)

    def notes(self, texts: tuple[str, ...]) -> None:
        """Print what the reader had to say: what may be wrong always, the rest with --verbose."""
        import secateur

        for text in texts:
            if isinstance(text, secateur.Caution):
                self.warn(text)
            elif self.verbose:
                self.note(f"note: {text}")

    def tell(self, texts: tuple[str, ...]) -> None:
        """Print notes on what was decided: what may be wrong as a warning."""
        import secateur

        for text in texts:
            if isinstance(text, secateur.Caution):
                self.warn(text)
            elif text not in self._said:
                self._said.add(text)
                self.note(f"note: {text}")

    def warn(self, text: str) -> None:
        """Print a warning once, which --quiet does not silence."""
        if not self.mute and text not in self._said:
            self._said.add(text)
            self.err.print(f"warning: {text}", markup=False, soft_wrap=True)

    @contextmanager
    def bars(self) -> Iterator[Bars]:
        """Give a progress function that draws bars on a terminal and nothing elsewhere."""
        bars = Bars(self.err, shown=self.err.is_terminal and not self.quiet)
        try:
            yield bars
        finally:
            bars.close()


class Bars:
    """A progress function: called with a label, steps done and steps in all."""

    def __init__(self, console: Console, *, shown: bool):
        self._shown = shown
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._began = time.monotonic()

    def __call__(self, label: str, done: int, total: int) -> None:
        """Show `done` of `total` steps of a job, once the whole work takes longer than a second.

        What stands behind the :data:`DETAIL` of a label may change from call to call.
        """
        if not self._shown or time.monotonic() - self._began < PATIENCE:
            return
        if not self._tasks:
            self._progress.start()
        job = label.partition(DETAIL)[0]
        if job not in self._tasks:
            self._tasks[job] = self._progress.add_task(label, total=total or None)
        self._progress.update(
            self._tasks[job], completed=done, total=total or None, description=label
        )

    def close(self) -> None:
        """Take the bars away."""
        if self._tasks:
            self._progress.stop()
