"""Targets in YAML files: those that come with the program, and those of users."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import yaml

from ..core.cost.target import Target
from ..core.errors import PlanError, located, nearest_hint
from .registry import FORMATS

__all__ = ["find_target", "load_target", "target_names"]

FOLDER = Path(__file__).parent / "targets"

ENDINGS = (".yaml", ".yml")

LARGEST = 1 << 20
"""Bytes of a file; the targets that come with the program have less than 4 KB."""


def target_names() -> tuple[str, ...]:
    """Return the names of the targets that come with the program; numbers in them rise."""
    return tuple(sorted((path.stem for path in FOLDER.glob("*.yaml")), key=_place))


def _place(name: str) -> tuple[str, int]:
    word = name.rstrip("0123456789")
    return word, int(name[len(word) :] or 0)


def find_target(name: str | PathLike[str]) -> Target:
    """Return the target of a name, or that of a user's YAML file.

    Raises:
        PlanError: there is no such target, or the file is wrong; it names line and field.
    """
    text = fspath(name)
    if text in target_names():
        return load_target(FOLDER / f"{text}.yaml")
    if not text.endswith(ENDINGS):
        known = target_names()
        raise PlanError(
            f"unknown target '{text}'",
            hint=nearest_hint(text, known, f"known are {', '.join(known)}, or FILE.yaml"),
            option="target",
        )
    return load_target(text)


def load_target(path: str | PathLike[str]) -> Target:
    """Return the target in a YAML file.

    Raises:
        PlanError: it cannot be read, or is no target; it names line and field.
    """
    with located(file=str(path)):
        node = _node(Path(path))
        if not isinstance(node, yaml.MappingNode):
            raise PlanError("a target is a mapping", hint="name, inputs, outputs, …")
        fields: dict[str, Any] = {}
        for key, value in node.value:
            with located(line=key.start_mark.line + 1):
                name = _text(key)
                if name not in FIELDS:
                    raise PlanError(
                        f"a target has no '{name}'",
                        hint=nearest_hint(name, FIELDS, f"known are {', '.join(FIELDS)}"),
                    )
                if name in fields:
                    raise PlanError(f"'{name}' stands there twice")
                with located(field=name):
                    fields[name] = FIELDS[name](value)
                    if name in ("inputs", "outputs"):
                        Target(name="", **{name: fields[name]})
        if not fields.get("name"):
            raise PlanError("a target needs a name", hint="name: my-chip")
        if "inputs" not in fields and "outputs" not in fields and Path(path).parent != FOLDER:
            raise PlanError(
                "a target needs its blocks of channels", hint="inputs: 16 and outputs: 16, say"
            )
        return Target(**fields)


def _node(path: Path) -> yaml.Node | None:
    """Return the root of a file; aliases are not expanded."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"cannot be read: {error}") from error
    if len(data) > LARGEST:
        raise PlanError("too large for a target")
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        with located(line=mark.line + 1 if mark else None):
            raise PlanError("not valid YAML") from error
    except RecursionError as error:
        raise PlanError("nested too deep for a target") from error


def _text(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        with located(line=node.start_mark.line + 1):
            raise PlanError("must be a text")
    return str(node.value)


def _number(node: yaml.Node) -> int:
    text = _text(node)
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise PlanError(f"must be a whole number of channels, got '{text}'")
    return int(text)


def _texts(node: yaml.Node) -> tuple[str, ...]:
    if isinstance(node, yaml.ScalarNode):
        return (_text(node),)
    if not isinstance(node, yaml.SequenceNode):
        raise PlanError("must be a list of texts")
    return tuple(_text(entry) for entry in node.value)


def _by_format(node: yaml.Node, read: Callable[[yaml.Node], Any]) -> dict[str, Any]:
    """Return format → what stands there."""
    if not isinstance(node, yaml.MappingNode):
        raise PlanError("must be a mapping", hint=f"a key for each format: {', '.join(FORMATS)}")
    found: dict[str, Any] = {}
    for key, value in node.value:
        with located(line=key.start_mark.line + 1):
            name = _text(key)
            if name not in FORMATS:
                raise PlanError(f"'{name}' is no format", hint=f"known are {', '.join(FORMATS)}")
            found[name] = read(value)
    return found


FIELDS: Mapping[str, Callable[[yaml.Node], Any]] = {
    "name": _text,
    "summary": _text,
    "inputs": _number,
    "outputs": _number,
    "readers": lambda node: _by_format(node, _text),
    "refuses": lambda node: _by_format(node, _texts),
    "sources": _texts,
    "missing": _texts,
}
"""The fields of a target in a file, and how each is read."""
