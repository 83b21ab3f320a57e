"""What commands in the old spelling are called in secateur's own words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secateur import CaffeProject, Plan, TransformedModel

__all__ = ["ana", "finetune", "prune", "stat", "transform"]


def ana(project: CaffeProject) -> list[str]:
    """Return the words for an analysis."""
    return [
        "secateur", "ana", str(project.model), str(project.weights), *_shape(project),
        "--data", str(project.test.path), *_root(project.test.root),
        "--limit", str(project.test_data.samples), *_excluded(project),
        "-o", str(project.workspace),
    ]  # fmt: skip


def prune(project: CaffeProject, plan: Plan) -> list[str]:
    """Return the words for pruning, which the provenance of its plan knows."""
    budget = str(plan.provenance.get("budget", "operations"))
    return [
        "secateur", "prune", str(project.model), str(project.weights), *_shape(project),
        "--rate", f"{project.rate:g}", "--budget", budget, "--criterion", "obs",
        "--analysis", str(project.analysis_file), "--round-to", "2",
        "--mode", "sparse", "--data", str(project.train.path), *_root(project.train.root),
        *_cropped(project), "--limit", str(project.calibration.samples), *_excluded(project),
        "-o", str(project.folder),
    ]  # fmt: skip


def finetune(project: CaffeProject) -> list[str]:
    """Return the words for fine-tuning."""
    sparse, _, _, plan = project.files
    return [
        "secateur", "finetune", str(project.model), str(sparse),
        *_shape(project), "--plan", str(plan),
        "--solver", project.config.solver, "--batch-size", str(project.train.batch),
        "--data", str(project.train.path),
        *_root(project.train.root), *_cropped(project), "--val", str(project.test.path),
        "-o", str(project.folder / "tuned"),
    ]  # fmt: skip


def transform(made: TransformedModel, weights: Path) -> list[str]:
    """Return the words for taking channels out; none where zeros said which."""
    if made.plan is None:
        return []
    return [
        "secateur", "transform", str(made.text), str(weights), "--plan", str(made.plan),
        *_shapes(made.shapes), "-o", "dense",
    ]  # fmt: skip


def stat(model: Path, shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """Return the words for counting."""
    return ["secateur", "stat", str(model), *_shapes(shapes)]


def _shapes(shapes: Mapping[str, Sequence[int]]) -> Iterator[str]:
    for name, shape in shapes.items():
        yield from ("--input-shape", f"{name}={','.join(map(str, shape))}")


def _shape(project: CaffeProject) -> Iterator[str]:
    return _shapes({project.test.top: project.test.shape})


def _root(root: Path | None) -> Iterator[str]:
    if root is not None:
        yield from ("--root", str(root))


def _cropped(project: CaffeProject) -> Iterator[str]:
    if project.train.preprocess.crop and not project.test.preprocess.crop:
        yield "--crop"


def _excluded(project: CaffeProject) -> Iterator[str]:
    for name in project.exclude:
        yield from ("--exclude", name)
