"""What the commands of vai_p_darknet share: their files, their notes, what they say at the end."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..screen import ScreenOptions
from .darknet import PRUNER, Words

if TYPE_CHECKING:
    from secateur import DarknetProject, Dataset, Network

    from ..terminal import Terminal

__all__ = ["CALIBRATION", "Session", "begin", "say_same", "screen_of"]

CALIBRATION = 1024
"""Images of train= that pruning looks at, without their labels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A command at work.

    Args:
        words: its command line.
        project: the main cfg and the files that it names.
        terminal: what it prints with.
    """

    words: Words
    project: DarknetProject
    terminal: Terminal

    @property
    def main(self) -> str:
        """The main cfg, as the user wrote it."""
        return self.words.files[0]

    def say(self, text: str) -> None:
        """Print a line in the vendor's form."""
        self.terminal.out.print(text, markup=False, soft_wrap=True)

    def load(self, cfg: Path, weights: Path, *, reset_seen: bool = False) -> Network:
        """Return the network of a cfg and weights, and print what its reader notes."""
        import secateur

        network = secateur.load(cfg, weights, options=secateur.LoadOptions(reset_seen=reset_seen))
        self.terminal.notes(network.notes)
        return network

    def excluded(self, network: Network) -> tuple[str, ...]:
        """Return the names of the layers of `ignore_layer`.

        Raises:
            FormatError: there is no such layer; with file and line.
        """
        import secateur

        known = {layer.name for layer in network.layers}
        names = tuple(str(layer) for layer in self.project.section.ignore_layer)
        for name in names:
            if name not in known:
                raise secateur.FormatError(
                    f"there is no layer {name}: the last one is {len(known) - 1}",
                    where=self.project.section.where("ignore_layer"),
                )
        return names

    def valid(self, network: Network) -> Dataset:
        """Return the images that measure, with labels that fit.

        Raises:
            DataError: there are none.
        """
        import secateur

        dataset = self.project.valid(network)
        found = secateur.fit_data(network, dataset, asked=True)
        for note in found.notes:
            self.terminal.warn(note)
        return found.dataset

    def calibration(self, network: Network) -> Dataset:
        """Return the images that pruning looks at.

        Raises:
            DataError: there are none.
        """
        import secateur

        reading = secateur.DataOptions(limit=CALIBRATION)
        found = secateur.fit_data(network, self.project.train(network, reading))
        for note in found.notes:
            if isinstance(note, secateur.Caution):
                self.terminal.warn(note)
        return found.dataset

    def measured(self, network: Network) -> float:
        """Measure a network by valid=, print the figure and return it.

        Raises:
            DataError: the images or their labels do not fit.
        """
        import secateur

        self.say("calculate map")
        dataset = self.valid(network)
        with self.terminal.bars() as progress:
            result = secateur.evaluate(network, dataset, progress=progress)
        for problem in dataset.problems:
            self.terminal.warn(f"left out: {problem}")
        self.say(f"{result.metric}: {result.value:.6f}")
        return result.value

    def train_words(self, network: Network) -> list[str]:
        """Return how the images of train= are named in secateur's own words."""
        names = self.project.names(network)
        words = ["--data", str(self.project.list_of("train"))]
        return [*words, "--names", str(names)] if names is not None else words

    def next(self, old: Sequence[object], own: Sequence[object]) -> None:
        """Print the next command, in the vendor's words and in secateur's own, if it has such."""
        self.terminal.note(f"next: secateur {PRUNER} {shlex.join(map(str, old))}")
        if own:
            say_same(self.terminal, own)


def say_same(terminal: Terminal, own: Sequence[object]) -> None:
    """Print what a command is in secateur's own words."""
    words = shlex.join(map(str, own))
    terminal.note(f"the same in secateur's words: secateur {words}")


def screen_of(words: Words) -> Terminal:
    """Return what a command prints with."""
    screen = ScreenOptions(
        quiet=words.given("quiet"), verbose=words.given("verbose"), debug=words.given("debug")
    )
    return screen.terminal()


def begin(words: Words) -> Session:
    """Read the main cfg and what it names.

    Raises:
        FormatError, DataError: a file is broken, or not there.
    """
    import secateur

    terminal = screen_of(words)
    project = secateur.open_darknet_project(words.files[0])
    for note in project.notes:
        terminal.warn(note)
    if project.section.criteria:
        terminal.note(
            f"note: criteria={project.section.criteria} is not needed: channels are chosen by what "
            "the layers behind them lose"
        )
    return Session(words=words, project=project, terminal=terminal)
