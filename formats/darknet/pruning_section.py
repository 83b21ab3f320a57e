"""The main cfg of vai_p_darknet: one section `[pruning]` that names models, data and settings.

Sources: UG1333 1.2 to 2.0, "Creating a Configuration File" and "vai_p_darknet Usage". The file is
read as Darknet reads its own. What Darknet would turn into 0 without a word (`threshold=abc`), or
not use, is an error or a warning here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ...core.errors import FormatError, Where, located, nearest_hint
from ...core.ir.network import Caution
from ...core.nearness import near_names
from ..impostors import refuse_impostor
from .document import Block, Option, parse

__all__ = ["SECTION", "PruningSection", "is_pruning_cfg", "read_pruning_section"]

SECTION = "pruning"
"""Name of the section."""

MOST_BYTES = 1 << 20
"""Largest size of such a file; published ones have under a kilobyte."""

HEAD_BYTES = 1 << 16
"""So much of a file tells what it is."""

ANALYSIS, WEIGHTS = "ana.out", "weights.prune"
"""Usual names in the workspace. Source: UG1333, table of options."""

PATHS = ("workspace", "datacfg", "modelcfg", "prunedcfg", "ana_out_file", "prune_out_weights")
REQUIRED = ("workspace", "datacfg", "modelcfg")

SPELLINGS: Mapping[str, str] = {
    "is_yolov3": "yolov3", "yolo_v3v4": "yolov3", "criterion": "criteria",
    "ignore_layers": "ignore_layer",
}  # fmt: skip
"""Other spellings of keys. The vendor's guide writes `is_yolov3` in its text and `yolov3` in its
examples, and `yolo_v3v4` for YOLOv4."""

NUMBERS = ("criteria", "kernel_batch", "ignore_layer", "yolov3", "threshold")
KEYS = (*PATHS, *NUMBERS)

_NAME = re.compile(rb"^[ \t\r]*\[([^\]\n]*)\]", re.MULTILINE)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class PruningSection:
    """What `[pruning]` says; relative paths are as they are written.

    Args:
        file: the main cfg.
        line: of the section.
        workspace: folder for everything that is written.
        datacfg: the `.data` file.
        modelcfg: the network.
        prunedcfg: the network to fine-tune.
        ana_out_file: the analysis.
        prune_out_weights: the pruned weights.
        criteria: number of the vendor's criterion.
        kernel_batch: multiple that kept channels are of.
        ignore_layer: layers that keep all channels.
        yolov3: whether the network is a YOLOv3 or v4.
        threshold: loss that each group alone may cost; None where the file does not say it.
        lines: key → its line.
        notes: what in the file changes nothing.
    """

    file: Path
    line: int
    workspace: Path
    datacfg: Path
    modelcfg: Path
    prunedcfg: Path
    ana_out_file: Path
    prune_out_weights: Path
    criteria: int = 0
    kernel_batch: int = 2
    ignore_layer: tuple[int, ...] = ()
    yolov3: bool = False
    threshold: float | None = None
    lines: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def where(self, key: str) -> Where:
        """Return the place of a key; that of the section where the key is not given."""
        return Where(file=str(self.file), line=self.lines.get(key, self.line), field=key)


def is_pruning_cfg(path: Path) -> bool:
    """Return whether a file is a main cfg: whether it has a section `[pruning]`."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    return any(name.translate(None, b" \t\r") == SECTION.encode() for name in _NAME.findall(head))


def read_pruning_section(path: Path) -> PruningSection:
    """Read a main cfg.

    Raises:
        FormatError: the file cannot be read, has no section `[pruning]`, or a key is missing or has
            an impossible value.
    """
    with located(file=str(path)):
        document = parse(_read(path), str(path), first=SECTION)
        block = next((block for block in document.sections if block.name == SECTION), None)
        if block is None:
            raise _no_section(document.sections)
        others = [
            Caution(f"{path}:{other.line}: section [{other.name}] changes nothing here")
            for other in document.sections if other is not block
        ]  # fmt: skip
        return _of(path, block, others)


