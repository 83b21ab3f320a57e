"""The config of vai_p_caffe (decent_p before): a text protobuf that says what is pruned, and how.

Source: UG1333 1.1 to 2.0, and the configs of Vitis-AI-Tutorials 1.0, 01-caffe_cats_vs_dogs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import FormatError, Where, located, nearest_hint
from ...core.evaluation.tasks.detection import Detection, ElevenPoints, PlainArea
from ..adapter import key, keys_of
from .document import Message, Scalar, read_document
from .fields import read_fields

__all__ = ["AP_VERSIONS", "USUAL_AP_VERSION", "PrunerConfig", "read_pruner_config"]

METHODS = ("REGULAR",)
"""The only method that the vendor's pruner ever had."""

AP_VERSIONS: Mapping[str, type[Detection]] = {
    "11point": ElevenPoints, "MaxIntegral": Detection, "Integral": PlainArea,
}  # fmt: skip
"""Ways to count the average precision of a detector (caffe.proto of the SSD fork)."""

USUAL_AP_VERSION = "MaxIntegral"
"""Where a config names none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Exclude:
    layer_top: tuple[str, ...] = key(())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pruner:
    method: str = key("REGULAR", choices=METHODS)
    exclude: tuple[_Exclude, ...] = key(())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written:
    """The fields as they are written."""

    workspace: str = key()
    gpu: str = key("0")
    test_iter: int = key(100)
    acc_name: str = key()
    model: str = key()
    weights: str = key()
    solver: str = key("")
    rate: float | None = key(None)
    ssd_ap_version: str = key("")
    pruner: _Pruner | None = key(None)  # noqa: RUF009


@dataclass(frozen=True, kw_only=True, slots=True)
class PrunerConfig:
    """What a config says.

    Args:
        path: its file.
        workspace: folder of all results.
        gpu: numbers of GPUs.
        test_iter: batches of a measurement.
        acc_name: the top that holds the measured figure.
        model: the net with both phases.
        weights: its weights, or those of an earlier round.
        solver: how it is fine-tuned; "" where the config does not say it.
        rate: fraction of the operations to remove; None where the config does not say it.
        ssd_ap_version: how the average precision is counted; "" for the usual way.
        exclude: tops of layers that keep all channels, each with its line.
        lines: field → its line.
    """

    path: Path
    workspace: str
    gpu: str
    test_iter: int
    acc_name: str
    model: str
    weights: str
    solver: str
    rate: float | None
    ssd_ap_version: str
    exclude: tuple[tuple[str, int], ...]
    lines: Mapping[str, int] = field(compare=False)

    def where(self, name: str, line: int | None = None) -> Where:
        """Return the place of a field.

        Args:
            name: the field.
            line: its line, if not that of the first one of that name.
        """
        found = self.lines.get(name) if line is None else line
        return Where(file=str(self.path), line=found, field=name)

    def required(self, name: str) -> str | float:
        """Return a field that a command cannot do without.

        Raises:
            FormatError: the config does not say it.
        """
        value: str | float | None = getattr(self, name)
        if value is None or value == "":
            raise FormatError("required, but missing", where=self.where(name))
        return value


def read_pruner_config(path: Path) -> PrunerConfig:
    """Read a config.

    Raises:
        FormatError: it cannot be read, a field is unknown, missing or out of range; names file,
            line and field.
    """
    root = read_document(path).root
    with located(file=str(path)):
        if root.all("layer") or root.all("layers"):
            raise FormatError(
                "this is a net, not a config of the pruner", hint="the config names it as model"
            )
        _check_known(root, _Written)
        written = _Written(**read_fields(_Written, root, ""))
        lines = {found.name: found.line for found in reversed(root.fields)}
        names = {f.name for f in dataclasses.fields(_Written)} - {"pruner"}
        config = PrunerConfig(
            path=path, exclude=tuple(_excluded(root)), lines=lines,
            **{name: getattr(written, name) for name in names},
        )  # fmt: skip
        _check(config)
    return config


def _check(config: PrunerConfig) -> None:
    """Raise where a value is out of its range.

    Raises:
        FormatError: names the field.
    """
    for name in ("workspace", "acc_name", "model", "weights"):
        config.required(name)
    rate = config.rate
    if rate is not None and not 0.0 < rate < 1.0:
        hint = f"{rate / 100:g} for {rate:g} %" if 1.0 <= rate < 100.0 else None
        raise FormatError(
            f"the rate must be over 0 and below 1, got {rate:g}",
            hint=hint, where=config.where("rate"),
        )  # fmt: skip
    if config.test_iter < 1:
        raise FormatError(
            f"test_iter must be at least 1, got {config.test_iter}",
            where=config.where("test_iter"),
        )
    if config.ssd_ap_version and config.ssd_ap_version not in AP_VERSIONS:
        raise FormatError(
            f"'{config.ssd_ap_version[:80]}' is none of {', '.join(AP_VERSIONS)}",
            where=config.where("ssd_ap_version"),
        )


def _excluded(root: Message) -> Iterator[tuple[str, int]]:
    """Yield the tops that are excluded, with their lines."""
    for pruner in root.messages("pruner"):
        for exclude in pruner.messages("exclude"):
            for found in exclude.all("layer_top"):
                if isinstance(found.value, Scalar):
                    yield found.value.text, found.line


def _check_known(message: Message, cls: type) -> None:
    """Raise where a field is none of the config.

    Raises:
        FormatError: names it, and the nearest one that is known.
    """
    known = {(declared.names or (name,))[0]: name for name, (_, declared) in keys_of(cls).items()}
    inner = {"pruner": _Pruner, "exclude": _Exclude}
    for found in message.fields:
        if found.name not in known:
            hint = nearest_hint(found.name, known, f"known are {', '.join(known)}")
            with located(line=found.line):
                raise FormatError(f"there is no field '{found.name[:80]}' in a config", hint=hint)
        if found.name in inner and isinstance(found.value, Message):
            _check_known(found.value, inner[found.name])
