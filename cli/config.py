"""`--config FILE.yaml`: options of a command by their long names; the command line wins.

rate: 0.5
criterion: obs
exclude: [conv1]
layers:
  conv2: {rate: 0.25}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import Token

from .usage import FROM_FILE, Written

if TYPE_CHECKING:
    import yaml
    from cyclopts import App
    from cyclopts.argument import Argument, ArgumentCollection

__all__ = ["read"]

LAYERS = "layers"
"""The one key that is no option: layer → rate or threshold of its own."""

LAYER_FLAGS = {"rate": "--layer-rate", "threshold": "--layer-threshold"}

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
    file = _File(Path(config.tokens[-1].value))
    given = {name for name, argument in flags.items() if argument.tokens}
    seen: set[int] = set()
    for entry in file.entries():
        name = f"--{entry.key.replace('_', '-')}"
        if entry.key == LAYERS and set(LAYER_FLAGS.values()) <= set(flags):
            _add_layers(flags, entry)
            continue
        if name not in flags or name in NOT_HERE:
            known = [flag.removeprefix("--") for flag in flags if flag not in NOT_HERE]
            raise entry.no_such_option([*known, LAYERS])
        argument = flags[name]
        if id(argument) in seen:
            raise entry.wrong(f"'{entry.key}' stands there twice, or both ways")
        seen.add(id(argument))
        if name not in given:
            written = Written("", entry.key, entry.source)
            places.update(dict.fromkeys((*argument.names, *argument.negatives), written))
            for token in _tokens(argument, name, entry):
                argument.append(token)


@dataclass(frozen=True, slots=True)
class _File:
    """A configuration file."""

    path: Path

    def entries(self) -> Iterator[_Entry]:
        """Yield its keys in order."""
        import yaml

        try:
            root = yaml.compose(self.path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except (OSError, UnicodeDecodeError) as error:
            raise _error(f"cannot be read: {error}", self.path) from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark else None
            raise _error("not valid YAML", self.path, line) from error
        if root is not None:
            yield from _entries(root, self.path, "a config file")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A key of a mapping, with its value and where it stands."""

    key: str
    path: Path
    line: int
    node: yaml.Node

    @property
    def source(self) -> str:
        """Where it stands, as tokens say it."""
        return f"{self.path}:{self.line}"

    def plain(self) -> Any:
        """Return its value."""
        import yaml

        loader = yaml.SafeLoader("")
        try:
            return loader.construct_document(self.node)
        finally:
            loader.dispose()

    def wrong(self, message: str, item: str | None = None) -> Exception:
        """Return an error that names file and line."""
        return _error(message, self.path, self.line, item)

    def no_such_option(self, known: Sequence[str]) -> Exception:
        """Return the error for a key that is no option, with the nearest one."""
        import secateur

        hint = secateur.nearest_hint(
            self.key.replace("_", "-"), known, "keys are long names of options"
        )
        where = secateur.Where(file=str(self.path), line=self.line)
        return secateur.FormatError(f"there is no option '{self.key}'", hint=hint, where=where)


def _tokens(argument: Argument, name: str, entry: _Entry) -> Iterator[Token]:
    """Yield what a key says of a flag.

    Raises:
        FormatError: it is of the wrong kind.
    """
    key, value = entry.key, entry.plain()
    if name in argument.negatives or argument.hint is bool:
        if not isinstance(value, bool):
            raise entry.wrong(f"{key} must be true or false, got {value!r}")
        if argument.hint is bool:
            value = value != (name in argument.negatives)
            yield Token(keyword=key, implicit_value=value, source=entry.source)
        elif value:
            yield Token(keyword=key, implicit_value=None, source=entry.source)
        return
    repeated = argument.hint is not str and argument.token_count()[1]
    commas = "," in (argument.parameter.metavar or "")
    if isinstance(value, dict) or (isinstance(value, list) and not (repeated or commas)):
        raise entry.wrong(f"{key} takes one value")
    texts = [_scalar(entry, one) for one in (value if isinstance(value, list) else [value])]
    for number, text in enumerate(texts if repeated else [",".join(texts)]):
        yield Token(keyword=key, value=text, source=entry.source, index=number)


def _scalar(entry: _Entry, value: Any) -> str:
    """Return a single value as it would stand on the command line."""
    if value is None or isinstance(value, bool | list | dict):
        raise entry.wrong(f"{entry.key} takes a value, got {value!r}")
    return str(value)


def _add_layers(flags: dict[str, Argument], entry: _Entry) -> None:
    """Add rates and thresholds of single layers.

    Raises:
        FormatError: the form is another than {name: {rate: R}}.
    """
    seen = set()
    for layer in _entries(entry.node, entry.path, LAYERS):
        item = f"layer '{layer.key}'"
        if layer.key in seen:
            raise layer.wrong("it stands there twice", item)
        seen.add(layer.key)
        values = list(_entries(layer.node, layer.path, "its value", item, layer.line))
        if len(values) != 1:
            raise layer.wrong("it needs a rate or a threshold, and not both", item)
        (value,) = values
        number = value.plain()
        if value.key not in LAYER_FLAGS:
            raise value.wrong(f"unknown key '{value.key}' (rate or threshold)", item)
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise value.wrong(f"{value.key} must be a number, got {number!r}", item)
        argument = flags[LAYER_FLAGS[value.key]]
        argument.append(
            Token(
                keyword=item,
                value=f"{layer.key}={number}",
                source=value.source,
                index=len(argument.tokens),
            )
        )


def _entries(
    node: yaml.Node, path: Path, subject: str, item: str | None = None, line: int | None = None
) -> Iterator[_Entry]:
    """Yield the entries of a mapping.

    Raises:
        FormatError: it is no mapping.
    """
    import yaml

    if not isinstance(node, yaml.MappingNode):
        line = line or node.start_mark.line + 1
        raise _error(f"{subject} must be a mapping of names to values", path, line, item)
    for key, value in node.value:
        yield _Entry(str(getattr(key, "value", "")), path, key.start_mark.line + 1, value)


def _error(message: str, path: Path, line: int | None = None, item: str | None = None) -> Exception:
    import secateur

    where = secateur.Where(file=str(path), line=line, item=item)
    return secateur.FormatError(message, where=where)
