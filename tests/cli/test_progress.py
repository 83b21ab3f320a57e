"""The bar of long work: one over all phases, named, that never goes back; nothing in a pipe."""

from __future__ import annotations

import io
import re
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

import secateur
from secateur.cli import course, terminal
from secateur.cli.course import SHARES, Course
from secateur.cli.terminal import Bars
from secateur.core.progress import inside, label_parts, silent
from support.program import inside as program

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
NETWORK = secateur.load(*CAFFE)
DATA = secateur.open_dataset(FIXTURES / "shapes.npz", NETWORK, limit=40)


def test_the_phases_of_a_prune_rise_to_the_end():
    calls: list[tuple[str, int, int]] = []
    secateur.prune(NETWORK, rate=0.3, data=DATA, progress=lambda *call: calls.append(call))
    phases = list(dict.fromkeys(label_parts(label)[0][0] for label, _, _ in calls))
    assert phases == ["choosing channels", "verifying", "repairing"]
    assert set(phases) <= set(SHARES["prune"])
    passes = {label_parts(label)[0][1] for label, _, _ in calls if "pass" in label}
    assert passes == {"pass 1 of 2", "pass 2 of 2"}
    course = Course("prune", ["choosing blocks", "report"])
    reached = [course.fraction(*call) for call in calls]
    assert all(a <= b for a, b in pairwise(reached))
    assert reached[0] < 0.1
    halves = [course for course, call in zip(reached, calls, strict=True) if "pass 2" in call[0]]
    assert 0.2 < halves[0] < reached[-1]  # the second pass begins in the middle of the choice
    assert 0.7 < reached[-1] < 1  # measuring and writing are still to come


def test_shares_and_numbers_say_how_far_the_work_is(monkeypatch):
    monkeypatch.setitem(SHARES, "work", {"first": 1.0, "second": 3.0})
    course = Course("work")
    assert course.fraction("first › job", 0, 4) == 0.0
    assert course.fraction("first", 2, 4) == pytest.approx(0.125)
    assert course.fraction("second › round 2 of 3", 1, 2) == pytest.approx(0.25 + 0.75 * 0.5)
    assert course.fraction("first", 1, 4) == pytest.approx(0.625)  # never back
    assert course.fraction("unheard of", 4, 4) == pytest.approx(0.625)
    assert course.fraction("second", 4, 4) == 1.0


def test_jobs_of_unknown_number_are_counted_as_in_the_phase_before(monkeypatch):
    monkeypatch.setattr(course, "GUESS", 4)
    found = Course("iterate")
    assert found.fraction("round 1 of 2 › choosing channels › pass 1 of 2 › a", 1, 1) > 0
    first = Course("run", ["valid"])
    for job in ("a", "b"):
        first.fraction(f"ana › pass 1 of 2 › {job}", 1, 1)
    reached = first.fraction("ana › pass 2 of 2 › a", 1, 1)
    whole = sum(SHARES["run"].values()) - SHARES["run"]["valid"]
    assert reached == pytest.approx(SHARES["run"]["ana"] / whole * 0.75)  # one of two jobs


def drawn(monkeypatch, **told: object) -> Bars:
    monkeypatch.setattr(terminal, "PATIENCE", 0.0)
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    return Bars(console, **{"shown": True, **told})


def test_one_bar_names_phase_and_job_and_tells_the_time_left(monkeypatch):
    bars = drawn(monkeypatch, work="prune")
    choosing = inside(bars, "choosing channels")
    choosing("covariances", 0, 4)
    inside(choosing, "pass 1 of 2")("inverses", 3, 4)
    (task,) = bars._progress.tasks
    assert task.description == "choosing channels, pass 1 of 2, inverses 3/4"
    bars("verifying › comparing", 1, 2)
    (task,) = bars._progress.tasks
    bars.close()
    assert task.description == "verifying, comparing 1/2"
    assert re.fullmatch(r"about .+ left", task.fields["left"])
    assert 0.3 < task.completed < 1


def test_nothing_is_drawn_where_there_is_no_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr(terminal, "PATIENCE", 0.0)
    told = program("prune", *CAFFE, "--rate", 0.2, "-o", tmp_path / "out").stderr
    assert "verifying" not in told
    assert "left" not in told.replace("left by", "").replace("left out", "")


def test_silence_stays_silence():
    assert inside(silent, "phase") is silent
