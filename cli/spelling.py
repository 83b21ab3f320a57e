"""How the values of options are written on the command line.

A field is a flag of its name, and its type says how its values are written (:data:`BY_TYPE`).
Fields that are written otherwise stand in :data:`BY_FIELD`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, replace
from typing import Any

from .usage import UsageError, Written

__all__ = [
    "BY_FIELD",
    "BY_TYPE",
    "NESTED",
    "OPTIONAL",
    "PANELS",
    "Flag",
    "Optional",
    "Spelling",
    "shown",
    "spelling_of",
]

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
"""Units of memory."""

DEVICE = "auto|cpu|cuda:0,1|help"
"""How a device is written."""

SECONDS = {"s": 1, "m": 60, "h": 3600}
"""Units of time."""

Values = tuple[Written, ...]
"""What was given for a flag, one text for each time; empty where it was not given."""


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A flag of the command line.

    Args:
        names: as users write it; "--" and the name of the field where empty.
        metavar: what stands for its value. Where it has a comma, a list may stand for it in a
            configuration file.
        kind: `str`, `list[str]` for a flag that may be repeated, `bool` for a switch.
        negative: names that say the opposite.
        help: its help, where that of the field is not enough.
        hyphen: whether a value may begin with a hyphen.
    """

    names: tuple[str, ...] = ()
    metavar: str = ""
    kind: Any = str
    negative: tuple[str, ...] = ()
    help: str = ""
    hyphen: bool = False


