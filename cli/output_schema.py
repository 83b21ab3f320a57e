"""The JSON Schema of what commands print with `--json`: one definition a command.

Objects hold exactly what stands here, unless they say that more may come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .pipeline_schema import DIALECT

__all__ = ["output_schema"]

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
MULTIPLE: Schema = {"type": ["integer", "string"], "description": "A number, or auto."}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
MAYBE: Schema = {"type": ["number", "null"]}
"""A number; null where it is infinite, no number, or not known."""


def _object(about: str, /, **keys: Schema) -> Schema:
    """Return an object with exactly these keys; a key that ends in _ may be missing."""
    return {
        "type": "object",
        **({"description": about} if about else {}),
        "additionalProperties": False,
        "required": [key for key in keys if not key.endswith("_")],
        "properties": {key.removesuffix("_"): value for key, value in keys.items()},
    }


def _open(about: str, /, **keys: Schema) -> Schema:
    """Return an object with these keys and perhaps others."""
    return {**_object(about, **keys), "additionalProperties": True}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _map(value: Schema) -> Schema:
    return {"type": "object", "additionalProperties": value}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


SHAPE = _or_null(_list({"type": ["integer", "string"]}))
FILES = _list(_object("A written file.", path=TEXT, bytes=WHOLE))
ROW = _object(
    "One figure of both models.", item=TEXT, unit={"enum": ["", "%", "ms", "B", "Op"]},
    before=MAYBE, after=MAYBE, change=MAYBE, relative=FLAG,
    interval=_or_null(_list(NUMBER)),
)  # fmt: skip
REPAIR = _object(
    "", method=TEXT, output_error_before=MAYBE, output_error_after=MAYBE, kept=FLAG,
    judged_on=TEXT,
)  # fmt: skip
VERIFICATION = _object(
    "Largest relative differences, and what the first one was measured on.",
    masked_equals_dense_=MAYBE, inputs_=TEXT, samples_=WHOLE, written_equals_dense=MAYBE,
)  # fmt: skip
REMOVAL: Mapping[str, Schema] = {
    "removed": WHOLE, "rate": MAYBE, "rows": _list(ROW), "verification": VERIFICATION,
    "repairs": _list(REPAIR), "files": FILES, "plan": MAYBE_TEXT, "notes": _list(TEXT),
}  # fmt: skip
FIGURES = _object(
    "Figures of models by their keys.", data=TEXT, samples=WHOLE,
    models=_list(_open("", name=TEXT)),
)  # fmt: skip
ENTRY = _object(
    "A measurement during training.", step=WHOLE, stage=TEXT, loss=MAYBE, held_out=MAYBE,
    value=MAYBE, rate=MAYBE, seconds=MAYBE, best=FLAG, removed=MAYBE,
)  # fmt: skip
TRAINING = _object(
    "", metric=TEXT, samples=WHOLE, held_out=WHOLE, steps=WHOLE, batch=WHOLE,
    images_per_second=MAYBE, removed_=MAYBE, best=ENTRY, history=_list(ENTRY), notes=_list(TEXT),
)  # fmt: skip


LAYERS = _list(
    _object("A layer; `groups` are those of its channels, `fixed` says why they stay.",
            name=TEXT, type=TEXT, line={"type": ["integer", "null"]}, shape=SHAPE,
            parameters=WHOLE, operations=WHOLE, groups=_list(TEXT), fixed=MAYBE_TEXT)
)  # fmt: skip
SHAPES = _map(SHAPE)
TARGET = _object(
    "An engine; keys that say nothing are left out.", name=TEXT, summary_=TEXT, inputs_=WHOLE,
    outputs_=WHOLE, readers_=_map(TEXT), refuses_=_map(_list(TEXT)), sources_=_list(TEXT),
    missing_=_list(TEXT),
)  # fmt: skip
STATISTICS = _or_null(
    _object("", shape=_list(WHOLE), mean=MAYBE, deviation=MAYBE, least=MAYBE, largest=MAYBE,
            zeros=MAYBE, infinite=WHOLE)
)  # fmt: skip
SIDE = _or_null(_object("", name=TEXT, type=TEXT, shape=SHAPE, operations=WHOLE, parameters=WHOLE))
CHANGE = _object(
    "A stored parameter in both models.", name=TEXT, before=STATISTICS, after=STATISTICS,
    changed=MAYBE, absolute=MAYBE, relative=MAYBE,
)  # fmt: skip
GROUP_CURVE = _object(
    "The curve of a group: what is lost at each rate.", name=TEXT, layers=_list(TEXT),
    channels=WHOLE, order=_list(WHOLE),
    points=_list(_object("", rate=NUMBER, removed=WHOLE, loss=MAYBE, at_least=FLAG)),
)  # fmt: skip
ROUND = _object(
    "", number=WHOLE, rate=NUMBER, achieved=NUMBER, operations=WHOLE, parameters=WHOLE,
    value=MAYBE, loss=MAYBE, passed=FLAG, notes=_list(TEXT), pruned_value=MAYBE, seconds=MAYBE,
    training_notes=_list(TEXT),
)  # fmt: skip
TIMED = _object(
    "Milliseconds of a model; `change` is between which fractions it is slower than the first one.",
    name=TEXT, milliseconds=MAYBE, least_=NUMBER, change_=_list(NUMBER),
)  # fmt: skip
POINT: Mapping[str, Schema] = {
    "method": TEXT, "repair": TEXT, "rate": NUMBER, "images": {"type": ["integer", "null"]},
}  # fmt: skip
MEASURED = _object(
    "What a model came to.", samples=WHOLE, achieved=NUMBER, operations=WHOLE, parameters=WHOLE,
    size=WHOLE, value=MAYBE, value_interval=_list(MAYBE), loss=MAYBE, loss_interval=_list(MAYBE),
    pruned_value=MAYBE, notes=_list(TEXT),
)  # fmt: skip
ASKED = _object(
    "What was asked for.", methods=_list(TEXT), rates=_list(NUMBER), repairs=_list(TEXT),
    finetune=_or_null(_open("Options of fine-tuning.")), seeds=WHOLE, low_data=_list(WHOLE),
    analysis=MAYBE_TEXT, budget=TEXT, target=MAYBE_TEXT, task=MAYBE_TEXT, exclude=_list(TEXT),
    limits=_object("", round_to=MULTIPLE, min_keep=NUMBER, max_rate=NUMBER),
    as_far_as_possible=FLAG,
)  # fmt: skip
STUDY = _object(
    "As study.json.", version=WHOLE, model=TEXT, model_digest=TEXT, data=TEXT, samples=WHOLE,
    validation=TEXT, validation_samples=WHOLE, metric=TEXT, unit=TEXT, higher_is_better=FLAG,
    original=_object("", value=MAYBE, operations=WHOLE, parameters=WHOLE, size=WHOLE,
                     latency=MAYBE),
    options=ASKED,
    points=_list(
        _object("", **POINT, seed=WHOLE, measured=_or_null(MEASURED), reason=TEXT, front=FLAG,
                model=TEXT, latency=MAYBE, latency_interval=_or_null(_list(NUMBER)))
    ),
    means=_list(
        _object("", **POINT, made=WHOLE, failed=WHOLE, value=MAYBE, spread=MAYBE, loss=MAYBE,
                operations=MAYBE, interval=_or_null(_list(MAYBE)))
    ),
    fronts=_object("Cost → places in `points`.", operations=_list(WHOLE), parameters=_list(WHOLE),
                   size=_list(WHOLE), latency=_list(WHOLE)),
)  # fmt: skip


def output_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of what commands print with `--json`."""
    return {
        "$schema": DIALECT,
        "title": "What the commands of secateur print with --json",
        "description": "$defs has a schema for each command. Standard output holds one document "
        "and nothing else; errors go to standard error, and the exit code tells of them.",
        "$defs": {name: dict(schema) for name, schema in _commands().items()},
    }


