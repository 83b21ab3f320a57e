"""The JSON Schema of the pipeline file, for editors, made of the option dataclasses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .entries import LAYERS
from .flags import Slot, field_texts
from .pipeline_file import MODEL_KEYS, Section, sections

__all__ = ["pipeline_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

CHOICE = re.compile(r"[a-zA-Z0-9]+(\|[a-zA-Z0-9]+)+")
"""Metavars that list all values: `adam|sgd`."""

NUMBERS: Mapping[str, Any] = {
    "int": {"type": "integer"},
    "int | None": {"type": "integer"},
    "float": {"type": "number"},
    "float | None": {"type": "number"},
}
"""Types whose values are numbers and nothing else."""

TIMES = ("10m", "5m", "BYTES")
"""Metavars of numbers that may have a unit."""

NAMES = ("NAME|help", "auto|none|NAME,NAME…|help", "NAME", "UNIT")
"""Metavars of names that other packages can add to."""


def pipeline_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a pipeline file."""
    import secateur

    known = sections()
    texts = field_texts(secateur.Pipeline)
    steps = {name: _step(known[name]) for name in secateur.STEPS}
    return {
        "$schema": DIALECT,
        "title": "A pipeline of secateur",
        "description": "From a model to a smaller one: `secateur run` carries it out.",
        "type": "object",
        "additionalProperties": False,
        "required": ["model"],
        "properties": {
            "model": _model(known["model"]),
            "data": _data(known["data"]),
            "preprocess": _mapping(known["preprocess"]),
            "task": {"type": "string", "description": texts["task"]},
            "device": {"type": ["string", "null"], "description": texts["device"]},
            "output": {"type": "string", "description": texts["output"]},
            "report": {"type": ["string", "null", "boolean"], "description": texts["report"]},
            **steps,
        },
    }


def _mapping(section: Section, further: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the schema of a mapping whose keys are flags."""
    properties = {**(further or {}), **{key: _value(slot) for key, slot in section.slots.items()}}
    if section.layers:
        properties[LAYERS] = _layers()
    return {
        "description": section.help,
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _step(section: Section) -> dict[str, Any]:
    """Return the schema of a step: an empty one takes what is usual, false leaves it out."""
    mapping = _mapping(section)
    return {**mapping, "type": ["object", "null", "boolean"]}


def _model(section: Section) -> dict[str, Any]:
    files = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "The files of the model, in any order.",
    }
    further = "Further descriptions for the same weights (a train_val), pruned with the model."
    companions = {**files, "description": further}
    keys = dict(zip(MODEL_KEYS, (files, companions), strict=True))
    mapping = {**_mapping(section, keys), "required": ["files"]}
    del mapping["description"]
    return {"description": section.help, "anyOf": [*files["anyOf"], mapping]}


def _data(section: Section) -> dict[str, Any]:
    import secateur

    about = {
        "calibration": "Choosing channels and repairing looks at it; labels are not needed.",
        "training": "Fine-tuning learns from it.",
        "validation": "Training and limits are measured on it.",
        "test": "The figures of `valid` are measured on it.",
    }
    own = _mapping(section, {"path": {"type": "string", "description": "Where it is."}})
    del own["description"]
    own["required"] = ["path"]
    roles = {
        role: {"description": about[role], "anyOf": [{"type": ["string", "null", "boolean"]}, own]}
        for role in secateur.ROLES
    }
    return _mapping(section, roles)


def _layers() -> dict[str, Any]:
    number = {"type": "number"}
    return {
        "description": "Rate or threshold of single layers, whatever the others lose.",
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
            "properties": {"rate": number, "threshold": number},
        },
    }


def _value(slot: Slot) -> dict[str, Any]:
    """Return the schema of what a key takes."""
    about: dict[str, Any] = {"description": slot.help}
    kind = _kind(slot)
    if slot.values is not None and "enum" not in kind:
        about["examples"] = sorted(name for name, _ in slot.values())
    if slot.default:
        about["description"] += f" Usual: {slot.default}."
    return {**kind, **about}


def _kind(slot: Slot) -> dict[str, Any]:
    flag = slot.flag
    if flag.kind is bool:
        return {"type": "boolean"}
    if CHOICE.fullmatch(flag.metavar) and flag.metavar not in NAMES:
        return {"enum": flag.metavar.split("|")}
    if slot.kind in NUMBERS:
        plain = NUMBERS[slot.kind]
        units = flag.metavar in TIMES
        return {"anyOf": [plain, {"type": "string"}]} if units else dict(plain)
    one = {"type": ["string", "number"]}
    if flag.kind == list[str] or "," in flag.metavar:
        return {"anyOf": [one, {"type": "array", "items": one}]}
    return one
