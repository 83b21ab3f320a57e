"""YAML files with options: keys with their values, and where each stands."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .usage import FROM_COMMAND_LINE, UsageError

if TYPE_CHECKING:
    import yaml

__all__ = [
    "LAYERS", "LAYER_FLAGS", "Entry", "LayerValue", "composed", "entries", "file_entries",
    "layer_values", "text_of", "texts_of",
]  # fmt: skip

LAYERS = "layers"
"""The one key that is no option: layer → rate or threshold of its own."""

LAYER_FLAGS = {"rate": "--layer-rate", "threshold": "--layer-threshold"}

MOST_BYTES = 1 << 20
"""Largest size of such a file. Those that people write have a few kilobytes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a mapping, with its value and where it stands.

    Args:
        key: the key.
        path: the file.
        line: the line of the key, from 1.
        node: the value.
        flag: what said it on the command line, in place of a file; "" for a file.
    """

    key: str
    path: Path
    line: int
    node: yaml.Node
    flag: str = ""

    @property
    def source(self) -> str:
        """Where it stands, as tokens say it."""
        return FROM_COMMAND_LINE if self.flag else f"{self.path}:{self.line}"

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.flag or self.key

    def plain(self) -> Any:
        """Return its value.

        Raises:
            FormatError: a mapping has a key that is none, a tag is unknown, or a date impossible.
        """
        import yaml

        loader = yaml.SafeLoader("")
        try:
            return loader.construct_document(self.node)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise self.wrong(f"{self.key}: not valid YAML") from error
        finally:
            loader.dispose()

    def wrong(self, message: str, item: str | None = None, hint: str | None = None) -> Exception:
        """Return an error that names file and line, or the flag."""
        if self.flag:
            return UsageError(message, flag=self.flag, hint=hint)
        return _error(message, self.path, self.line, item, hint)

    def unknown(self, message: str, known: Sequence[str], otherwise: str) -> Exception:
        """Return the error for a key that nobody knows, with the nearest one."""
        import secateur

        return self.wrong(message, hint=secateur.nearest_hint(self.key, known, otherwise))


def file_entries(path: Path, subject: str) -> Iterator[Entry]:
    """Yield the keys of a file in order.

    Args:
        path: the file.
        subject: what such a file is, for messages.

    Raises:
        FormatError: it cannot be read, is no YAML, or no mapping.
    """
    root = composed(path, subject)
    if root is not None:
        yield from entries(root, path, subject)


def composed(path: Path, subject: str) -> yaml.Node | None:
    """Return what a file holds; None for an empty one.

    Raises:
        FormatError: it cannot be read, or is no YAML.
    """
    import yaml

    try:
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise _error(f"too large for {subject}", path)
        return yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise _error(f"cannot be read: {error}", path) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else None
        problem = getattr(error, "problem", None)
        raise _error("not valid YAML", path, line, hint=problem) from error
    except RecursionError as error:
        raise _error("not valid YAML", path, hint="it is nested too deeply") from error


def entries(
    node: yaml.Node, path: Path, subject: str, item: str | None = None, line: int | None = None
) -> Iterator[Entry]:
    """Yield the entries of a mapping.

    Raises:
        FormatError: it is no mapping.
    """
    import yaml

    if not isinstance(node, yaml.MappingNode):
        line = line or node.start_mark.line + 1
        raise _error(f"{subject} must be a mapping of names to values", path, line, item)
    for key, value in node.value:
        yield Entry(str(getattr(key, "value", "")), path, key.start_mark.line + 1, value)


def texts_of(entry: Entry, value: Any, *, repeated: bool, commas: bool) -> list[str]:
    """Return a value as texts that the command line would give: one for each time of a flag.

    Args:
        entry: where the value stands.
        value: a single one, or a list.
        repeated: whether the flag may be given several times.
        commas: whether a list may stand for its value.

    Raises:
        FormatError: it is of the wrong kind.
    """
    if isinstance(value, dict) or (isinstance(value, list) and not (repeated or commas)):
        raise entry.wrong(f"{entry.key} takes one value")
    texts = [text_of(entry, one) for one in (value if isinstance(value, list) else [value])]
    return texts if repeated else [",".join(texts)]


def text_of(entry: Entry, value: Any) -> str:
    """Return a single value as it would stand on the command line.

    Raises:
        FormatError: it is of the wrong kind.
    """
    if value is None or isinstance(value, bool | list | dict):
        raise entry.wrong(f"{entry.key} takes a value, got {reprlib.repr(value)}")
    return str(value)


@dataclass(frozen=True, slots=True)
class LayerValue:
    """What a file says of a single layer.

    Args:
        flag: the flag that says the same.
        text: its value, `layer=number`.
        item: the layer, in words.
        source: where it stands, as tokens say it.
    """

    flag: str
    text: str
    item: str
    source: str


def layer_values(entry: Entry) -> Iterator[LayerValue]:
    """Yield rates and thresholds of single layers.

    Raises:
        FormatError: the form is another than {name: {rate: R}}.
    """
    seen = set()
    for layer in entries(entry.node, entry.path, LAYERS, line=entry.line):
        item = f"layer '{layer.key}'"
        if layer.key in seen:
            raise layer.wrong("it stands there twice", item)
        seen.add(layer.key)
        values = list(entries(layer.node, layer.path, "its value", item, layer.line))
        if len(values) != 1:
            raise layer.wrong("it needs a rate or a threshold, and not both", item)
        (value,) = values
        number = value.plain()
        if value.key not in LAYER_FLAGS:
            raise value.wrong(f"unknown key '{value.key}' (rate or threshold)", item)
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise value.wrong(f"{value.key} must be a number, got {reprlib.repr(number)}", item)
        yield LayerValue(LAYER_FLAGS[value.key], f"{layer.key}={number}", item, value.source)


def _error(
    message: str,
    path: Path,
    line: int | None = None,
    item: str | None = None,
    hint: str | None = None,
) -> Exception:
    import secateur

    where = secateur.Where(file=str(path), line=line, item=item)
    return secateur.FormatError(message, hint=hint, where=where)