def _commands() -> Mapping[str, Schema]:
    return {
        "init": _object("", file=TEXT, facts=_list(TEXT), notes=_list(TEXT)),
        "run": _object(
            "", output=TEXT, model=_list(TEXT), report=MAYBE_TEXT,
            steps=_list(
                _object("", step=TEXT, ran=FLAG, folder=TEXT, files=_list(TEXT), seconds=NUMBER,
                        figures=_open("What the step came to."), notes=_list(TEXT))
            ),
        ),
        "run --dry-run": _object(
            "", output=TEXT, model=TEXT, operations=WHOLE, parameters=WHOLE, budget=TEXT,
            rate=MAYBE, after=MAYBE, largest_rate=MAYBE, data=_map(WHOLE), seconds=NUMBER,
            steps=_list(
                _object("", step=TEXT, runs=FLAG, why=TEXT, samples=WHOLE, seconds=MAYBE)
            ),
            notes=_list(TEXT),
        ),
        **_looking(),
        **_searching(),
        "convert": _object("", files=FILES, as_read=FLAG, difference=MAYBE),
        "prune": _object("", **REMOVAL, training_files=FILES),
        "transform": _object("", **REMOVAL, figures=_or_null(FIGURES)),
        "finetune": TRAINING,
        "compare": _object(
            "", samples=WHOLE, tolerance=NUMBER, within=FLAG,
            outputs=_list(
                _object("", first=TEXT, second=TEXT, shape=SHAPE, absolute=MAYBE, relative=MAYBE)
            ),
            notes=_list(TEXT),
        ),
        "valid": FIGURES,
        "map": FIGURES,
        "schema": _open("A JSON Schema."),
        "completion": _object("", shell={"enum": ["bash", "zsh", "fish"]}, script=TEXT),  # noqa: S604
    }  # fmt: skip


