"""The command lines of vai_p_darknet: `pruner ana|prune|finetune|transform|stat|map|valid …`.

Source: UG1333 1.2 to 2.0, "vai_p_darknet Usage" and the pages about pruning a Darknet model.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ..usage import UsageError
from .gpus import idle_gpus, use_gpus
from .spelling import single_dash

__all__ = ["COMMANDS", "PRUNER", "Words", "is_old", "run"]

PRUNER = "pruner"
"""The word that all command lines begin with."""

OPTIONS: Mapping[str, bool] = {
    "gpus": True, "gpu": True, "i": True, "clear": False, "restart": False, "quiet": False,
    "verbose": False, "debug": False, "help": False, "h": False,
}  # fmt: skip
"""Options → whether they take a value. `-i` and `-clear` are those of Darknet itself; `-restart`,
`--quiet`, `--verbose`, `--debug` are secateur's."""

GPUS = ("gpus", "gpu", "i")


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """A command line, taken apart.

    Args:
        command: the command.
        files: the words behind it: the main cfg, weights.
        options: name → value; None for one without.
    """

    command: str
    files: tuple[str, ...]
    options: Mapping[str, str | None]

    def given(self, name: str) -> bool:
        """Whether an option is given."""
        return name in self.options

    @property
    def gpus(self) -> str | None:
        """The GPUs that the command line names; None for none."""
        return next((self.options[name] for name in GPUS if name in self.options), None)


@dataclass(frozen=True, slots=True)
class Step:
    """A command.

    Args:
        module: where its function stands, which is named `run_` and the command.
        usage: the words behind it.
        files: the least and the largest number of files.
        text: what it does.
    """

    module: str
    usage: str
    files: tuple[int, int]
    text: str


COMMANDS: Mapping[str, Step] = {
    "ana": Step("darknet_prune", "MAIN.CFG WEIGHTS", (2, 2), "measure what layers are worth"),
    "prune": Step("darknet_prune", "MAIN.CFG WEIGHTS", (2, 2), "prune by threshold=, to zeros"),
    "finetune": Step("darknet_train", "MAIN.CFG [WEIGHTS]", (1, 2), "train, with zeros held"),
    "transform": Step("darknet_train", "MAIN.CFG WEIGHTS", (2, 2), "take the zeros out"),
    "stat": Step("darknet_measure", "CFG", (1, 2), "count operations and parameters"),
    "map": Step("darknet_measure", "MAIN.CFG WEIGHTS", (2, 2), "measure by valid="),
    "valid": Step("darknet_measure", "MAIN.CFG WEIGHTS", (2, 2),
                  "the same, with boxes in results/"),
}  # fmt: skip


def is_old(arguments: Sequence[str]) -> bool:
    """Whether a command line is one of vai_p_darknet."""
    return bool(arguments) and arguments[0] == PRUNER


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return the exit code.

    Raises:
        UsageError: it makes no sense.
    """
    import secateur

    options, words = single_dash(arguments[1:], OPTIONS)
    if not words or "help" in options or "h" in options:
        print(_help())  # noqa: T201
        return 0 if "help" in options or "h" in options else 2
    name, *files = words
    step = COMMANDS.get(name)
    if step is None:
        hint = secateur.nearest_hint(name, COMMANDS, f"there are {', '.join(COMMANDS)}")
        raise UsageError(f"there is no command '{PRUNER} {name}'", hint=hint)
    least, most = step.files
    if not least <= len(files) <= most:
        usage = f"secateur {PRUNER} {name} {step.usage}"
        raise UsageError(
            f"{PRUNER} {name} takes {_count(least, most)}, not {len(files)}",
            hint=usage if len(files) < least else f"{usage}; a pattern may match several files",
        )
    _check_options(name, options)
    module = importlib.import_module(f".{step.module}", __package__)
    function: Callable[[Words], int] = getattr(module, f"run_{name}")
    taken = Words(command=name, files=tuple(files), options=options)
    with ExitStack() as held:
        if taken.gpus is not None:
            _take_gpus(taken, taken.gpus, held)
        return function(taken)


def _take_gpus(words: Words, numbers: str, held: ExitStack) -> None:
    """Run the networks of a command on GPUs, as far as it runs any."""
    from .darknet_session import screen_of

    written = f"-gpus {numbers}"
    if words.command == "stat":
        idle_gpus(screen_of(words), written)
    else:
        use_gpus(screen_of(words), written, numbers, held)


def _check_options(command: str, options: Mapping[str, str | None]) -> None:
    """Raise if an option goes with other commands.

    Raises:
        UsageError: names it.
    """
    for option, commands in (("clear", ("finetune",)), ("restart", ("ana", "finetune"))):
        if option in options and command not in commands:
            raise UsageError(f"it goes with {' and '.join(commands)}", flag=f"-{option}")


def _count(least: int, most: int) -> str:
    if least == most:
        return f"{least} file{'s' if least > 1 else ''}"
    return f"{least} or {most} files"


def _help() -> str:
    width = max(len(step.usage) for step in COMMANDS.values())
    rows = [f"  {name:<10} {step.usage:<{width}}  {step.text}" for name, step in COMMANDS.items()]
    return "\n".join([
        f"Usage: secateur {PRUNER} COMMAND …", "",
        "The commands of vai_p_darknet, with its own files (docs/migrating.md).", "", *rows, "",
        "  -gpus LIST  the GPUs to run on        -restart  forget what is unfinished",
        "  -clear      finetune: images anew     --quiet, --verbose, --debug",
    ])  # fmt: skip
