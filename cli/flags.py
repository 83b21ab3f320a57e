"""Flags from option dataclasses: what a command takes is spelled in the library alone.

A command is a function; some of its parameters are option dataclasses. :func:`with_flags` gives
cyclopts a function with one parameter for every flag of every field, and calls the command with the
objects that the flags make. The help of a flag is the text below the field; how values of a type
are written stands in :mod:`.spelling`.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import math
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter, Token

from .screen import ScreenOptions
from .spelling import NESTED, OPTIONAL, PANELS, Flag, Spelling, shown, spelling_of
from .usage import FROM_FILE, UsageError, Written
from .values import OF_COMMANDS, Values, values_of

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions

    import secateur

__all__ = [
    "COMPLETING", "CONFIG", "SHOWN", "Fields", "Options", "Panel", "Raw", "Slot", "described",
    "field_texts", "with_flags",
]  # fmt: skip

Raw = tuple[Written, ...] | bool | None
"""What cyclopts gives for a flag: texts, a switch, or None for --no-repair."""

NOT_GIVEN: Raw = ()
"""The value of a flag that nobody gave."""

CONFIG = "--config"

REPEATED = " May be repeated."
"""Ends the help of a flag that may be given several times."""


SHOWN: ContextVar[frozenset[str] | None] = ContextVar("SHOWN", default=None)
"""The flags that a help page shows; None for all."""

COMPLETING: ContextVar[bool] = ContextVar("COMPLETING", default=False)
"""Whether commands are read to write completions: then values of flags are known to the parser."""


LABELS = 0.35
"""How much of the width the names of flags take at most, as the parser prints them."""

INDENT = 2
"""Blanks before what goes on in another line there."""


def _shown_entries(console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
    """Print a panel with the flags that are to be shown."""
    from cyclopts.help import DefaultFormatter

    shown = SHOWN.get()
    if shown is not None:
        kept = [entry for entry in panel.entries if shown.intersection(entry.all_options)]
        panel = panel.copy(entries=kept)
    entries = [
        entry.copy(metavar=_broken(entry.metavar, math.ceil(LABELS * console.width) - INDENT))
        for entry in panel.entries
    ]
    if entries:
        DefaultFormatter()(console, options, panel.copy(entries=entries))


def _broken(metavar: str | None, width: int) -> str | None:
    """Return the values of a flag with a blank where they do not fit a line: behind a stroke."""
    if metavar is None or len(metavar) <= width:
        return metavar
    start = metavar.rfind("|", 0, width) + 1
    rest = _broken(metavar[start:], width)
    return f"{metavar[:start]} {rest}" if start else metavar


def _panel(name: str, place: int) -> Group:
    return Group(name, sort_key=place, help_formatter=_shown_entries)


class Panel:
    """The panels that group flags in a help page, in their order."""

    OPTIONS = _panel("Options", 0)
    CHOICE = _panel("Choice", 1)
    TRAINING = _panel("Fine-tuning", 2)
    DATA = _panel("Data", 3)
    MODEL = _panel("Model", 4)
    SCREEN = _panel("Screen", 5)


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Which fields of an option dataclass a command takes: these only, or all without those."""

    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def __contains__(self, name: str) -> bool:
        """Whether the command takes a field."""
        return (not self.only or name in self.only) and name not in self.without


ALL = Fields()


