"""How old command lines are spelled, word by word."""

from __future__ import annotations

import pytest

from secateur.cli.usage import UsageError
from secateur.cli.vendor import meant
from secateur.cli.vendor.spelling import old_words, single_dash
from secateur.cli.vendor.table import ruled


def test_dashes_of_any_kind_are_hyphens() -> None:
    words = [
        "–config",
        "—rate",
        "−model",
        "––config",
        "‐‐help",
        "-x",
        "a–b",
        "–1",
        "–",
        "x.prototxt",
    ]
    assert old_words(words) == [
        "-config", "--rate", "-model", "--config", "--help", "-x", "a–b", "–1", "–", "x.prototxt",
    ]  # fmt: skip


def test_options_are_taken_as_gflags_takes_them() -> None:
    names = {"config": True, "gpu": True, "quiet": False}
    words = ["-config", "a", "--gpu=0,1", "one", "-quiet", "-config=b=c", "-3"]
    assert single_dash(words, names) == (
        {"config": "b=c", "gpu": "0,1", "quiet": None}, ["one", "-3"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-config"], "-config needs a value"),
        (["-config="], "-config needs a value"),
        (["-quiet=1"], "-quiet takes no value"),
        (["-cofnig", "x"], r"there is no option -cofnig \(hint: did you mean -config\?\)"),
        (["--zzz"], r"there is no option -zzz \(hint: it takes -config, -quiet\)"),
    ],
)
def test_what_is_wrong_is_told(words: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        single_dash(words, {"config": True, "quiet": False})


@pytest.mark.parametrize(
    ("line", "old"),
    [
        ("prune -config c.prototxt", True),
        ("prune -config=c", True),
        ("ana --config c.prototxt", True),
        ("finetune --config=c.PROTOTXT", True),
        ("prune a b --config c.yaml", False),
        ("prune a b --config=c.yaml", False),
        ("prune a b --config", False),
        ("transform -model a -weights b", True),
        ("stat --model=a.prototxt", True),
        ("stat a.prototxt", False),
        ("inspect -model a", False),
        ("", False),
    ],
)
def test_old_lines_are_told_from_our_own(line: str, old: bool) -> None:
    assert (meant(line.split()) is not None) is old


def test_a_ruled_table() -> None:
    assert ruled([("a", "bb"), ("ccc", "d")]).splitlines() == [
        "+-----+----+", "| a   | bb |", "+-----+----+", "| ccc | d  |", "+-----+----+",
    ]  # fmt: skip
