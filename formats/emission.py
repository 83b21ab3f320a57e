"""Files with which a network is trained in its own framework, whatever its format.

A format says what the files are (:class:`Emission`); the words around them are the same for all.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.ir.network import Network, Piece

__all__ = ["FILL", "README", "SCRIPT", "Command", "Emission", "Emit", "readme", "script"]

README, SCRIPT = "README.txt", "train.sh"
"""Files that every emission has."""
FILL = "FILL-IN"
"""What stands in a file where the user must write something."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command that trains.

    Args:
        text: the line.
        comment: for whom or what it is.
    """

    text: str
    comment: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Emission:
    """What a format writes for training in its framework.

    Args:
        files: name → content, in parts.
        model: usual suffix → name, for the files that are read again as the model.
        solver: name of the file with the solver; "" for none.
        settings: settings with which the model is read again.
        framework: name of the framework.
        trains: what each file is for: name → one line.
        loss: what is minimised, in words.
        fill_in: what the user has to fill in before, each a line.
        notes: what the user must know.
        folders: folders that the training writes to.
        commands: the commands of training; the first one is that of the script.
        trained: a file with weights that training leaves, as an example.
        open: the file in which :data:`FILL` stands until the user has filled it in; "" for none.
    """

    files: Mapping[str, Sequence[Piece]]
    model: Mapping[str, str]
    solver: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    framework: str
    trains: Mapping[str, str]
    loss: str
    fill_in: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    commands: tuple[Command, ...]
    trained: str
    open: str = ""


Emit = Callable[[Network, Path | None, Path | None], Emission]
"""Makes an emission of a network, a file with a solver, and the data that the user gave."""


def script(emission: Emission) -> bytes:
    """Return the shell script that trains."""
    first, *others = emission.commands
    lines = [
        "#!/bin/sh",
        f"# {first.comment}",
        "# Paths in these files start from this folder. Further arguments are handed on.",
        "set -eu",
        'cd "$(dirname "$0")"',
        *(f"mkdir -p {folder}" for folder in emission.folders),
        *(_unfilled(emission.open) if emission.open else ()),
        f'{first.text} "$@"',
    ]
    for other in others:
        lines += ["", f"# {other.comment}", f"# {other.text}"]
    return ("\n".join(lines) + "\n").encode()


def _unfilled(name: str) -> list[str]:
    """Return the lines that stop where a file is not filled in yet."""
    return [
        f"if grep -q {FILL} {shlex.quote(name)}; then",
        f'  echo "{name}: write your own paths where it says {FILL} (see {README})" >&2',
        "  exit 1",
        "fi",
    ]


def readme(emission: Emission, *, back: str, sparse: bool) -> bytes:
    """Return the text that says how to train, and how to go on after it.

    Args:
        emission: what was written.
        back: the command that takes the trained weights back.
        sparse: whether the network has its full size, with zeros for removed channels.
    """
    width = max(map(len, (*emission.trains, SCRIPT)))
    listed = {**emission.trains, SCRIPT: "runs the first command below"}
    parts = [
        f"Training the pruned network in {emission.framework}",
        "",
        *(f"  {name:<{width}}  {what}" for name, what in listed.items()),
        "",
        f"Loss: {emission.loss}.",
    ]
    if emission.fill_in:
        parts += ["", "1. FILL IN", *_points(emission.fill_in)]
    else:
        parts += ["", "1. Nothing has to be filled in."]
    parts += ["", f"2. Train: sh {SCRIPT}"]
    for command in emission.commands:
        parts += [f"   {command.comment}:", f"     {command.text}"]
    parts += ["", "3. Take the trained weights back:", f"     {back}"]
    notes = (*emission.notes, *((_SPARSE,) if sparse else ()))
    if notes:
        parts += ["", "What to know", *_points(notes)]
    return ("\n".join(parts) + "\n").encode()


_SPARSE = (
    "This network has its full size; the channels that the plan removes are zeros, in the layers "
    "that make them and in those that read them. A stock framework holds no masks, and needs none "
    "here: no gradient reaches such a channel, and weight decay leaves zeros alone. Where an "
    "activation does not map 0 to 0 (sigmoid, logistic), the weights that read the channel do grow "
    "back. secateur transform looks at every removed channel: it names those that carry weight, "
    "with their share, and removes them only with --force"
)


def _points(texts: Sequence[str]) -> list[str]:
    return [f"   - {text}" for text in texts]