def shown(value: Any) -> str:
    """Return a default as users would write it; "" where there is none to show."""
    if value is None or isinstance(value, bool) or value is MISSING or value == ():
        return ""
    if isinstance(value, tuple):
        return ",".join(shown(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, kw_only=True)
class Spelling:
    """How the values of a field are written.

    Args:
        read: what was given for each of the flags → value; raises ValueError.
        flags: the flags.
        shown: a default as help shows it.
        former: former values → what they are called now.
        always: whether to read even where no flag was given.
    """

    read: Callable[..., Any]
    flags: tuple[Flag, ...]
    shown: Callable[[Any], str] = shown
    former: Mapping[str, str] = field(default_factory=dict)
    always: bool = False


@dataclass(frozen=True, kw_only=True)
class Optional:
    """An option dataclass that may be a field of another.

    Args:
        name: of the class, a public name.
        wanted: its fields that the flag of the field says.
    """

    name: str
    wanted: tuple[str, ...]


def _text(values: Values) -> str:
    return values[-1].text


def _texts(values: Values) -> tuple[str, ...]:
    return tuple(value.text for value in values)


def _listed(values: Values) -> tuple[str, ...]:
    """Return names separated by commas."""
    return tuple(name.strip() for name in _text(values).split(",") if name.strip())


def _switch(value: bool) -> bool:
    return value


def _integer(values: Values) -> int:
    return _integer_of(_text(values))


def _integer_of(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"'{text}' is no whole number") from None


def _multiple(values: Values) -> int | str:
    """Return a number of channels, or the word for what fits the width of each group."""
    text = _text(values)
    return text if text == "auto" else _integer_of(text)


def _number(values: Values) -> float:
    return _number_of(_text(values))


def _number_of(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"'{text}' is no number{_without_percent(text)}") from None


def _without_percent(text: str) -> str:
    """Return how percents are written, for a text that ends with their sign."""
    try:
        return f": write {float(text.removesuffix('%')) / 100:g}" if text.endswith("%") else ""
    except ValueError:
        return ""


def _numbers(values: Values) -> tuple[float, ...]:
    return _numbers_of(_text(values))


def _numbers_of(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        hint = ": write 0.3 for 30 %" if "%" in text else ""
        raise ValueError(f"'{text}' is no list of numbers{hint}") from None


def _integers(values: Values) -> tuple[int, ...]:
    return tuple(_integer_of(part) for part in _text(values).split(","))


def _rates(values: Values) -> tuple[float, ...]:
    """Return the rates of FIRST:LAST:STEP, or of a list with commas."""
    text = _text(values)
    parts = text.split(":")
    if len(parts) == 1:
        return _numbers_of(text)
    if len(parts) != 3:
        raise ValueError(f"'{text}' is not FIRST:LAST:STEP")
    first, last, step = (_numbers_of(part)[0] for part in parts)
    if not (step > 0 and math.isfinite(step) and 0 < first <= last < 1):
        percent = " (hint: 0.3 for 30 %)" if 1 < last <= 100 else ""
        raise ValueError(f"'{text}' must rise from over 0 to below 1{percent}")
    count = min(1000, math.floor((last - first) / step + 1e-9) + 1)
    return tuple(round(first + k * step, 9) for k in range(count))


def _shown_rates(rates: Sequence[float]) -> str:
    """Return equal steps as FIRST:LAST:STEP."""
    step = round(rates[1] - rates[0], 9)
    return f"{rates[0]:g}:{rates[-1]:g}:{step:g}"


def _rounds(rates: Values, to: Values, rounds: Values, schedule: Values) -> tuple[float, ...]:
    """Return the rates of all rounds, as a list or as a schedule gives them."""
    if bool(rates) == bool(to) or bool(to) != bool(rounds):
        raise UsageError("give --rates, or --to with --rounds", flag="--rates")
    if rates and schedule:
        raise schedule[-1].wrong("it goes with --to and --rounds")
    if rates:
        return _numbers(rates)
    import secateur

    try:
        chosen = {"schedule": _text(schedule)} if schedule else {}
        return secateur.rising_rates(_number(to), _integer(rounds), **chosen)
    except secateur.PlanError as error:
        wrong = {"rounds": rounds, "schedule": schedule}.get(error.option or "", to)
        raise wrong[-1].wrong(error.message, hint=error.hint) from error


LENGTHS = {"": "epochs", "epoch": "epochs", "epochs": "epochs", "step": "steps", "steps": "steps"}
"""What ends a length of training → the field that says it."""


def _length(values: Values) -> dict[str, float]:
    """Return epochs, steps or a time in seconds by the field that says it."""
    text = _text(values).strip().lower()
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(number) :].strip()
    wrong = f"'{text}' is no length, such as 2epochs, 500steps or 10m"
    try:
        if LENGTHS.get(unit) == "steps":
            return {"steps": int(number)}
        size = float(number) * SECONDS.get(unit, 1)
        if math.isfinite(size):
            return {"time" if unit in SECONDS else LENGTHS[unit]: size}
    except (ValueError, KeyError):
        pass
    raise ValueError(wrong)


def _start(values: Values) -> bool:
    return bool(_choice("original", "previous").read(values))


def _sizes(values: Values) -> tuple[int, ...]:
    """Return a short side, or height and width."""
    text = _text(values)
    parts = text.replace("x", ",").split(",")
    if len(parts) > 2 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"'{text}' is no SHORT_SIDE or H,W")
    return tuple(int(part) for part in parts)


def _shapes(values: Values) -> dict[str, tuple[int, ...]]:
    """Return input → C, H, W."""
    shapes = {}
    for value in values:
        name, _, sizes = value.text.rpartition("=")
        parts = sizes.split(",")
        if not name or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
            raise value.wrong(f"'{value.text}' is not NAME=C,H,W")
        shapes[name] = tuple(int(part) for part in parts)
    return shapes


def _overrides(rates: Values, thresholds: Values) -> dict[str, Any]:
    """Return layer → override; the command line takes the place of what a file says of a layer."""
    import secateur

    found: dict[bool, dict[str, Any]] = {False: {}, True: {}}
    for key, values in (("rate", rates), ("threshold", thresholds)):
        for value in values:
            name, equals, number = value.text.rpartition("=")
            if not equals or not name:
                raise value.wrong(f"'{value.text}' is not NAME=VALUE")
            if name in found[value.on_command_line]:
                raise value.wrong(f"'{name}' stands there twice")
            try:
                override = secateur.Override(**{key: _numbers_of(number)[0]})
            except (ValueError, secateur.PlanError) as error:
                raise value.wrong(str(error)) from error
            found[value.on_command_line][name] = override
    return {**found[False], **found[True]}


def _seconds(values: Values) -> float:
    """Return a time in seconds, which may end in s, m or h."""
    text = _text(values).strip().lower()
    unit = SECONDS.get(text[-1:])
    return _number_of(text if unit is None else text[:-1]) * (unit or 1)