def with_flags(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """Return a command that takes flags where the function takes option dataclasses."""
    signature = inspect.signature(function, eval_str=True)
    groups = {
        name: found
        for name, parameter in signature.parameters.items()
        if (found := _options(name, parameter.annotation)) is not None
    }

    @functools.wraps(function)
    def flat(*positional: Any, **values: Any) -> int | None:
        values.pop("config", None)  # read before: its values are here
        notes: list[str] = []
        made = {name: group.made(values, notes) for name, group in groups.items()}
        for screen in made.values():
            if isinstance(screen, ScreenOptions) and notes:
                terminal = screen.terminal()
                for note in notes:
                    terminal.note(f"note: {note}")
        return function(*positional, **values, **made)

    flags = [
        parameter
        for name, own in signature.parameters.items()
        for parameter in (groups[name].parameters() if name in groups else (own,))
    ]
    config = inspect.Parameter(
        "config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Config
    )
    # Cyclopts looks at both, and would look through to the function itself if it was wrapped.
    flat.__signature__ = signature.replace(parameters=[*flags, config])  # type: ignore[attr-defined]
    flat.__annotations__ = {flag.name: flag.annotation for flag in (*flags, config)}
    flat.values = {  # type: ignore[attr-defined]
        **OF_COMMANDS.get(function.__module__.rpartition(".")[2], {}),
        **{flag: own for group in groups.values() for flag, own in group.values()},
    }
    del flat.__wrapped__
    return flat


Config = Annotated[
    Path | None,
    Parameter(
        name=CONFIG,
        metavar="FILE",
        help="YAML file with options: keys are their long names. The command line wins.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A flag as a key of a file, and where its value goes.

    Args:
        key: the long name of the flag, without hyphens before it.
        parameter: name of the value for :meth:`Options.made`.
        flag: how its value is written.
        help: its help.
        kind: the type of the field, as text.
        default: the default as users would write it; "" where there is none to show.
        values: what it may be; None where any value may be given.
    """

    key: str
    parameter: str
    flag: Flag
    help: str
    kind: str
    default: str
    values: Values | None = None


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One field, and the parameters of its flags."""

    field: str
    spelling: Spelling
    help: str
    default: Any
    panel: Group
    names: tuple[str, ...]
    owner: str
    kind: str
    prefix: str = ""

    def values(self) -> Iterator[tuple[str, Values]]:
        """Yield each name of a flag whose values are known, and these."""
        for flag in self.spelling.flags:
            names = self._flag_names(flag)
            own = flag.names[0] if flag.names else names[0]
            found = values_of(self.owner, self.field, own)
            if found is not None:
                yield from ((name, found) for name in names)

    def slots(self) -> Iterator[Slot]:
        """Yield a key for every flag."""
        known = dict(self.values())
        for name, flag in self.flags():
            long = next(text for text in self._flag_names(flag) if text.startswith("--"))
            shown = self.spelling.shown(self.default) if flag is self.spelling.flags[0] else ""
            yield Slot(
                key=long.removeprefix("--"),
                parameter=name,
                flag=flag,
                help=flag.help or self.help,
                kind=self.kind,
                default=shown,
                values=known.get(long),
            )

    def flags(self) -> Iterator[tuple[str, Flag]]:
        """Yield the name of the parameter and the flag."""
        return zip(self.names, self.spelling.flags, strict=True)

    def parameters(self) -> Iterator[inspect.Parameter]:
        """Yield a parameter for every flag."""
        for name, flag in self.flags():
            shown = self.spelling.shown(self.default) if flag is self.spelling.flags[0] else ""
            about = Parameter(
                name=self._flag_names(flag),
                converter=_written,
                help=f"{flag.help or self.help}{REPEATED if flag.kind == list[str] else ''}",
                metavar=flag.metavar or None,
                group=self.panel,
                negative=flag.negative,
                show_default=shown or False,
                allow_leading_hyphen=flag.hyphen,
            )
            yield inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=NOT_GIVEN,
                annotation=Annotated[self._kind(flag), about],
            )

    def _kind(self, flag: Flag) -> Any:
        """Return the type of a flag for the parser, with its values where they are offered."""
        found = dict(self.values()).get(self._flag_names(flag)[0]) if COMPLETING.get() else None
        if found is None or flag.kind not in (str, str | None):
            return flag.kind
        return Literal[tuple(name for name, _ in found() if name.isidentifier())]

    def first_name(self) -> str:
        """Return the flag as users write it."""
        return self._flag_names(self.spelling.flags[0])[0]

    def _flag_names(self, flag: Flag) -> tuple[str, ...]:
        names = flag.names or (_flag_name(self.field),)
        if not self.prefix:
            return names
        return tuple(f"--{self.prefix}{name[2:]}" for name in names if name.startswith("--"))


@dataclass(frozen=True, kw_only=True)
class Options:
    """An option dataclass that a command takes."""

    kind: type[Any]
    entries: tuple[_Entry, ...]
    nested: Mapping[str, Options]
    optional: Mapping[str, _Optional]

    def values(self) -> Iterator[tuple[str, Values]]:
        """Yield each name of a flag whose values are known, and these."""
        parts: tuple[_Entry | Options | _Optional, ...] = (
            *self.entries, *self.nested.values(), *self.optional.values(),
        )  # fmt: skip
        for part in parts:
            yield from part.values()

    def slots(self) -> Iterator[Slot]:
        """Yield a key for every flag but those of options that may be left out."""
        for entry in self.entries:
            yield from entry.slots()
        for options in self.nested.values():
            yield from options.slots()

    def keys(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values of fields as a file says them, by the first flags of the fields."""
        found: dict[str, Any] = {}
        for entry in self.entries:
            if entry.field in values:
                slot = next(entry.slots())
                found[slot.key] = _plain(values[entry.field], entry.spelling)
        for options in self.nested.values():
            found |= options.keys(values)
        return found

    def parameters(self) -> Iterator[inspect.Parameter]:
        """Yield a parameter for every flag."""
        for entry in self.entries:
            yield from entry.parameters()
        for options in self.nested.values():
            yield from options.parameters()
        for optional in self.optional.values():
            yield from optional.parameters()

    def made(self, values: dict[str, Any], notes: list[str]) -> Any:
        """Return the object that the flags make, and take their values out of `values`.

        Args:
            values: name of a parameter → what was given.
            notes: what users should know is added here.

        Raises:
            UsageError: a value of the command line is impossible.
            FormatError: a value of a configuration file is impossible.
        """
        return self.completed({}, {}, values, notes)

    def completed(
        self,
        given: dict[str, Any],
        places: dict[str, tuple[str, Sequence[Raw]]],
        values: dict[str, Any],
        notes: list[str],
    ) -> Any:
        """Return the object that the flags make beside values that are known.

        Args:
            given: field → value.
            places: field → its flag, and what was given for it.
            values: as for :meth:`made`.
            notes: likewise.

        Raises:
            UsageError, FormatError: as for :meth:`made`.
        """
        import secateur

        for entry in self.entries:
            raw = [values.pop(name, NOT_GIVEN) for name in entry.names]
            places[entry.field] = (entry.first_name(), raw)
            if entry.spelling.always or any(value != NOT_GIVEN for value in raw):
                given[entry.field] = _read(entry, raw, notes)
        for name, options in self.nested.items():
            given[name] = options.made(values, notes)
        for name, optional in self.optional.items():
            given[name] = optional.made(values, notes)
        try:
            return self.kind(**given)
        except secateur.SecateurError as error:
            raise _refused(error, places) from error


@dataclass(frozen=True, kw_only=True)
class _Optional:
    """An option dataclass that is a field of another, or None there.

    One flag says that it is wanted, with some of its fields. Those for the others have the name of
    the field before their own.
    """

    wanted: _Entry
    options: Options

    def values(self) -> Iterator[tuple[str, Values]]:
        """Yield each name of a flag whose values are known, and these."""
        yield from self.options.values()

    def parameters(self) -> Iterator[inspect.Parameter]:
        """Yield a parameter for every flag."""
        yield from self.wanted.parameters()
        yield from self.options.parameters()

    def made(self, values: dict[str, Any], notes: list[str]) -> Any:
        """Return the object that the flags make; None where it is not wanted.

        Raises:
            UsageError: flags say more of something that is not wanted.
        """
        (name,), flag = self.wanted.names, self.wanted.first_name()
        raw = values.pop(name, NOT_GIVEN)
        if raw == NOT_GIVEN:
            for entry in self.options.entries:
                given = [values.pop(own, NOT_GIVEN) for own in entry.names]
                if any(one != NOT_GIVEN for one in given):
                    raise UsageError(f"it goes with {flag}", flag=entry.first_name())
            return None
        known = _read(self.wanted, [raw], notes)
        places: dict[str, tuple[str, Sequence[Raw]]] = dict.fromkeys(known, (flag, [raw]))
        return self.options.completed(known, places, values, notes)


def _refused(
    error: secateur.SecateurError, places: Mapping[str, tuple[str, Sequence[Raw]]]
) -> Exception:
    """Return what a check of options says to the user: it names the flag, or file and line.

    Args:
        error: what the check raised.
        places: field → its flag, and what was given for it.
    """
    option = error.option or ""
    flag, raw = places.get(option, (_flag_name(option) if option else "", ()))
    for value in raw:
        if isinstance(value, tuple) and value:
            return value[-1].wrong(error.message, hint=error.hint)
    switch = (FROM_FILE.get() or {}).get(flag)
    if switch is not None:
        return switch.wrong(error.message, hint=error.hint)
    return UsageError(error.message, flag=flag, hint=error.hint)


def _read(entry: _Entry, raw: Sequence[Raw], notes: list[str]) -> Any:
    """Return the value of a field."""
    try:
        value = entry.spelling.read(*raw)
    except ValueError as error:
        written = next((value[-1] for value in raw if isinstance(value, tuple) and value), None)
        if written is None:
            raise UsageError(str(error), flag=entry.first_name()) from error
        raise written.wrong(str(error)) from error
    former = entry.spelling.former
    if isinstance(value, str) and value in former:
        notes.append(f"{value} is called {former[value]} now")
        return former[value]
    return value


def _plain(value: Any, spelling: Spelling) -> Any:
    """Return a value as a file says it."""
    if spelling.shown is not shown and value is not None:
        return spelling.shown(value)
    if isinstance(value, Mapping):
        return [f"{key}={','.join(map(str, entry))}" for key, entry in value.items()]
    if isinstance(value, tuple | list):
        return [_plain(entry, spelling) for entry in value]
    return value if isinstance(value, int | float) else str(value)


def _options(name: str, annotation: Any) -> Options | None:
    """Return the options that a parameter of a command stands for; None where it is none."""
    chosen = ALL
    if typing.get_origin(annotation) is Annotated:
        annotation, *about = typing.get_args(annotation)
        chosen = next((one for one in about if isinstance(one, Fields)), ALL)
    if not (isinstance(annotation, type) and dataclasses.is_dataclass(annotation)):
        return None
    return _described(annotation, name, chosen, None)


def described(kind: type[Any], fields: Fields = ALL) -> Options:
    """Return what flags and keys the fields of an option dataclass stand for."""
    return _described(kind, kind.__name__, fields, None)


def _described(
    kind: type[Any], prefix: str, chosen: Fields, panel: Group | None, before: str = ""
) -> Options:
    """Return the flags of a class.

    Args:
        kind: the class.
        prefix: begins the names of parameters.
        chosen: the fields to take.
        panel: where its flags stand; None for where each field belongs.
        before: begins the names of flags.
    """
    texts = field_texts(kind)
    entries, nested, optional = [], {}, {}
    for field in dataclasses.fields(kind):
        if field.name not in chosen:
            continue
        owner = next(base for base in kind.__mro__ if field.name in inspect.get_annotations(base))
        group = panel or getattr(Panel, PANELS.get(owner.__name__, "OPTIONS"))
        name = f"{prefix}__{field.name}"
        if str(field.type) in NESTED:
            nested[field.name] = _described(type(field.default), name, ALL, group)
            continue
        spelling = spelling_of(owner.__name__, field.name, str(field.type))
        entry = _Entry(
            field=field.name,
            spelling=spelling,
            help=texts.get(field.name, ""),
            default=field.default,
            panel=group,
            names=tuple(f"{name}__{number}" for number in range(len(spelling.flags))),
            owner=owner.__name__,
            kind=str(field.type),
            prefix=before,
        )
        inner = OPTIONAL.get(str(field.type))
        if inner is None:
            entries.append(entry)
            continue
        import secateur

        optional[field.name] = _Optional(
            wanted=dataclasses.replace(entry, panel=Panel.TRAINING),
            options=_described(
                getattr(secateur, inner.name), name, Fields(without=inner.wanted),
                Panel.TRAINING, f"{field.name.replace('_', '-')}-",
            ),
        )  # fmt: skip
    return Options(kind=kind, entries=tuple(entries), nested=nested, optional=optional)


def _flag_name(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _written(_: Any, tokens: Sequence[Token]) -> tuple[Written, ...]:
    """Return what was given, unread: errors are told in one place."""
    return tuple(Written.of(token) for token in tokens)


def field_texts(kind: type[Any]) -> dict[str, str]:
    """Return field → the text below it, those of base classes included."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if dataclasses.is_dataclass(base):
            found |= _texts_of(base.__module__).get(base.__name__, {})
    return found


@functools.cache
def _texts_of(module: str) -> dict[str, dict[str, str]]:
    """Return class → field → text of a module."""
    found: dict[str, dict[str, str]] = {}
    try:
        source = inspect.getsource(sys.modules[module])
    except OSError:  # installed without sources
        return found
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = {
                field.target.id: " ".join(text.value.value.split())
                for field, text in zip(node.body, node.body[1:], strict=False)
                if isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            }
    return found
