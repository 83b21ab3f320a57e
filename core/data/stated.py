"""What is said of preprocessing: in words for people, as plain values for plans, and in notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Protocol, runtime_checkable

from ..errors import PlanError, nearest_hint
from ..ir.network import Caution, Network, Preprocess
from .base import Dataset

__all__ = [
    "PREPROCESS",
    "PreparedDataset",
    "described",
    "input_notes",
    "plain",
    "preprocess_of",
    "remembered",
    "used_preprocess",
]

PREPROCESS = "preprocess"
"""Key of a plan with all that."""

ORIGIN = "from"
"""Key of what said it."""

FIELDS = tuple(
    field.name
    for field in fields(Preprocess)
    if field.name not in ("mean_image", "origin", "remark")
)
"""What a plan remembers."""


@runtime_checkable
class PreparedDataset(Protocol):
    """A dataset that makes inputs of pixels."""

    @property
    def preprocess(self) -> Preprocess | None:
        """How; None where the inputs come as they are."""
        ...


def used_preprocess(dataset: Dataset | None) -> Preprocess | None:
    """Return how a dataset makes inputs of pixels; None where it does not."""
    return dataset.preprocess if isinstance(dataset, PreparedDataset) else None


def input_notes(network: Network, dataset: Dataset | None) -> tuple[str, ...]:
    """Return what users should know of how pixels become inputs: a caution where it is assumed.

    Args:
        network: what the data was opened for.
        dataset: the data.
    """
    used = used_preprocess(dataset)
    if used is None or (used.origin and not used.remark):
        return ()
    if used.origin:
        return (used.remark,)
    why = used.remark or f"the files of '{network.name}' do not say how images become inputs"
    return (
        Caution(
            f"{why}: {described(used)} is assumed, which may be wrong (--mean, --scale, "
            "--preprocess like=FILE or auto)"
        ),
    )


def described(preprocess: Preprocess) -> str:
    """Return preprocessing in a few words."""
    parts = [preprocess.channels.upper() if preprocess.channels != "gray" else "grey"]
    if preprocess.mean_file:
        parts.append(f"less the mean image {preprocess.mean_file}")
    elif any(preprocess.mean):
        parts.append(f"less {','.join(f'{value:g}' for value in preprocess.mean)}")
    if preprocess.scale != 1:
        parts.append(f"times {preprocess.scale:.4g}")
    if not preprocess.mean_file and not any(preprocess.mean) and preprocess.scale == 1:
        parts.append("from 0 to 255")
    sizes = "×".join(map(str, preprocess.resize))
    if preprocess.letterbox:
        parts.append("letterboxed")
    elif preprocess.crop:
        parts.append(f"resized to {sizes} and cut" if sizes else "cut")
    return ", ".join(parts)


def plain(preprocess: Preprocess) -> dict[str, Any]:
    """Return plain values for a plan: what says it, and what is not the default."""
    usual = Preprocess()
    found: dict[str, Any] = {"channels": preprocess.channels}
    for name in FIELDS[1:]:
        value = getattr(preprocess, name)
        if value != getattr(usual, name):
            found[name] = list(value) if isinstance(value, tuple) else value
    return {**found, ORIGIN: preprocess.origin or "assumed"}


def remembered(dataset: Dataset | None) -> dict[str, Any]:
    """Return what a plan remembers of how a dataset made inputs of pixels; {} where it did not."""
    used = used_preprocess(dataset)
    return {} if used is None else {PREPROCESS: plain(used)}


def preprocess_of(values: Any, origin: str) -> Preprocess:
    """Return preprocessing from the plain values of a plan.

    Args:
        values: what :func:`plain` gave.
        origin: what says it now.

    Raises:
        PlanError: a value is of the wrong kind, or a key is unknown.
    """
    if not isinstance(values, Mapping):
        raise PlanError("preprocess must be a mapping")
    found = Preprocess(origin=origin)
    for name, value in values.items():
        if name == ORIGIN:
            continue
        if name not in FIELDS:
            raise PlanError(
                f"preprocess has no '{name}'",
                hint=nearest_hint(str(name), FIELDS, f"it has {', '.join(FIELDS)}"),
            )
        found = replace(found, **{name: _converted(name, value, getattr(found, name))})
    return found


def _converted(name: str, value: Any, usual: Any) -> Any:
    """Return a value of the kind that a field has.

    Raises:
        PlanError: it is of another.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(usual, tuple) and isinstance(value, list):
        kind = int if name == "resize" else float
        if all(isinstance(one, int | float) and not isinstance(one, bool) for one in value):
            return tuple(kind(one) for one in value)
    elif isinstance(usual, bool | str):
        if type(value) is type(usual):
            return value
    elif isinstance(usual, float) and number:
        return float(value)
    raise PlanError(f"preprocess.{name} cannot be {value!r}")