def _shown_seconds(value: float | None) -> str:
    """Return a time with the largest unit that leaves a whole number."""
    if value is None:
        return ""
    unit = next((name for name, size in reversed(SECONDS.items()) if value % size == 0), "")
    return f"{value / SECONDS.get(unit, 1):g}{unit}"


def _bytes(values: Values) -> int:
    """Return a number of bytes, which may end in K, M or G."""
    text = _text(values).upper().removesuffix("B").removesuffix("I")
    unit = UNITS.get(text[-1:], 1)
    return _integer_of(text if unit == 1 else text[:-1]) * unit


def _shown_bytes(value: int) -> str:
    """Return a number of bytes with the largest unit that leaves a whole number."""
    unit = next((name for name, size in reversed(UNITS.items()) if value % size == 0), "")
    return f"{value // UNITS.get(unit, 1)}{unit}"


def _analysis(values: Values) -> Any:
    import secateur

    return secateur.load_analysis(_text(values))


def _latencies(values: Values) -> Any:
    import secateur

    return secateur.load_latencies(_text(values))


def _target(values: Values) -> Any:
    import secateur

    return secateur.find_target(_text(values))


def _engine(values: Values) -> Any:
    import secateur

    return secateur.find_engine(_text(values))


def _plan(values: Values) -> Any:
    import secateur

    return secateur.load_plan(_text(values))


def _repair(values: Values | None) -> str:
    """Return the names of repairs; --no-repair gives None."""
    return _text(values) if values is not None else "none"


def _blocks(values: Values) -> int | str | tuple[str, ...]:
    """Return a number of blocks, auto, or names of layers (a number with a comma is a name)."""
    text = _text(values).strip()
    if text.isdecimal() or text == "auto":
        return int(text) if text.isdecimal() else text
    if text.startswith("-") and text[1:].isdecimal():
        raise ValueError("a number of blocks is 1 or more")
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _phase(values: Values) -> str:
    return _text(values).upper()


def _choice(off: str, on: str) -> Spelling:
    """Return the spelling of a switch as a choice of two names."""

    def read(values: Values) -> bool:
        text = _text(values)
        if text not in (off, on):
            raise ValueError(f"must be {off} or {on}")
        return text == on

    return Spelling(
        read=read,
        flags=(Flag(metavar=f"{off}|{on}"),),
        shown=lambda value: on if value else off,
    )


def _flag(read: Callable[..., Any], *names: str, **about: Any) -> Spelling:
    """Return the spelling of a field with one flag."""
    return Spelling(read=read, flags=(Flag(names=names, **about),))


def _named(spelling: Spelling, *names: str) -> Spelling:
    return replace(spelling, flags=(replace(spelling.flags[0], names=names),))


BY_TYPE: Mapping[str, Spelling] = {
    "bool": _flag(_switch, kind=bool),
    "int": _flag(_integer, metavar="N"),
    "int | None": _flag(_integer, metavar="N"),
    "float": _flag(_number, metavar="R"),
    "float | None": _flag(_number, metavar="R"),
    "str": _flag(_text, metavar="NAME"),
    "str | None": _flag(_text, metavar="NAME"),
    "str | PathLike[str] | None": _flag(_text, metavar="PATH"),
    "Sequence[str]": _flag(_texts, metavar="NAME", kind=list[str]),
    "Sequence[int]": _flag(_integers, metavar="N,N…"),
    "Sequence[float]": replace(_flag(_rates, metavar="FIRST:LAST:STEP|R,R…"), shown=_shown_rates),
    "Sequence[float] | None": _flag(_numbers, metavar="V[,V,V]", hyphen=True),
    "Task | str | None": _flag(_text, metavar="NAME|help"),
    "Analysis | None": _flag(_analysis, metavar="PATH"),
    "Target | None": _flag(_target, metavar="NAME|FILE.yaml"),
    "Stopwatch | None": _flag(_engine, metavar="NAME|help"),
    "Plan | None": _flag(_plan, metavar="PLAN"),
    "LayerTimes | None": _flag(_latencies, metavar="FILE"),
    "Mapping[str, Sequence[int]]": _flag(_shapes, metavar="NAME=C,H,W", kind=list[str]),
    "Mapping[str, Override]": Spelling(
        read=_overrides,
        flags=(
            Flag(
                names=("--layer-rate",),
                metavar="NAME=R",
                kind=list[str],
                help="Fraction of its channels that this layer loses.",
            ),
            Flag(
                names=("--layer-threshold",),
                metavar="NAME=LOSS",
                kind=list[str],
                help="Loss to allow for this layer (needs --analysis).",
            ),
        ),
    ),
    "Repairs": _flag(
        _repair,
        metavar="auto|none|NAME,NAME…|help",
        kind=str | None,
        negative=("--no-repair",),
    ),
}
"""How values of a type are written, by the type as the field has it."""

