"""Help that fits a screen, examples that can be parsed, values that can be asked for."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secateur.cli.main import NAMED, NAMES, app
from secateur.cli.spelling import BY_FIELD, BY_TYPE
from secateur.cli.usual import EVERYTHING, PAGES
from secateur.cli.values import CHOICES, REGISTERED
from secateur.core.data.usual import USUAL
from support.program import run

SCREEN = 40
"""Lines of a page that fits one screen."""

COMMANDS = [*(names[0] for names in NAMES), "data check"]


def command_of(words: list[str]) -> Any:
    _, apps, rest = app.parse_commands(words)
    return apps[-1].default_command, rest


def shown(command: str, flag: str) -> str:
    return run(*command.split(), flag).stdout


def test_every_command_has_a_page():
    assert sorted(PAGES) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_usual_help_fits_one_screen_and_ends_with_examples(command):
    page = shown(command, "--help")
    lines = page.rstrip().splitlines()
    assert len(lines) <= SCREEN
    assert max(map(len, lines)) <= 80
    at = lines.index("Examples:")
    examples = "\n".join(f"  {example}" for example in PAGES[command].examples)
    assert lines[at + 1 :] == examples.splitlines()
    for flag in PAGES[command].shown:
        assert f" {flag} " in page
    more = f"All options: secateur {command} {EVERYTHING}"
    assert (more in page) == bool(PAGES[command].flags)


@pytest.mark.parametrize("command", COMMANDS)
def test_all_options_are_one_flag_away(command):
    whole = shown(command, EVERYTHING)
    function, _ = command_of(command.split())
    flags = {f"--{name}" for name in ("config", "debug")} if hasattr(function, "values") else set()
    for flag in (*PAGES[command].shown, *flags, *getattr(function, "values", {})):
        if not flag.startswith("--no-"):
            assert f" {flag} " in whole, flag
    assert "Examples:" in whole
    assert EVERYTHING not in whole


@pytest.mark.parametrize("command", ["finetune", "iterate"])
def test_values_are_whole_where_they_fill_several_lines(command):
    lines = [line.strip("│ ") for line in shown(command, EVERYTHING).splitlines()]
    labels = [line.partition("   ")[0].strip() for line in lines]
    start = next(k for k, label in enumerate(labels) if label.endswith("-match"))
    assert labels[start + 1 : start + 3] == ["auto|layers|features|", "outputs|both"]


def test_other_names_have_the_same_page():
    for other, command in NAMED.items():
        assert shown(other, "--help").splitlines()[1:] == shown(command, "--help").splitlines()[1:]


@pytest.mark.parametrize(
    ("command", "example"),
    [(command, example) for command, page in PAGES.items() for example in page.examples],
)
def test_examples_can_be_parsed(command, example):
    words = shlex.split(example.replace("\\\n", " "))
    assert words.pop(0) == "secateur"
    if ">" in words:
        words = words[: words.index(">")]
    assert words[: len(command.split())] == command.split()
    function, bound, ignored = app.parse_args(words, exit_on_error=False, print_error=False)
    assert function is command_of(words)[0]
    assert not ignored
    given = [word for word in words if word.startswith("--")]
    assert bound.arguments or not given


def flags() -> Iterator[tuple[str, str]]:
    """Yield field and metavar of every flag that is written by name."""
    for key, spelling in BY_FIELD.items():
        for flag in spelling.flags:
            yield (f"{key} {flag.names[0]}" if len(spelling.flags) > 1 else key), flag.metavar


def test_every_option_with_known_values_tells_them():
    told = {*REGISTERED, *CHOICES}
    for key, metavar in flags():
        words = [w for w in metavar.split("|") if w.isidentifier() and (w.islower() or w in CAPS)]
        if len(words) > 1 and "N" not in metavar.split("|"):
            assert key in told, key
            if key in CHOICES:
                assert {*words} <= {*CHOICES[key]}, key
    for kind in ("Repairs", "Task | str | None"):
        assert BY_TYPE[kind].flags[0].metavar.endswith("|help")


CAPS = ("TEST", "TRAIN")


def test_what_is_told_is_what_there_is():
    names = [name for name in CHOICES["DataOptions.preprocessing"] if name != "auto"]
    assert [name for name in names if "=" not in name] == list(USUAL)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["prune", "--criterion", "help"], "geometric_median"),
        (["ana", "--criterion", "help"], "apoz"),
        (["prune", "--allocation=help"], "sensitivity"),
        (["prune", "a.prototxt", "--repair", "help", "-o", "x"], "recalibrate"),
        (["transform", "--repair", "help"], "absorb"),
        (["prune", "--budget", "help"], "latency"),
        (["prune", "--mode", "help"], "sparse"),
        (["prune", "--lrn", "help"], "inexact"),
        (["iterate", "--schedule", "help"], "geometric"),
        (["iterate", "--from", "help"], "previous"),
        (["iterate", "--finetune-method", "help"], "sgd"),
        (["finetune", "--sparsify", "help"], "cubic"),
        (["finetune", "--match", "help"], "features"),
        (["valid", "--task", "help"], "segmentation"),
        (["valid", "--channels", "help"], "bgr"),
        (["valid", "--preprocess", "help"], "mobilenet"),
        (["evaluate", "--flavour", "help"], "pjreddie"),
        (["inspect", "--batch-norm", "help"], "stored"),
        (["inspect", "--phase", "help"], "TRAIN"),
        (["prune", "--target", "help"], "dpu-b4096"),
        (["run", "--until", "help"], "finetune"),
    ],
)
def test_help_as_a_value(words, value):
    lines = run(*words).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    names = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert value in names
    starts = {len(line) - len(line[len(line.split()[0]) :].lstrip()) for line in lines
              if not line.startswith(" ")}  # fmt: skip
    assert len(starts) == 1  # aligned
    for line in lines:
        if line.startswith(" "):
            assert len(line) - len(line.lstrip()) in starts


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_offers_values(shell):
    script = run("completion", shell).stdout
    for word in ("prune", "--criterion", "thinet", "--budget", "latency", "--mode", "sparse"):
        assert word in script


def test_bash_completes_values(tmp_path):
    (tmp_path / "secateur.bash").write_text(run("completion", "bash").stdout)
    code = """
    source secateur.bash
    complete -p secateur > spec
    name=$(sed 's/.*-F \\([^ ]*\\).*/\\1/' spec)
    COMP_WORDS=(secateur prune --criterion "") COMP_CWORD=3
    COMP_LINE="secateur prune --criterion " COMP_POINT=27
    $name secateur "" --criterion
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["/bin/bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
    )  # fmt: skip
    words = [line.strip() for line in done.stdout.splitlines()]
    assert {"obs", "thinet", "l1"} <= {*words}, done.stderr
