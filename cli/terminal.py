"""What a command prints with: results on stdout, all else on stderr, bars for long work."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Column

from . import words
from .course import Course

__all__ = ["Bars", "Terminal"]

PATIENCE = 1.0
"""Seconds before a bar appears."""

TELLING = 0.03
"""Part of the work after which it is told how long the rest takes: before, that is a guess."""

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
    def bars(self, work: str = "", without: Collection[str] = ()) -> Iterator[Bars]:
        """Give a progress function that draws one bar on a terminal and nothing elsewhere.

        Args:
            work: the name of work whose phases are known (:mod:`.course`), which the bar is for as
                a whole; without it, each job has its own.
            without: phases that will not come.
        """
        shown = self.err.is_terminal and not self.quiet
        bars = Bars(self.err, shown=shown, work=work, without=without)
        try:
            yield bars
        finally:
            bars.close()


class Bars:
    """A progress function: called with a label, steps done and steps in all.

    It draws one line: the phase and the job in it, how far the work is, and how long it takes
    still.
    """

    def __init__(
        self, console: Console, *, shown: bool, work: str = "", without: Collection[str] = ()
    ):
        self._shown = shown
        self._progress = Progress(
            TextColumn(
                "{task.description}", table_column=Column(overflow="ellipsis", no_wrap=True)
            ),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
        )
        self._course = Course(work, without)
        self._task: TaskID | None = None
        self._job = ""
        self._began = self._job_began = time.monotonic()

    def __call__(self, label: str, done: int, total: int) -> None:
        """Show `done` of `total` steps of a job, once the whole work takes longer than a second.

        What :func:`secateur.label_parts` finds at the end of a label may change from call to call.
        """
        import secateur

        now = time.monotonic()
        path, detail = secateur.label_parts(label)
        job = ", ".join(path)
        if job != self._job:
            self._job, self._job_began = job, now
        if self._course.known:
            fraction, since = self._course.fraction(label, done, total), self._began
        else:
            fraction, since = (min(1.0, done / total) if total else 0.0), self._job_began
        if not self._shown or now - self._began < PATIENCE:
            return
        if self._task is None:
            self._task = self._progress.add_task("", total=1.0, left="")
            self._progress.start()
        count = f" {done:,}/{total:,}" if total else ""
        self._progress.update(
            self._task,
            completed=fraction,
            description=f"{job}{count}{f' · {detail}' if detail else ''}",
            left=_left(now - since, fraction),
        )

    def close(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._progress.stop()


def _left(passed: float, fraction: float) -> str:
    """Return how long work takes still, as far as that can be told."""
    if fraction >= 1.0 or fraction < TELLING or passed < PATIENCE:
        return ""
    return f"about {words.time(passed * (1.0 - fraction) / fraction)} left"