NESTED = frozenset({"FinetuneOptions", "Limits", "SparsifyOptions"})
"""Types whose own fields are flags."""

OPTIONAL: Mapping[str, Optional] = {
    "FinetuneOptions | None": Optional(name="FinetuneOptions", wanted=("epochs", "steps", "time")),
}
"""Types whose own fields are flags with the name of the field before theirs."""

BY_FIELD: Mapping[str, Spelling] = {
    "ChoiceOptions.criterion": replace(
        _flag(_text, metavar="NAME|help"), former={"surgery": "obs"}
    ),
    "ChoiceOptions.allocation": _flag(_text, metavar="NAME|help"),
    "ChoiceOptions.normalize": _flag(_text, metavar="auto|none|mean|layer-l2|max"),
    "ChoiceOptions.budget": _flag(_text, metavar="UNIT"),
    "ChoiceOptions.drop_blocks": _flag(_blocks, metavar="N|auto|LAYER,LAYER…"),
    "ChoiceOptions.exclude": _flag(_texts, metavar="LAYER", kind=list[str]),
    "Limits.round_to": _flag(_multiple, metavar="K|auto"),
    "PruneOptions.threshold": _flag(_number, metavar="LOSS"),
    "PruneOptions.target_latency": _flag(_text, metavar="5ms|0.6x"),
    "PruneOptions.plan": _flag(_plan, "--keep", metavar="PLAN"),
    "PruneOptions.sparse": _named(_choice("dense", "sparse"), "--mode"),
    "IterateOptions.rates": Spelling(
        read=_rounds,
        flags=(
            Flag(names=("--rates",), metavar="R,R…"),
            Flag(
                names=("--to",),
                metavar="R",
                help="Rate of the last round. --rounds says in how many steps.",
            ),
            Flag(names=("--rounds",), metavar="N", help="Number of rounds that lead to --to."),
            Flag(
                names=("--schedule",),
                metavar="linear|geometric",
                help="How rates rise to --to: in equal steps, or so that each round takes the same "
                "part of what is left (linear if not given).",
            ),
        ),
        always=True,
    ),
    "IterateOptions.previous": _flag(_start, "--from", metavar="original|previous"),
    "IterateOptions.finetune": _flag(_length, metavar="LENGTH"),
    "IterateOptions.max_drop": _flag(_number, metavar="POINTS"),
    "IterateOptions.max_divergence": _flag(_number, metavar="D"),
    "PruneStep.max_drop": _flag(_number, metavar="POINTS"),
    "FinetuneStep.solver": _flag(_text, metavar="FILE"),
    "AnalyzeOptions.criterion": _flag(_text, metavar="NAME|help"),
    "AnalyzeOptions.threshold": _flag(_number, metavar="LOSS"),
    "AnalyzeOptions.exclude": _flag(_texts, metavar="LAYER", kind=list[str]),
    "AnalyzeOptions.memory": replace(_flag(_bytes, metavar="BYTES"), shown=_shown_bytes),
    "StudyOptions.methods": _flag(_listed, metavar="NAME,NAME+NAME…|help"),
    "StudyOptions.repairs": _flag(_listed, "--repair", metavar="auto,none,NAME+NAME…|help"),
    "StudyOptions.finetune": _flag(_length, metavar="LENGTH"),
    "StudyOptions.budget": _flag(_text, metavar="UNIT"),
    "StudyOptions.exclude": _flag(_texts, metavar="LAYER", kind=list[str]),
    "StudyOptions.latency": _flag(_switch, kind=bool, negative=("--no-latency",)),
    "FinetuneOptions.time": replace(_flag(_seconds, metavar="10m"), shown=_shown_seconds),
    "FinetuneOptions.checkpoint": replace(_flag(_seconds, metavar="5m"), shown=_shown_seconds),
    "FinetuneOptions.method": _flag(_text, metavar="adam|sgd"),
    "FinetuneOptions.match": _flag(_text, metavar="auto|layers|features|outputs|both"),
    "FinetuneOptions.train": _flag(_text, metavar="auto|all|vectors"),
    "FinetuneOptions.normalize": _flag(_text, metavar="auto|batch|stored"),
    "FinetuneOptions.augment": _flag(_text, metavar="auto|usual|none"),
    "FinetuneOptions.precision": _flag(_text, metavar="float32|bfloat16|float16"),
    "FinetuneOptions.freeze": _flag(_texts, metavar="LAYER", kind=list[str]),
    "SparsifyOptions.method": _flag(_text, "--sparsify", metavar="NAME|help"),
    "SparsifyOptions.criterion": _flag(_text, metavar="NAME"),
    "SparsifyOptions.exclude": _flag(_texts, metavar="LAYER", kind=list[str]),
    "DeviceOptions.device": _flag(_text, metavar=DEVICE),
    "FinetuneOptions.device": _flag(_text, metavar="auto|cpu|cuda:1"),
    "PredictOptions.suppress": _flag(_number, "--nms", metavar="R"),
    "PredictOptions.top": _flag(_integer, "--top-k", metavar="K"),
    "TaskOptions.top": _flag(_integers, "--top-k", metavar="K,K…"),
    "TaskOptions.suppress": _flag(_number, "--nms", metavar="R"),
    "TaskOptions.overlap": _flag(_number, "--iou", metavar="R"),
    "DataOptions.mean_file": _flag(_text, metavar="FILE"),
    "DataOptions.channels": _flag(_text, metavar="bgr|rgb|gray"),
    "DataOptions.letterbox": _flag(_switch, kind=bool, negative=("--stretch",)),
    "DataOptions.resize": _flag(_sizes, metavar="SIDE|H,W"),
    "DataOptions.preprocessing": _flag(_text, "--preprocess", metavar="auto|like=FILE|NAME"),
    "DataOptions.root": _flag(_text, metavar="FOLDER"),
    "DataOptions.names": _flag(_text, metavar="FILE"),
    "DataOptions.ignore_label": _flag(_integer, metavar="CLASS"),
    "LoadOptions.flavour": _flag(_text, metavar="auto|alexeyab|pjreddie"),
    "LoadOptions.batch_norm": _flag(_text, metavar="auto|stored|batch"),
    "LoadOptions.phase": _flag(_phase, metavar="TEST|TRAIN"),
    "LoadOptions.stages": _flag(_texts, "--stage", "--stages", metavar="NAME", kind=list[str]),
    "LoadOptions.opaque": _flag(_texts, metavar="TYPE", kind=list[str]),
    "LoadOptions.input_shapes": _flag(
        _shapes, "--input-shape", metavar="NAME=C,H,W", kind=list[str]
    ),
    "LoadOptions.lrn": _flag(_text, metavar="exact|inexact"),
    "ScreenOptions.quiet": _flag(_switch, "--quiet", "-q", kind=bool),
    "ScreenOptions.verbose": _flag(_switch, "--verbose", "-v", kind=bool),
}
"""Fields that are written otherwise than their types say: Class.field → how."""

PANELS: Mapping[str, str] = {
    "ChoiceOptions": "CHOICE",
    "DataOptions": "DATA",
    "LoadOptions": "MODEL",
    "ScreenOptions": "SCREEN",
    "SparsifyOptions": "CHOICE",
}
"""Panels of the fields that a class declares; others stand among the options of the command."""


def spelling_of(owner: str, field: str, kind: str) -> Spelling:
    """Return how a field is written.

    Args:
        owner: name of the class that declares it.
        field: its name.
        kind: its type, as text.
    """
    return BY_FIELD.get(f"{owner}.{field}") or BY_TYPE[kind]
