"""The program as users start it, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

__all__ = ["ENVIRONMENT", "command", "one_line", "run"]

ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "COLUMNS": "80",
    "PYTHONUTF8": "1",
    "PYTHONPATH": os.environ.get("PYTHONPATH", ""),  # the package that the tests import
}


def command(*arguments: object) -> list[str]:
    """Return what starts the program."""
    return [sys.executable, "-m", "secateur.cli.main", *map(str, arguments)]


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the program and check how it ended."""
    result = subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return result


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """Return the only line of standard error."""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]
