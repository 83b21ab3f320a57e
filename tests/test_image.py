"""The Dockerfile, as far as it can be checked without an engine: paths, instructions, the user."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
KNOWN = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "USER", "WORKDIR"}


def instructions() -> Iterator[tuple[str, str]]:
    """Yield every instruction with what stands behind it."""
    lines = [line for line in TEXT.splitlines() if line.strip() and not line.startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        word, _, rest = line.partition(" ")
        yield word, rest


def copied() -> list[str]:
    """Return the paths of the checkout that the image is made of."""
    found = []
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from="):
            found += shlex.split(rest)[:-1]
    return found


def test_every_instruction_is_one():
    assert {word for word, _ in instructions()} <= KNOWN
    assert [word for word, _ in instructions()][:2] == ["ARG", "FROM"]


def test_every_copied_path_exists_and_is_sent_to_the_engine():
    assert copied()
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    for path in copied():
        assert (ROOT / path).exists(), path
    assert sorted(sent) == sorted(copied())
    assert "*" in rules
    assert not any(fnmatch("core", rule) for rule in rules[rules.index("!core") + 1 :])


def test_it_runs_the_program_as_a_user():
    words = list(instructions())
    last = dict(words)
    assert json.loads(last["ENTRYPOINT"]) == ["secateur"]
    assert last["USER"] not in ("root", "0")
    assert any(word == "RUN" and f" {last['USER']} " in f"{rest} " for word, rest in words)
    assert words.index(("USER", last["USER"])) < words.index(("ENTRYPOINT", last["ENTRYPOINT"]))


def test_its_extras_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = [rest for word, rest in instructions() if rest.startswith("EXTRAS=")]
    assert set(extras.removeprefix("EXTRAS=").split(",")) <= set(project["optional-dependencies"])
    python = next(rest for word, rest in instructions() if rest.startswith("PYTHON="))
    assert (
        f"Programming Language :: Python :: {python.removeprefix('PYTHON=')}"
        in (project["classifiers"])
    )


def test_what_it_copies_makes_a_whole_wheel(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for path in copied():
        if (ROOT / path).is_dir():
            shutil.copytree(
                ROOT / path, source / path, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copyfile(ROOT / path, source / path)
    result = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "--wheel-dir", tmp_path / "wheels", source],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    for path in copied():
        if (ROOT / path).is_dir():
            for file in (ROOT / path).rglob("*"):
                if file.suffix in (".py", ".pyi", ".html", ".css", ".yaml"):
                    assert f"secateur/{file.relative_to(ROOT).as_posix()}" in inside
