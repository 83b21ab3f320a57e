"""Shared fixtures: where the reference models, data and golden cases stand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("SECATEUR_SHARED", ROOT.parent / "shared"))


def lacking(reason: str) -> NoReturn:
    """Skip on a developer's machine, fail in CI, where everything must be there."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (CI must have it)")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with reference models, data and golden cases (SECATEUR_SHARED)."""
    if not (SHARED / "models").is_dir():
        lacking(f"no reference data at {SHARED}; set SECATEUR_SHARED")
    return SHARED


@pytest.fixture(scope="session")
def field(shared: Path) -> Path:
    """The folder of small inputs made after public reports; its README says what each must give."""
    return shared / "field"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many golden cases of each format were run, and how many passed."""
    places = {
        "caffe": "caffe_golden.py::test_golden",
        "darknet": "darknet_golden.py::test_golden",
        "training": "golden_training.py::test_golden",
    }
    for name, place in places.items():
        counts = {
            outcome: sum(
                place in report.nodeid
                for report in terminalreporter.stats.get(outcome, [])
                if getattr(report, "when", "call") == "call"
            )
            for outcome in ("passed", "failed")
        }
        if total := sum(counts.values()):
            terminalreporter.write_line(
                f"golden cases of {name}: {total} run, {counts['passed']} passed"
            )


SLOW = (
    "cli", "contract", "core/allocation", "core/obs", "core/pruning", "core/repair",
    "core/test_analysis", "core/test_early_stop", "core/test_study", "core/test_tasks",
    "formats/test_structures", "models", "property", "test_contributing", "test_docs",
    "test_project",
)  # fmt: skip
"""Beginnings of the paths of tests that `make test-fast` leaves out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of slow folders."""
    folder = Path(__file__).parent
    for item in items:
        if item.path.relative_to(folder).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)
