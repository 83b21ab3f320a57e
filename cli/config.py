"""`--config FILE.yaml`: options of a command by their long names; the command line wins.

rate: 0.5
criterion: obs
exclude: [conv1]
layers:
  conv2: {rate: 0.25}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Token

from .entries import LAYER_FLAGS, LAYERS, Entry, brief, file_entries, layer_values, texts_of
from .usage import FROM_FILE, Written

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.argument import Argument, ArgumentCollection

__all__ = ["read"]

NOT_HERE = frozenset({"--config", "--debug"})
"""Options that mean nothing in a file."""


def read(_app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Add what the file of --config says to the arguments of a command.

    Raises:
        FormatError: the file cannot be read or is no YAML, a key is no option of the command, or a
            value does not fit; it names file and line.
    """
    flags = {
        name: argument for argument in arguments for name in argument.names if name.startswith("--")
    }
    places: dict[str, Written] = {}
    FROM_FILE.set(places)
    config = flags.get("--config")
    if config is None or not config.tokens:
        return
    given = {name for name, argument in flags.items() if argument.tokens}
    seen: set[int] = set()
    for entry in file_entries(Path(config.tokens[-1].value), "a config file"):
        name = f"--{entry.key.replace('_', '-')}"
        if entry.key == LAYERS and set(LAYER_FLAGS.values()) <= set(flags):
            _add_layers(flags, entry)
            continue
        if name not in flags or name in NOT_HERE:
            known = [flag.removeprefix("--") for flag in flags if flag not in NOT_HERE]
            raise _no_such_option(entry, [*known, LAYERS])
        argument = flags[name]
        if id(argument) in seen:
            raise entry.wrong(f"'{entry.key}' stands there twice, or both ways")
        seen.add(id(argument))
        if name not in given:
            written = Written("", entry.key, entry.source)
            places.update(dict.fromkeys((*argument.names, *argument.negatives), written))
            for token in _tokens(argument, name, entry):
                argument.append(token)


def _no_such_option(entry: Entry, known: list[str]) -> Exception:
    """Return the error for a key that is no option, with the nearest one."""
    import secateur

    hint = secateur.nearest_hint(
        entry.key.replace("_", "-"), known, "keys are long names of options"
    )
    return entry.wrong(f"there is no option '{entry.key}'", hint=hint)


def _tokens(argument: Argument, name: str, entry: Entry) -> Iterator[Token]:
    """Yield what a key says of a flag.

    Raises:
        FormatError: it is of the wrong kind.
    """
    key, value = entry.key, entry.plain()
    if name in argument.negatives or argument.hint is bool:
        if not isinstance(value, bool):
            raise entry.wrong(f"{key} must be true or false, got {brief(value)}")
        if argument.hint is bool:
            value = value != (name in argument.negatives)
            yield Token(keyword=key, implicit_value=value, source=entry.source)
        elif value:
            yield Token(keyword=key, implicit_value=None, source=entry.source)
        return
    repeated = argument.hint is not str and argument.token_count()[1]
    commas = "," in (argument.parameter.metavar or "")
    for number, text in enumerate(texts_of(entry, value, repeated=repeated, commas=commas)):
        yield Token(keyword=key, value=text, source=entry.source, index=number)


def _add_layers(flags: dict[str, Argument], entry: Entry) -> None:
    """Add rates and thresholds of single layers.

    Raises:
        FormatError: the form is another than {name: {rate: R}}.
    """
    for value in layer_values(entry):
        argument = flags[value.flag]
        argument.append(
            Token(
                keyword=value.item,
                value=value.text,
                source=value.source,
                index=len(argument.tokens),
            )
        )
