"""Registries: entries by name, filled by this package's own files and by other packages.

A registry looks for its entries when it is first read. It imports every module of its package, so
that a new entry is one new file, and then everything that installed packages declare under its
group of entry points. Each of these modules registers its entries by itself, with a decorator.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from .errors import PlanError, SecateurError, UnsupportedError, names_hint

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Entries of one kind by name.

    A name is claimed once: a second claim raises RuntimeError, whoever makes it.

    Args:
        what: what an entry is called in messages ("criterion").
        package: package whose modules register entries; "" for none.
        modules: returns names of further modules that register entries; None for none.
        group: group of entry points by which other packages add theirs; "" for none.
        error: what :meth:`find` raises.
    """

    def __init__(
        self,
        what: str,
        *,
        package: str = "",
        modules: Callable[[], Iterable[str]] | None = None,
        group: str = "",
        error: type[SecateurError] = PlanError,
    ):
        self.what = what
        self.group = group
        self._package = package
        self._modules = modules
        self._error = error
        self._entries: dict[str, T] = {}
        self._lent: set[str] = set()
        self._begun = self._complete = False
        self._loading = threading.RLock()

    def add(self, *names: str, entry: T) -> T:
        """Register an entry under one or more names, and return it.

        Raises:
            RuntimeError: a name is taken.
        """
        for name in names:
            if name in self._entries:
                raise RuntimeError(f"{self.what} '{name}' is registered twice")
        self._entries.update(dict.fromkeys(names, entry))
        return entry

    def lend(self, name: str, entry: T) -> None:
        """Register an entry of the running program; it takes the place of a former one.

        Raises:
            SecateurError: an entry of a package has the name.
        """
        self._load()
        if name in self._entries and name not in self._lent:
            raise self._error(
                f"there is a {self.what} '{name}' already", hint="give the function another name"
            )
        self._lent.add(name)
        self._entries[name] = entry

    def find(self, name: str, also: Iterable[str] = ()) -> T:
        """Return the entry of a name that a user gave.

        Args:
            name: the name.
            also: names that the caller knows besides, for the hint.

        Raises:
            SecateurError: there is none; the hint names the nearest, and all that are known.
        """
        if name in self:
            return self[name]
        hint = names_hint(name, sorted({*self, *also}))
        raise self._error(f"unknown {self.what} '{name[:80]}'", hint=hint)

    def __getitem__(self, name: str) -> T:
        self._load()
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(self._entries)

    def __len__(self) -> int:
        self._load()
        return len(self._entries)

    def _load(self) -> None:
        """Import what registers entries, once; other threads wait, or they would see a part."""
        if self._complete:
            return
        with self._loading:
            if self._begun:
                return  # what is imported reads the registry itself
            self._begun = True
            try:
                self._import_all()
                self._complete = True
            finally:
                self._begun = self._complete

    def _import_all(self) -> None:
        """Import the modules of the package, and what other packages declare.

        Raises:
            UnsupportedError: another package's entry cannot be imported.
        """
        if self._package:
            package = importlib.import_module(self._package)
            for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
                importlib.import_module(f"{self._package}.{module.name}")
        for name in self._modules() if self._modules is not None else ():
            importlib.import_module(name)
        points = importlib.metadata.entry_points(group=self.group) if self.group else ()
        for point in sorted(points, key=lambda p: p.name):
            try:
                point.load()
            except Exception as error:
                raise UnsupportedError(
                    f"the {self.what} '{point.name}' of another package ({point.value}) cannot be "
                    f"loaded: {error}",
                    hint="mend or uninstall that package",
                ) from error
