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
    "LAYERS", "LAYER_FLAGS", "Entry", "LayerValue", "brief", "composed", "entries", "file_entries",
    "layer_values", "text_of", "texts_of", "with_setting",
]  # fmt: skip

LAYERS = "layers"
"""The one key that is no option: layer → rate or threshold of its own."""

LAYER_FLAGS = {"rate": "--layer-rate", "threshold": "--layer-threshold"}

FLAG = "secateur_flag"
"""Attribute of a key that stands on the command line: how it is said there."""

MOST_BYTES = 1 << 20
"""Largest size of such a file. Those that people write have a few kilobytes."""


def brief(value: Any) -> str:
    """Return a value for a message: of lists in lists, which may repeat one another, the outer."""
    short = reprlib.Repr()
    short.maxlevel = 2
    return short.repr(value)


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
        name, flag = str(getattr(key, "value", "")), getattr(key, FLAG, "")
        yield Entry(name, path, key.start_mark.line + 1, value, flag)


def with_setting(root: yaml.Node | None, setting: str) -> yaml.Node:
    """Return what a file holds with one value in another's place.

    Args:
        root: what it holds.
        setting: `prune.rate=0.4`: the keys that lead to the value, and the value as YAML.

    Raises:
        UsageError: it is of another form.
    """
    import yaml

    path, equals, text = setting.partition("=")
    keys = path.strip().split(".")
    flag = f"--set {path.strip()}"
    if not equals or not all(keys):
        raise UsageError(f"'{setting}' is not KEY=VALUE", flag="--set", hint="prune.rate=0.4")
    try:
        value = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"'{text}' is no value", flag=flag) from error
    value = value or yaml.ScalarNode("tag:yaml.org,2002:null", "", *_marks(root))
    return _set(root, keys, _flagged(value, flag), flag)


def _set(node: yaml.Node | None, keys: Sequence[str], value: yaml.Node, flag: str) -> yaml.Node:
    """Return a mapping with a value at the end of some keys; others keep the mapping they had."""
    import yaml

    inner: list[tuple[yaml.Node, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        inner = list(node.value)
    elif node is not None and node.tag != "tag:yaml.org,2002:null":
        # A path alone becomes a mapping with that path.
        name = "files" if isinstance(node, yaml.SequenceNode) else "path"
        inner = [(yaml.ScalarNode("tag:yaml.org,2002:str", name, *_marks(node)), node)]
    key, *rest = keys
    alike = key.replace("_", "-")
    place = next(
        (k for k, (own, _) in enumerate(inner) if str(own.value).replace("_", "-") == alike), None
    )
    old = inner[place][1] if place is not None else None
    own = yaml.ScalarNode("tag:yaml.org,2002:str", key, *_marks(node))
    setattr(own, FLAG, flag)
    pair = (inner[place][0] if place is not None and rest else own,
            _set(old, rest, value, flag) if rest else value)  # fmt: skip
    if place is None:
        inner.append(pair)
    else:
        inner[place] = pair
    return yaml.MappingNode("tag:yaml.org,2002:map", inner, *_marks(node))


def _flagged(node: yaml.Node, flag: str) -> yaml.Node:
    """Mark all keys in a value as said by a flag."""
    import yaml

    waiting, seen = [node], set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, yaml.MappingNode):
            for key, value in each.value:
                setattr(key, FLAG, flag)
                waiting.append(value)
        elif isinstance(each, yaml.SequenceNode):
            waiting += each.value
    return node


def _marks(node: yaml.Node | None) -> tuple[Any, Any]:
    import yaml

    if node is not None:
        return node.start_mark, node.end_mark
    mark = yaml.Mark("", 0, 0, 0, "", 0)
    return mark, mark


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
        raise entry.wrong(f"{entry.key} takes a value, got {brief(value)}")
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
            raise value.wrong(f"{value.key} must be a number, got {brief(number)}", item)
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
