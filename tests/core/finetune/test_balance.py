"""A share of the teacher means the same, whatever sums the losses of a framework are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import secateur
from secateur.core.finetune import finetune as finetuning
from secateur.core.finetune.balance import factor_of, pulls
from secateur.core.finetune.course import Course, Feeding, Outcome
from secateur.core.finetune.judge import Judge
from secateur.core.finetune.lessons import Lessons
from secateur.core.training.module import TrainingModule
from secateur.core.training.recipe import Objective, Recipe
from support.training import need_torch

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
FILES = {
    "caffe": [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")],
    "darknet": [FIXTURES / "shapes_darknet" / f"shapes.{end}" for end in ("cfg", "weights")],
}


class Looked(Exception):
    """Ends a training before its first step; holds what it would have done."""

    def __init__(self, module: TrainingModule, feeding: Feeding, course: Course):
        self.module, self.feeding, self.course = module, feeding, course

    def sides(self) -> tuple[list[Objective], list[Objective]]:
        """Return the losses of labels and those of the teacher in the last stage."""
        objectives = self.course.stages[-1].objectives
        taught = [one for one in objectives if any("teacher:" in name for name in one.reads)]
        return [one for one in objectives if one not in taught], taught

    def pulls(self, sides: Sequence[Sequence[Objective]]) -> tuple[float, ...]:
        return pulls(self.module, sides, list(self.feeding.batches(0, 4)))


def _look(
    module: TrainingModule, feeding: Feeding, course: Course, judge: Judge, **_: object
) -> Outcome:
    del judge
    raise Looked(module, feeding, course)


@pytest.fixture(autouse=True)
def _stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    need_torch()
    monkeypatch.setattr(finetuning, "train", _look)


def looked(kind: str, *, taught: bool = True, **settings: object) -> Looked:
    """Return what a training of a pruned network would do."""
    start = secateur.begin(*FILES[kind])
    network = secateur.load(*FILES[kind])
    pruned = secateur.prune(network, rate=0.5, criterion="l1", repair="none")
    data = secateur.open_dataset(FIXTURES / "shapes.npz", network, limit=100)
    recipe = start.recipe if kind == "darknet" else Recipe()
    if not settings.get("own_solver"):
        recipe = replace(recipe, settings=None)
    lessons = Lessons(teacher=network if taught else None, recipe=recipe)
    with pytest.raises(Looked) as found:
        finetuning.finetune(
            pruned.network,
            data,
            secateur.FinetuneOptions(steps=1, **settings),  # type: ignore[arg-type]
            lessons=lessons,
        )
    return found.value


@pytest.mark.parametrize("kind", list(FILES))
@pytest.mark.parametrize("batch", [8, 24])
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_labels_and_teacher_pull_by_their_shares(kind: str, batch: int, share: float) -> None:
    found = looked(kind, batch_size=batch, distill=share)
    labels, teacher = found.pulls(found.sides())
    assert labels > 0
    assert teacher / labels == pytest.approx(share / (1 - share), rel=1e-4)


def test_the_files_own_solver_gets_the_sums_that_it_divides() -> None:
    found = looked("darknet", taught=False, own_solver=True, batch_size=16)
    labels, taught = found.sides()
    assert taught == []
    assert not any(one.per_sample for one in labels)
    mixed = looked("darknet", own_solver=True, batch_size=16, distill=0.5)
    labels, teacher = mixed.pulls(mixed.sides())
    assert teacher / labels == pytest.approx(1.0, rel=1e-4)


def test_a_teacher_that_asks_for_nothing_is_not_made_louder() -> None:
    assert factor_of(3.0, 0.5) == 6.0
    assert factor_of(3.0, 0.0) == 1.0
    assert factor_of(0.0, 2.0) == 1.0
    assert factor_of(float("nan"), 2.0) == 1.0