def _no_section(blocks: Sequence[Block]) -> FormatError:
    """Return the error that says that there is no section `[pruning]`."""
    near = next((block for block in blocks if near_names(block.name, [SECTION])), None)
    if near is not None:
        return FormatError(
            f"there is no section [{SECTION}]", hint=f"did you mean it by [{near.name}]?",
            where=Where(line=near.line),
        )  # fmt: skip
    network = {"net", "network"}.intersection(block.name for block in blocks)
    return FormatError(
        f"there is no section [{SECTION}]",
        hint="this is the cfg of a network: give the main cfg, whose modelcfg= names it"
        if network
        else "the main cfg begins with it",
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror or error}") from error
    refuse_impostor(data[:HEAD_BYTES], ".cfg")
    if len(data) > MOST_BYTES:
        raise FormatError("too large for a main cfg")
    return data


def _of(path: Path, block: Block, notes: list[Caution]) -> PruningSection:
    given: dict[str, tuple[str, Option]] = {}
    for written, option in block.options.items():
        key = SPELLINGS.get(written, written)
        if key not in KEYS:
            hint = nearest_hint(written, (*KEYS, *SPELLINGS), f"keys are {', '.join(KEYS)}")
            notes.append(Caution(f"{path}:{option.line}: unused key '{written}' ({hint})"))
        elif option.value is not None:
            given.setdefault(key, (written, option))
    for key in REQUIRED:
        if key not in given:
            with located(line=block.line, field=key):
                raise FormatError("required, but missing")

    def value(key: str, read: Callable[[str], T], default: T) -> T:
        if key not in given:
            return default
        written, option = given[key]
        with located(line=option.line, field=written):
            return read(option.value or "")

    workspace, model = value("workspace", Path, Path()), value("modelcfg", Path, Path())
    usual = {
        "prunedcfg": workspace / f"{model.stem}-prune.cfg",
        "ana_out_file": workspace / ANALYSIS,
        "prune_out_weights": workspace / WEIGHTS,
    }
    paths: dict[str, Any] = {key: value(key, Path, usual.get(key, Path())) for key in PATHS}
    return PruningSection(
        file=path,
        line=block.line,
        **paths,
        criteria=value("criteria", _whole, 0),
        kernel_batch=value("kernel_batch", _positive, 2),
        ignore_layer=value("ignore_layer", _layers, ()),
        yolov3=value("yolov3", _whole, 0) != 0,
        threshold=value("threshold", _threshold, None),
        lines={key: option.line for key, (_, option) in given.items()},
        notes=tuple(notes),
    )


def _plain(text: str) -> str:
    """Return a number without the comment behind it, which Darknet's `atoi` does not read."""
    return re.split("[#;]", text, maxsplit=1)[0]


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,9}", _plain(text)):
        raise FormatError(f"'{text[:40]}' is no whole number")
    return int(_plain(text))


def _positive(text: str) -> int:
    if (found := _whole(text)) < 1:
        raise FormatError(f"it must be at least 1, got {found}")
    return found


def _layers(text: str) -> tuple[int, ...]:
    return tuple(_layer(part) for part in _plain(text).split(",") if part)


def _layer(text: str) -> int:
    if (found := _whole(text)) < 0:
        raise FormatError(f"layers count from 0, got {found}")
    return found


def _threshold(text: str) -> float | None:
    """Return the loss that a group may cost, from 0 to below 1."""
    try:
        found = float(_plain(text))
    except ValueError:
        found = math.nan
    if math.isnan(found) or "_" in text:
        raise FormatError(f"'{text[:40]}' is no number")
    if not 0.0 <= found < 1.0:
        share = found / 100.0
        raise FormatError(
            f"the threshold must be from 0 to below 1, got {found:g}",
            hint=f"it is a loss of accuracy: {share:g} for {found:g} %"
            if 1.0 <= found < 100.0
            else "it is a loss of accuracy: 0.005 for half a point",
        )
    return found
