"""The text of a cfg for training: what a cfg for inference lacks is added, all else stays.

Source: parser.c `parse_net_options`, `parse_yolo`, `parse_region`; the values of cfg/yolov3.cfg,
cfg/yolov2.cfg and cfg/darknet.cfg of Darknet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ...core.errors import FormatError, UnsupportedError, located
from .document import Block, Document, parse
from .head_training import HEADS

__all__ = ["TrainingText", "classes_of", "training_text"]

BATCH, SUBDIVISIONS = 64, 16
"""What most cfgs of Darknet say."""
SCHEDULE = {
    "momentum": "0.9",
    "decay": "0.0005",
    "learning_rate": "0.001",
    "burn_in": "100",
    "max_batches": "10000",
    "policy": "steps",
    "steps": "8000,9000",
    "scales": ".1,.1",
}
"""For a cfg without a schedule: a low rate, warmed up, and a hundredth of it in the end."""
COLOURS = {"saturation": "1.5", "exposure": "1.5", "hue": ".1"}
YOLO = {"ignore_thresh": ".7", "truth_thresh": "1", "jitter": ".3", "random": "0"}
REGION = {
    "thresh": ".6", "jitter": ".2", "random": "0", "bias_match": "1", "rescore": "1",
    "object_scale": "5", "noobject_scale": "1", "class_scale": "1", "coord_scale": "1",
    "absolute": "1",
}  # fmt: skip
OF_HEADS = {"yolo": YOLO, "Gaussian_yolo": YOLO, "region": REGION}
ENDS = ("avgpool", "avg", "connected", "conn")
"""Sections that scores of classes come from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingText:
    """A cfg for training.

    Args:
        content: the text.
        heads: names of the sections with losses.
        notes: what the user must know.
    """

    content: bytes
    heads: tuple[str, ...]
    notes: tuple[str, ...] = ()


def training_text(document: Document, *, detector: bool) -> TrainingText:
    """Return a cfg for training.

    Args:
        document: any cfg.
        detector: whether it finds boxes.

    Raises:
        UnsupportedError: it has no section with a loss, and none can be added.
    """
    notes: list[str] = []
    net = document.sections[0]
    added: dict[int, dict[str, str]] = {}
    values: dict[tuple[int, str], int | str] = {}
    if _number(net, "batch") <= 1:
        batch, parts = _stated_batch(document, net)
        _set(net, 0, {"batch": str(batch), "subdivisions": str(parts)}, values, added)
        notes.append(f"[net]: batch={batch} and subdivisions={parts} in the place of a batch of 1")
    if not _has(net, "learning_rate"):
        own = {**SCHEDULE, **(COLOURS if detector else {})}
        missing = {key: value for key, value in own.items() if not _has(net, key)}
        if _has(net, "policy"):
            missing.pop("steps", None)
            missing.pop("scales", None)
        added.setdefault(0, {}).update(missing)
        notes.append(f"[net] has no learning_rate=: {', '.join(missing)} were added")
    elif _number(net, "max_batches") <= 0:
        _set(net, 0, {"max_batches": SCHEDULE["max_batches"]}, values, added)
        notes.append(f"[net] has no max_batches=: {SCHEDULE['max_batches']} was added")
    for place, block in enumerate(document.sections):
        usual = OF_HEADS.get(block.name, {})
        if usual and not any(_has(block, key) for key in usual):
            added[place] = dict(usual)
            notes.append(f"[{block.name}] has no keys of training: {', '.join(usual)} were added")
    heads, tail = _heads(document)
    if tail:
        notes.append("the last section has no loss: [softmax] was added behind it")
    return TrainingText(
        content=_written(document, values, added, tail), heads=heads, notes=tuple(notes)
    )


def classes_of(document: Document) -> int:
    """Return how many classes a network tells apart, by its heads or its last filters."""
    for block in reversed(document.sections):
        if block.name in OF_HEADS:
            return int(_number(block, "classes", 20))
    for block in reversed(document.sections):
        for key in ("filters", "output"):
            if _has(block, key):
                return int(_number(block, key))
    return 1


def _heads(document: Document) -> tuple[tuple[str, ...], bytes]:
    """Return the sections with losses, and a section that is added for want of one.

    Raises:
        UnsupportedError: there is none, and the last layer makes no scores of classes.
    """
    names = [block.name for block in document.sections if block.name in HEADS]
    if names:
        return tuple(dict.fromkeys(names)), b""
    last = document.sections[-1]
    while last.name in ("dropout",) and len(document.sections) > 1:
        last = document.sections[document.sections.index(last) - 1]
    if last.name not in ENDS:
        with located(file=document.file, line=last.line, item=f"[{last.name}]"):
            raise UnsupportedError(
                "no loss can be derived: the last section has none, and makes no scores of classes",
                hint="--companion train.cfg gives the cfg that was trained",
            )
    return ("softmax",), b"\n[softmax]\ngroups=1\n"


def _has(block: Block, key: str) -> bool:
    option = block.options.get(key)
    return option is not None and option.value is not None


def _number(block: Block, key: str, default: float = 0.0) -> float:
    """Return the number of a key.

    Raises:
        FormatError: it is none.
    """
    option = block.options.get(key)
    if option is None or option.value is None:
        return default
    with located(line=option.line, item=f"[{block.name}]"):
        try:
            return float(option.value)
        except ValueError as error:
            raise FormatError(f"{key}={option.value[:40]} is no number") from error


def _stated_batch(document: Document, net: Block) -> tuple[int, int]:
    """Return batch and subdivisions; cfgs for testing often hold those of training in comments."""
    end = len(document.data)
    if len(document.sections) > 1:
        end = document.data.rfind(b"[", 0, document.sections[1].end)
    inside = document.data[net.end : end]
    batch, parts = (_commented(inside, key) for key in (b"batch", b"subdivisions"))
    if batch <= 1:
        return BATCH, SUBDIVISIONS
    return batch, max(1, min(parts, batch))


def _commented(text: bytes, key: bytes) -> int:
    """Return the number of a key in a comment; 0 where none gives it."""
    found = re.search(
        rb"^[ \t]*[#;][ \t#;]*" + key + rb"[ \t]*=[ \t]*(\d{1,6})", text, re.MULTILINE
    )
    return int(found[1]) if found else 0


def _set(
    block: Block,
    place: int,
    wanted: Mapping[str, str],
    values: dict[tuple[int, str], int | str],
    added: dict[int, dict[str, str]],
) -> None:
    """Take in values, of keys that are there and of such that are not."""
    for key, value in wanted.items():
        if _has(block, key):
            values[place, key] = value
        else:
            added.setdefault(place, {})[key] = value


def _written(
    document: Document,
    values: Mapping[tuple[int, str], int | str],
    added: Mapping[int, Mapping[str, str]],
    tail: bytes,
) -> bytes:
    """Return the text with all changes, in lines that pjreddie's Darknet reads (LF alone)."""
    data = bytes(document.replace(values) if values else document).replace(b"\r\n", b"\n")
    changed = parse(data, document.file)
    for place in sorted(added, reverse=True):
        lines = "".join(f"{key}={value}\n" for key, value in added[place].items())
        end = changed.sections[place].end
        head = data[:end] if data[:end].endswith(b"\n") else data[:end] + b"\n"
        data = head + f"# for training:\n{lines}".encode() + data[end:]
    return (data if data.endswith(b"\n") else data + b"\n") + tail
