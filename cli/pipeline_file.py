"""The pipeline file: what its keys are, and how it is read.

A step's keys are the long flags of the command of that name. So what a key takes follows from the
option dataclasses, as the flags do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .entries import LAYERS, Entry, brief, composed, entries, layer_values, texts_of, with_setting
from .flags import Fields, Options, Raw, Slot, described
from .usage import FROM_FILE, UsageError, Written

if TYPE_CHECKING:
    import secateur

__all__ = ["NAME", "PATHS", "Section", "load_pipeline", "sections"]

NAME = "secateur.yaml"
"""The usual name of the file."""

SUBJECT = "a pipeline"

PATHS = frozenset(
    {"str | PathLike[str] | None", "Analysis | None", "Plan | None", "Mapping[str, float] | None"}
)
"""Types of fields that are written as paths."""

TOP_KEYS = ("model", "data", "preprocess", "task", "device", "output", "report")
"""Keys beside the steps."""

MODEL_KEYS = ("files", "companions")
"""Keys of a model beside the options of reading."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A mapping whose keys are flags.

    Args:
        options: the dataclass that it makes.
        help: what it is for.
        layers: whether it takes rates of single layers.
    """

    options: Options
    help: str
    layers: bool = False

    @property
    def slots(self) -> dict[str, Slot]:
        """The keys."""
        return {slot.key: slot for slot in self.options.slots()}

    def values(
        self, given: Sequence[Entry], base: Path, also: Sequence[str] = ()
    ) -> dict[str, Raw]:
        """Return what entries say, for :meth:`Options.made`.

        Args:
            given: the entries; of several with one key the first counts.
            base: the folder that paths start from.
            also: further keys that may stand there, for hints.

        Raises:
            FormatError: a key is unknown, or a value is of the wrong kind.
            UsageError: likewise, on the command line.
        """
        slots = self.slots
        found: dict[str, Raw] = {}
        known = [*also, *slots, *([LAYERS] if self.layers else [])]
        for entry in given:
            if entry.flag and entry.plain() is None:
                continue  # `--set prune.limit=null`: as if it was not given
            if _key(entry) == LAYERS and self.layers:
                found.update(_of_layers(entry, slots))
            elif _key(entry) in slots:
                slot = slots[_key(entry)]
                found.setdefault(slot.parameter, _raw(entry, slot, base))
            else:
                raise entry.unknown(
                    f"there is no key '{entry.key}' here", known, f"keys are {', '.join(known)}"
                )
        return found

    def made(self, given: Sequence[Entry], base: Path, also: Sequence[str] = ()) -> Any:
        """Return the options that entries make.

        Raises:
            FormatError, UsageError: as for :meth:`values`, or a value is impossible.
            PlanError, DataError: options are missing; the error names the option.
        """
        return _made(self.options, self.values(given, base, also), given)


@cache
def sections() -> Mapping[str, Section]:
    """Return the mappings of a pipeline file by their names."""
    import secateur

    reading = secateur.READING
    further = tuple(f.name for f in dataclasses.fields(secateur.DataOptions))
    kinds: dict[str, tuple[type, Fields]] = {
        "model": (secateur.LoadOptions, Fields()),
        "data": (secateur.DataOptions, Fields(only=reading)),
        "preprocess": (
            secateur.DataOptions,
            Fields(only=tuple(name for name in further if name not in reading)),
        ),
        "ana": (secateur.AnalyzeOptions, Fields(without=("task",))),
        "prune": (secateur.PruneStep, Fields(without=("task",))),
        "finetune": (secateur.FinetuneStep, Fields()),
        "transform": (secateur.DensifyOptions, Fields()),
        "valid": (secateur.EvaluateOptions, Fields(without=("task",))),
    }
    helps = {
        "model": "The model: its files, and how they are read.",
        "data": "Data by what it is for, and how it is read.",
        "preprocess": "How images become inputs, where that is not as the model's files say.",
        "ana": "Measure what each group of channels is worth; pruning goes by it.",
        "prune": "Remove channels.",
        "finetune": "Train what is left; the teacher is the model before pruning.",
        "transform": "Take the zeros of a sparse model out.",
        "valid": "Measure the models.",
    }
    return {
        name: Section(options=described(*kind), help=helps[name], layers=name == "prune")
        for name, kind in kinds.items()
    }


def load_pipeline(
    path: str | PathLike[str] = NAME, *, settings: Sequence[str] = ()
) -> secateur.Pipeline:
    """Read a pipeline file.

    Paths in it are relative to its folder.

    Args:
        path: the file, or a folder that holds one of the usual name.
        settings: what takes the place of values in the file, as `prune.rate=0.4`.

    Raises:
        FormatError: the file cannot be read or is no YAML, a key is unknown, or a value does not
            fit; it names file and line.
        UsageError: a setting is wrong.
        SecateurError: options contradict each other.
    """
    file = Path(path)
    file = file / NAME if file.is_dir() else file
    if not file.exists():
        import secateur

        where = secateur.Where(file=str(file))
        hint = "secateur init MODEL… writes one for a model"
        raise secateur.FormatError("no such file", hint=hint, where=where)
    return _File(file, settings).pipeline()


class _File:
    """A pipeline file, with the settings that change it."""

    def __init__(self, path: Path, settings: Sequence[str]):
        self._path = path
        self._base = path.parent
        root = composed(path, SUBJECT)
        for setting in settings:
            root = with_setting(root, setting)
        found = [] if root is None else list(entries(root, path, SUBJECT))
        self._entries = _once(found)

    def pipeline(self) -> secateur.Pipeline:
        """Return what it says."""
        import secateur

        known = [*TOP_KEYS, *secateur.STEPS]
        for entry in self._entries.values():
            if entry.key not in known:
                raise entry.unknown(
                    f"there is no key '{entry.key}' in a pipeline", known,
                    f"keys are {', '.join(known)}",
                )  # fmt: skip
        try:
            return secateur.Pipeline(
                **self._model(),
                data=self._data(),
                preprocess=self._section("preprocess"),
                **self._scalars(),
                **{name: self._section(name) for name in secateur.STEPS if self._wanted(name)},
            )
        except secateur.SecateurError as error:
            raise self._placed(error, error.option) from error

    def _model(self) -> dict[str, Any]:
        """Return the files of the model, and how they are read."""
        import yaml

        entry = self._entries.get("model")
        if entry is None:
            return {"model": ()}
        if not isinstance(entry.node, yaml.MappingNode):
            return {"model": self._paths(entry)}
        inner = self._inner(entry)
        own = {name: inner.pop(name) for name in MODEL_KEYS if name in inner}
        if "files" not in own:
            raise entry.wrong("the files of the model are missing", hint="files: […]")
        return {
            "model": self._paths(own["files"]),
            "companions": self._paths(own["companions"]) if "companions" in own else (),
            "loading": self._options("model", entry, list(inner.values()), MODEL_KEYS),
        }

    def _data(self) -> dict[str, secateur.DataSource]:
        """Return data by what it is for."""
        import yaml

        import secateur

        entry = self._entries.get("data")
        inner = self._inner(entry) if entry is not None else {}
        roles = {role: inner.pop(role) for role in secateur.ROLES if role in inner}
        shared = list(inner.values())
        preprocess = self._entries.get("preprocess")
        further = list(self._inner(preprocess).values()) if preprocess is not None else []
        known = sections()
        known["data"].values(shared, self._base, secateur.ROLES)  # a wrong key is always told
        found = {}
        for role, place in roles.items():
            own: dict[str, Entry] = {}
            path = place
            if isinstance(place.node, yaml.MappingNode):
                own = self._inner(place)
                if "path" not in own:
                    raise place.wrong(f"{role}: its path is missing", hint="path: …")
                path = own.pop("path")
            elif place.plain() is None or place.plain() is False:
                continue
            (text,) = texts_of(path, path.plain(), repeated=False, commas=False)
            given = [*own.values(), *shared]
            values = known["data"].values(given, self._base, ("path",))
            values |= known["preprocess"].values(further, self._base)
            try:
                options = _made(described(secateur.DataOptions), values, [*given, *further])
            except secateur.SecateurError as error:
                raise self._placed(error, role, place) from error
            there = self._base / text
            made = secateur.is_made(text) and not there.exists()
            found[role] = secateur.DataSource(path=text if made else there, options=options)
        return found

    def _scalars(self) -> dict[str, Any]:
        """Return task, device, output and report."""
        import secateur

        found: dict[str, Any] = {"output": self._base / secateur.Pipeline.output}
        for key in ("task", "device", "output", "report"):
            entry = self._entries.get(key)
            if entry is None or entry.plain() is None or (key, entry.plain()) == ("report", False):
                continue
            (text,) = texts_of(entry, entry.plain(), repeated=False, commas=False)
            found[key] = text if key in ("task", "device") else self._base / text
        return found

    def _wanted(self, step: str) -> bool:
        """Whether a step is there: its key is, and is not false."""
        entry = self._entries.get(step)
        return entry is not None and entry.plain() is not False

    def _section(self, name: str) -> Any:
        """Return the options of a mapping."""
        entry = self._entries.get(name)
        inner = self._inner(entry) if entry is not None else {}
        return self._options(name, entry, list(inner.values()))

    def _options(
        self, name: str, entry: Entry | None, given: Sequence[Entry], also: Sequence[str] = ()
    ) -> Any:
        import secateur

        try:
            return sections()[name].made(given, self._base, also)
        except secateur.SecateurError as error:
            raise self._placed(error, name, entry) from error

    def _inner(self, entry: Entry) -> dict[str, Entry]:
        """Return the entries of a mapping; none of an empty value."""
        value = entry.plain()
        if value is None or isinstance(value, bool):
            return {}
        inner = entries(entry.node, entry.path, entry.key, line=entry.line)
        return _once(inner)

    def _paths(self, entry: Entry) -> tuple[Path, ...]:
        texts = texts_of(entry, entry.plain(), repeated=True, commas=False)
        return tuple(self._base / text for text in texts)

    def _placed(
        self, error: secateur.SecateurError, option: str | None, entry: Entry | None = None
    ) -> Exception:
        """Return an error with a place in the file."""
        import secateur

        if error.where.file is not None:
            return error
        entry = entry if entry is not None else self._entries.get(option or "")
        if entry is not None and entry.flag:
            return entry.wrong(error.message, hint=error.hint)
        line = entry.line if entry is not None else None
        where = secateur.Where(file=str(self._path), line=line)
        return type(error)(error.message, hint=error.hint, where=where, option=error.option)


def _once(found: Iterable[Entry]) -> dict[str, Entry]:
    """Return entries by their keys.

    Raises:
        FormatError: one stands there twice.
    """
    known: dict[str, Entry] = {}
    for entry in found:
        if _key(entry) in known:
            raise entry.wrong(f"'{entry.key}' stands there twice")
        known[_key(entry)] = entry
    return known


def _key(entry: Entry) -> str:
    return entry.key.replace("_", "-")


def _raw(entry: Entry, slot: Slot, base: Path) -> Raw:
    """Return what an entry says, as a flag would."""
    value, flag = entry.plain(), slot.flag
    if flag.kind is bool:
        if not isinstance(value, bool):
            raise entry.wrong(f"{entry.key} must be true or false, got {brief(value)}")
        return value
    repeated = flag.kind == list[str]
    texts = texts_of(entry, value, repeated=repeated, commas="," in flag.metavar)
    if slot.kind in PATHS or (slot.kind == "str | None" and flag.metavar in ("FILE", "FOLDER")):
        texts = [str(base / text) for text in texts]
    if slot.key == "preprocess":
        texts = [_like(text, base) for text in texts]
    return tuple(Written(text, entry.name, entry.source) for text in texts)


def _like(text: str, base: Path) -> str:
    """Return the name of a preprocessing, or `like=FILE` with the file from a folder on."""
    start, equals, name = text.partition("=")
    return f"{start}={base / name}" if equals else text


def _of_layers(entry: Entry, slots: Mapping[str, Slot]) -> dict[str, Raw]:
    """Return rates and thresholds of single layers, by the flags that say the same."""
    found: dict[str, tuple[Written, ...]] = {}
    for value in layer_values(entry):
        name = slots[value.flag.removeprefix("--")].parameter
        written = Written(value.text, entry.flag or value.item, value.source)
        found[name] = (*found.get(name, ()), written)
    return dict(found)


def _made(options: Options, values: dict[str, Raw], given: Sequence[Entry]) -> Any:
    """Return the object that values make.

    Raises:
        FormatError, UsageError: a value is impossible.
        PlanError: one is missing.
    """
    import secateur

    switches = {f"--{_key(entry)}": Written("", entry.name, entry.source) for entry in given}
    token = FROM_FILE.set(switches)
    try:
        return options.made(dict(values), [])
    except UsageError as error:
        if error.flag.startswith("--set "):
            raise
        key = f"{error.flag.removeprefix('--')}: " if error.flag else ""
        raise secateur.PlanError(f"{key}{error.message}", hint=error.hint) from error
    finally:
        FROM_FILE.reset(token)
