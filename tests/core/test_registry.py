"""Registries: one rule for names, discovery of files and of other packages' entries."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import threading
import time

import pytest

from secateur.core.errors import DataError, UnsupportedError
from secateur.core.registry import Registry


def test_entries_are_found_by_name():
    registry = Registry[int]("number")
    registry.add("one", "eins", entry=1)
    assert registry["one"] == registry["eins"] == registry.find("one") == 1
    assert sorted(registry) == ["eins", "one"]
    assert len(registry) == 2
    assert "two" not in registry


def test_a_name_is_claimed_once():
    registry = Registry[int]("number")
    registry.add("one", entry=1)
    with pytest.raises(RuntimeError, match="number 'one' is registered twice"):
        registry.add("two", "one", entry=2)
    assert "two" not in registry


def test_an_unknown_name_is_an_error_with_the_nearest():
    registry = Registry[int]("number", error=DataError)
    registry.add("seven", entry=7)
    with pytest.raises(DataError, match=r"'sevn' .*mean seven\? known are seven"):
        registry.find("sevn")
    with pytest.raises(DataError, match="known are seven"):
        registry.find("xxxxxxxx")


def test_threads_wait_until_all_entries_are_there(monkeypatch):
    registry = Registry[int]("number", group="slow numbers")
    loading = threading.Event()

    class Slow:
        name = value = "slow"

        @staticmethod
        def load() -> None:
            loading.set()
            time.sleep(0.2)
            assert dict(registry) == {}  # the thread that loads may read
            registry.add("one", entry=1)

    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [Slow()])
    first = threading.Thread(target=registry.get, args=("one",))
    first.start()
    loading.wait()
    assert registry.get("one") == 1
    first.join()


def installed(tmp_path, body: str) -> dict[str, str]:
    """Return an environment in which a package declares an entry of the group "numbers"."""
    (tmp_path / "plugin.py").write_text(body)
    info = tmp_path / "plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[numbers]\nmine = plugin\n")
    return {"PYTHONPATH": str(tmp_path)}


RUN = """
import sys, types
from secateur.core.registry import Registry
numbers = types.ModuleType("numbers_of_mine")
numbers.REGISTRY = Registry("number", group="numbers")
sys.modules["numbers_of_mine"] = numbers
try:
    print(dict(numbers.REGISTRY))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "from numbers_of_mine import REGISTRY\nREGISTRY.add('four', entry=4)\n",
            "{'four': 4}",
        ),
        (
            "raise ValueError('no')\n",
            "UnsupportedError the number 'mine' of another package (plugin) cannot be loaded: no "
            "(hint: mend or uninstall that package)",
        ),
    ],
)
def test_other_packages_add_entries(tmp_path, body, expected):
    result = subprocess.run(
        [sys.executable, "-c", RUN],
        env=installed(tmp_path, body),
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == expected


def test_what_cannot_be_loaded_is_said_every_time(monkeypatch):
    class Point:
        name, value = "mine", "nowhere"

        def load(self):
            raise ImportError("nowhere")

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point()])
    registry = Registry[int]("number", group="numbers")
    for _ in range(2):
        with pytest.raises(UnsupportedError, match="'mine' of another package"):
            len(registry)
