"""How many updates fit into a time, and which stages are left out where few do."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from secateur.core.errors import DataError
from secateur.core.finetune import duration
from secateur.core.finetune.course import Course, Outcome
from secateur.core.finetune.rate import borne_rate
from secateur.core.finetune.result import FinetuneEntry
from secateur.core.finetune.stages import Stage
from secateur.core.training.solvers.adaptive import Adam
from secateur.core.training.solvers.schedule import BurnIn, Constant, Polynomial, Schedule
from secateur.core.training.solvers.settings import Settings
from secateur.core.training.solvers.sgd import Momentum

STAGES = tuple(
    Stage(name=name, objectives=(), share=share)
    for name, share in (("vectors", 0.1), ("features", 0.45), ("both", 0.45))
)
UPDATE, JUDGED = 0.5, 4.0


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that only the judge moves, and updates of a known length."""
    now = [100.0]

    def judge(self: Any, module: object) -> None:
        now[0] += JUDGED

    monkeypatch.setattr(Judging, "__call__", judge)
    monkeypatch.setattr(duration, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(duration, "_update", lambda *_: UPDATE)


class Judging:
    def __call__(self, module: object) -> None:
        raise AssertionError


def fitted(seconds: float, **settings: Any) -> tuple[int, int, str]:
    course = Course(
        stages=STAGES, steps=1, rules=(), method=Adam(first=0.9), measurements=10, **settings
    )
    feeding: Any = SimpleNamespace(samples=SimpleNamespace(batches=50))
    module: Any = object()
    judge: Any = Judging()
    return duration.timed(module, feeding, course, judge, seconds)


def test_measurements_and_tests_of_rates_are_taken_off() -> None:
    steps, count, told = fitted(600.0)
    # 11 measurements of 4 s; 3 rates, each by 60 steps and 2 measurements: 600 − 44 − 114 = 442 s.
    assert (steps, count) == (884, 3)
    assert told == "884 steps of 0.5 s fit into 600 s: 18 epochs"
    assert fitted(600.0, learning_rate=1e-3)[:2] == (1112, 3)


def test_stages_that_do_not_fit_are_left_out_from_the_first_on() -> None:
    _, count, told = fitted(44 + 76 + 41)  # 82 updates are left with two tests, 6 with three
    assert count == 2
    assert told.endswith("too few for the stage 'vectors'")
    steps, count, told = fitted(44 + 38 + 15)
    assert (steps, count) == (30, 1)
    assert told.endswith("too few for the stages 'vectors', 'features'")
    assert fitted(1.0)[0] == 1


def test_a_time_that_is_too_short_is_told() -> None:
    short = "20 s are too short: 44 s to measure"
    rates = ", 38 s to find a learning rate (one that is given spares that)"
    assert fitted(20.0)[2].startswith(f"{short}{rates}, 0.5 s for a step; too few")
    assert fitted(20.0, learning_rate=1e-3)[2].startswith(f"{short}, 0.5 s for a step; too few")


@pytest.mark.parametrize("burn_in", [0, 3])
def test_a_schedule_that_falls_to_0_is_not_gone_beyond(burn_in: int) -> None:
    """(1 − n / 100)⁴ rises again behind 100 updates: at 300 it is 16 times the first rate."""
    falls: Schedule = Polynomial(base=0.1, power=4, length=100)
    if burn_in:
        falls = BurnIn(base=0.1, length=burn_in, power=4, then=falls)
    settings = Settings(method=Momentum(momentum=0.9), schedule=falls, images=8)
    course = Course(stages=STAGES, steps=20, rules=(), method=settings.method, settings=settings)
    duration.check_end(replace(course, seen=80 * 8))
    with pytest.raises(DataError, match="to 0 after 100 updates: 81 are done, and 20 more"):
        duration.check_end(replace(course, seen=81 * 8))
    level = replace(settings, schedule=Constant(base=0.1))
    duration.check_end(replace(course, seen=10**9, settings=level))


def entry(step: int, loss: float, stage: str = "both") -> FinetuneEntry:
    return FinetuneEntry(
        step=step, stage=stage, loss=1.0, held_out=loss, value=None, rate=0.1,
        seconds=0.5 * step, best=False,
    )  # fmt: skip


def told(losses: list[float], settings: Settings | None = None, **more: Any) -> str:
    """What is told after 10 updates for each loss, of half a second each; 50 are an epoch."""
    history = (
        entry(0, 9.0, "start"), entry(5, 9.0, "vectors"),
        *(entry(10 * (k + 1), loss) for k, loss in enumerate(losses)),
    )  # fmt: skip
    steps = history[-1].step
    course = Course(
        stages=STAGES, steps=steps, rules=(), method=Adam(first=0.9), settings=settings, **more
    )
    feeding: Any = SimpleNamespace(samples=SimpleNamespace(batches=50))
    outcome = Outcome(history=history, best=history[-1], steps=steps, images=1.0, notes=())
    return duration.more_time(course, feeding, outcome)


def test_what_more_time_would_bring() -> None:
    usual = "the usual 10 epochs (500 steps) would take about 4 min"
    falling = "still falling (12 % over the last 4 measurements)"
    assert (
        told([7.0, 1.06, 1.02, 0.98, 0.94])
        == f"more time: the held-out loss was {falling}; {usual}"
    )
    assert "loss was rising (18 % over the last 3 measurements)" in told([1.0, 1.1, 1.2])
    assert "loss was level over the last 4 measurements" in told([1.0, 0.999, 1.001, 1.0])
    assert "too few measurements of the last stage" in told([1.0, 0.5])
    assert "loss was level" in told([0.0, 0.0, 0.0])
    # What came before the first measurement, tests of rates among it, says nothing of steps.
    assert told([1.0]).endswith("; the usual 10 epochs are 500 steps")


def test_the_usual_length_is_that_of_the_files() -> None:
    files = Settings(
        method=Momentum(momentum=0.9), schedule=Constant(base=0.1), images=8, updates=16_000
    )
    text = told([1.0, 0.9, 0.8], files)
    assert text.endswith("the schedule of the files (16000 steps) would take about 2.2 h")
    text = told([1.0, 0.9, 0.8], files, seen=15_880 * 8)
    assert text.endswith("the schedule of the files (120 steps) would take about 60 s")
    for seen in (15_990 * 8, 20_000 * 8):
        text = told([1.0, 0.9, 0.8], files, seen=seen)
        assert text.endswith("; the schedule of the files would not have been longer")


def test_a_rate_that_makes_the_network_worse_is_lowered() -> None:
    def tried(worst: float) -> tuple[float, list[float]]:
        seen: list[float] = []

        def after(rate: float) -> float:
            seen.append(rate)
            return 1.1 if rate > worst else 0.9

        return borne_rate(9e-4, 1.0, after), seen

    assert tried(1e-3) == (9e-4, [9e-4])
    assert tried(4e-4) == (pytest.approx(3e-4), [9e-4, pytest.approx(3e-4)])
    rate, seen = tried(1e-9)
    assert rate == pytest.approx(1e-4), "the last is taken without a trial"
    assert len(seen) == 2
