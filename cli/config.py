"""`--config FILE.yaml`: options of a command by their long names; the command line wins.

rate: 0.5
criterion: surgery
exclude: [conv1]
layers:
  conv2: {rate: 0.25}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..core.errors import FormatError, located, nearest_hint

if TYPE_CHECKING:
    import yaml

__all__ = ["layers", "read"]

LAYERS = "layers"
"""The one key that is no option: layer → rate or threshold of its own."""

NOT_HERE = frozenset({"config", "help"})
"""Options that mean nothing in a file."""

_KEY = "secateur.layers"


def read(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values of a file the defaults of the command that is being parsed.

    Raises:
        FormatError: the file cannot be read or is no YAML, a key is no option of the command, or a
            value does not fit; it names file and line.
    """
    if path is None:
        return None
    with located(file=str(path)):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FormatError(f"cannot be read: {error}") from error
        context.default_map = {**(context.default_map or {}), **_defaults(context, text)}
    return path


def layers(context: typer.Context) -> Mapping[str, Any]:
    """Return layer → override as the config file of the command has it."""
    found: Mapping[str, Any] = context.meta.get(_KEY, {})
    return found


def _defaults(context: typer.Context, text: str) -> dict[str, Any]:
    """Return parameter name → value."""
    # Typer brings a click of its own, or uses the one installed: options are told by their kind.
    parameters: list[Any] = list(context.command.params)
    options = {
        name.removeprefix("--"): parameter
        for parameter in parameters
        if parameter.param_type_name == "option"
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--") and name.removeprefix("--") not in NOT_HERE
    }
    found: dict[str, Any] = {}
    for key, line, node in _entries(text):
        with located(line=line):
            name = key.replace("_", "-")
            if name == LAYERS:
                context.meta[_KEY] = _layers(node)
                continue
            if name not in options:
                hint = nearest_hint(name, [*options, LAYERS], "keys are long names of options")
                raise FormatError(f"there is no option '{key}'", hint=hint)
            option = options[name]
            if option.name in found:
                raise FormatError(f"'{key}' stands there twice, or both ways")
            found[str(option.name)] = _value(context, option, f"--{name}", key, node)
    return found


def _value(context: typer.Context, option: Any, flag: str, key: str, node: yaml.Node) -> Any:
    """Return what a key says of an option.

    Raises:
        FormatError: it is of the wrong kind.
    """
    value = _plain(node)
    if option.is_flag:
        if not isinstance(value, bool):
            raise FormatError(f"{key} must be true or false, got {value!r}")
        return value != (flag in option.secondary_opts)
    if isinstance(value, dict) or (isinstance(value, list) and not option.multiple):
        raise FormatError(f"{key} takes one value")
    if value is None or isinstance(value, bool):
        raise FormatError(f"{key} takes a value, got {value!r}")
    if option.multiple:
        value = [str(entry) for entry in (value if isinstance(value, list) else [value])]
    try:
        option.process_value(context, value)
    except typer.BadParameter as error:
        raise FormatError(f"{key}: {error.message}") from error
    return value


def _layers(node: yaml.Node) -> dict[str, Any]:
    """Return layer → override.

    Raises:
        FormatError: the form is another than {name: {rate: R}}.
        PlanError: a value is out of range.
    """
    from ..core.allocation import Override

    found: dict[str, Any] = {}
    for name, line, entry in _pairs(node, "layers"):
        with located(line=line, item=f"layer '{name}'"):
            if name in found:
                raise FormatError("it stands there twice")
            values = {}
            for key, at, value in _pairs(entry, "its value"):
                with located(line=at):
                    number = _plain(value)
                    if key not in ("rate", "threshold"):
                        raise FormatError(f"unknown key '{key}'", hint="rate or threshold")
                    if not isinstance(number, int | float) or isinstance(number, bool):
                        raise FormatError(f"{key} must be a number, got {number!r}")
                    values[key] = float(number)
            found[name] = Override(**values)
    return found


def _entries(text: str) -> list[tuple[str, int, yaml.Node]]:
    """Return the keys of a document with their lines and values.

    Raises:
        FormatError: it is no YAML, or no mapping.
    """
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        with located(line=mark.line + 1 if mark else None):
            raise FormatError("not valid YAML") from error
    return [] if root is None else _pairs(root, "a config file")


def _pairs(node: yaml.Node, subject: str) -> list[tuple[str, int, yaml.Node]]:
    import yaml

    if not isinstance(node, yaml.MappingNode):
        raise FormatError(f"{subject} must be a mapping of names to values")
    return [
        (str(getattr(key, "value", "")), key.start_mark.line + 1, value)
        for key, value in node.value
    ]


def _plain(node: yaml.Node) -> Any:
    """Return the plain values of a node."""
    import yaml

    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()