def _looking() -> Mapping[str, Schema]:
    """Return what commands print that change nothing."""
    return {
        "inspect": _object(
            "", name=TEXT, format=TEXT, inputs=SHAPES, outputs=SHAPES, regions=_list(WHOLE),
            totals=_object(
                "", parameters=WHOLE, operations=WHOLE, operations_without_fully_connected=WHOLE,
                target_=_object("What it costs an engine.", name=TEXT, cost=NUMBER),
            ),
            layers=LAYERS,
            groups=_list(
                _object("", name=TEXT, layers=_list(TEXT), channels=WHOLE, removable=WHOLE,
                        step=WHOLE, fixed=MAYBE_TEXT)
            ),
            blocks=_list(
                _object("", name=TEXT, layers=_list(TEXT), operations=WHOLE, parameters=WHOLE)
            ),
        ),
        "stat": _object(
            "", name=TEXT,
            totals=_object("", parameters=WHOLE, operations=WHOLE, vendor_operations=WHOLE,
                           macs=WHOLE),
            layers=_list(
                _object("", name=TEXT, type=TEXT, shape=SHAPE, parameters=WHOLE, operations=WHOLE,
                        vendor_operations=WHOLE, macs=WHOLE)
            ),
        ),
        "diff": _object(
            "", same=FLAG, before=TEXT, after=TEXT, gone=_list(TEXT), new=_list(TEXT),
            operations=_list(WHOLE), parameters=_list(WHOLE), texts=FLAG,
            layers=_list(
                _object("", before=SIDE, after=SIDE, gone=_list(TEXT), new=_list(TEXT),
                        weights=_list(CHANGE), same=FLAG)
            ),
        ),
        "predict": _object(
            "", models=_list(TEXT),
            samples=_list(
                _object("`found` has a list for each model.", name=TEXT, picture_=TEXT,
                        disagreement_=MAYBE, differs_=FLAG, found=_list(_list(_open(""))))
            ),
        ),
        "latency": {
            "type": "array", "description": "One entry an engine.",
            "items": _object("", engine=TEXT, version=TEXT, models=_list(TIMED), notes=_list(TEXT)),
        },
        "targets": {"type": "array", "description": "All of them.", "items": TARGET},
        "targets NAME": TARGET,
        "data check": _object(
            "", name=TEXT, samples=WHOLE, labels=MAYBE_TEXT, classes=_map(WHOLE),
            sizes=_list(_object("", height=WHOLE, width=WHOLE, samples=WHOLE)),
            without_objects=WHOLE, broken=WHOLE, problems=_list(TEXT),
        ),
    }  # fmt: skip


def _searching() -> Mapping[str, Schema]:
    """Return what commands print that also write the same to a file."""
    return {
        "ana": _object(
            "As analysis.json.", version=WHOLE, model=TEXT, model_digest=TEXT, digest=TEXT,
            data=TEXT, samples=WHOLE, metric=TEXT, baseline=MAYBE, criterion=TEXT,
            threshold=MAYBE, groups=_list(GROUP_CURVE),
        ),
        "study": STUDY,
        "iterate": _object(
            "As rounds.json.", version=WHOLE, model=TEXT, data=TEXT, samples=WHOLE, metric=TEXT,
            baseline=MAYBE, operations=WHOLE, parameters=WHOLE, rounds=_list(ROUND),
            validation=TEXT, validation_samples=WHOLE, best={"type": ["integer", "null"]},
        ),
    }  # fmt: skip
