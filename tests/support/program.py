"""The program as users start it, in a process of its own, or in that of the tests."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

__all__ = ["ENVIRONMENT", "command", "inside", "one_line", "run", "told"]

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


def inside(
    *arguments: object, code: int = 0, columns: int = int(ENVIRONMENT["COLUMNS"])
) -> subprocess.CompletedProcess[str]:
    """Run the program in this process, which takes a tenth of the time, and check how it ended."""
    from secateur.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    argv = ["secateur", *map(str, arguments)]
    with (
        redirect_stdout(out), redirect_stderr(err),
        mock.patch.object(sys, "argv", argv), mock.patch.dict(os.environ, COLUMNS=str(columns)),
    ):  # fmt: skip
        try:
            main()
            ended: object = 0
        except SystemExit as stop:
            ended = stop.code
    assert ended == code, err.getvalue()
    return subprocess.CompletedProcess(argv, code, out.getvalue(), err.getvalue())


def told(*arguments: object, code: int = 0) -> tuple[str, str]:
    """Return what the program prints in a wide terminal: standard output and standard error."""
    result = inside(*arguments, code=code, columns=120)
    return result.stdout, result.stderr


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """Return the only line of standard error."""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]
