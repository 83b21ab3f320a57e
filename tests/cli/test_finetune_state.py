"""`secateur finetune --solver-state`: a training of Caffe goes on here, and the other way round."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.formats.caffe.solverstate import read_solverstate
from support.program import one_line, run
from support.training import need_torch

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
SHAPES = FIXTURES / "shapes_caffe"
SOLVER = """
net: "train.prototxt" base_lr: 0.0003 momentum: 0.9 weight_decay: 0.0005 type: "KIND"
lr_policy: "step" gamma: 0.5 stepsize: 3 max_iter: 6
"""
SAMPLES, BATCH = 200, 180
"""A tenth is held out; a batch holds all others, so that their order does not count."""


@pytest.fixture(scope="module", autouse=True)
def _torch() -> None:
    need_torch()


def prepared(folder: Path, kind: str = "SGD") -> tuple[Path, Path, Path]:
    """Return a net with a loss, a solver, and data that one batch holds whole."""
    network = secateur.load(*(SHAPES / f"shapes.{end}" for end in ("prototxt", "caffemodel")))
    pruned = secateur.prune(network, rate=0.5, criterion="l1", repair="none")
    secateur.emit_training(pruned, folder / "emitted")
    (folder / "emitted" / "shapes.caffemodel").rename(folder / "shapes.caffemodel")
    text = (folder / "emitted" / "train_val.prototxt").read_text()
    # Dropout draws other masks in the second half; it works in place, so nothing misses it.
    text, count = re.subn(r'layer \{[^{}]*"Dropout"[^{}]*\{[^{}]*\}\s*\}\n', "", text)
    assert count == 1
    (folder / "train.prototxt").write_text(text)
    (folder / "solver.prototxt").write_text(SOLVER.replace("KIND", kind))
    with np.load(FIXTURES / "shapes.npz") as stored:
        np.savez(folder / "data.npz", x=stored["x"][:SAMPLES], y=stored["y"][:SAMPLES])
    return folder / "train.prototxt", folder / "solver.prototxt", folder / "data.npz"


def tuned(folder: Path, weights: Path, steps: int, state: Path | None, name: str) -> Path:
    """Train for some steps on all samples at once, and return the folder."""
    model = folder / "train.prototxt", weights
    network = secateur.load(*model)
    start = secateur.begin(*model, solver=folder / "solver.prototxt", solver_state=state)
    options = secateur.FinetuneOptions(
        own_solver=True, steps=steps, batch_size=BATCH, augment="none", measurements=1
    )
    data = secateur.open_dataset(folder / "data.npz", network)
    done = secateur.finetune_files(
        model, data, folder / name, options, lessons=secateur.Lessons(), start=start
    )
    if name != "forgot":  # which may have made nothing better
        assert done.result.best.step == steps
    return folder / name


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_a_training_goes_on_where_it_stopped(kind: str, tmp_path: Path) -> None:
    net, *_ = prepared(tmp_path, kind)
    first = tmp_path / "shapes.caffemodel"
    whole = tuned(tmp_path, first, 6, None, "whole")
    half = tuned(tmp_path, first, 3, None, "half")
    middle = half / "shapes_iter_3.solverstate"
    found = read_solverstate(middle)
    assert (found.progress.updates, found.learned_net) == (3, "shapes.caffemodel")
    network = secateur.load(net, half / "shapes.caffemodel")
    blobs = [np.prod(network.array(name).shape) for name in network.graph.initializers]
    runs = 2 if kind == "Adam" else 1
    assert sum(array.size for array in found.progress.history) >= runs * sum(map(int, blobs)) * 0.9
    rest = tuned(tmp_path, half / "shapes.caffemodel", 3, middle, "rest")
    forgot = tuned(tmp_path, half / "shapes.caffemodel", 3, None, "forgot")
    end = read_solverstate(rest / "shapes_iter_6.solverstate").progress
    assert end.updates == 6
    assert end.step == read_solverstate(whole / "shapes_iter_6.solverstate").progress.step
    want, got, lost = (
        secateur.load(net, path / "shapes.caffemodel") for path in (whole, rest, forgot)
    )
    largest = 0.0
    for name in want.graph.initializers:
        np.testing.assert_allclose(got.array(name), want.array(name), rtol=1e-4, atol=1e-6)
        largest = max(largest, float(np.abs(lost.array(name) - want.array(name)).max()))
    assert largest > 1e-4, "without the state, momentum and rate begin anew"


def test_the_schedule_counts_what_was_done_before(tmp_path: Path) -> None:
    """Without `--steps`, training takes what `max_iter` leaves."""
    net, solver, data = prepared(tmp_path)
    half = tuned(tmp_path, tmp_path / "shapes.caffemodel", 4, None, "half")
    state = half / "shapes_iter_4.solverstate"
    said = run(
        "finetune", net, half / "shapes.caffemodel", "--solver", solver, "--solver-state", state,
        "--data", data, "--batch-size", BATCH, "--augment", "none",
        "-o", tmp_path / "rest",
    ).stderr  # fmt: skip
    assert "2 steps of 180" in said


def test_what_is_wrong_is_told_in_one_line(tmp_path: Path) -> None:
    net, solver, data = prepared(tmp_path)
    weights = tmp_path / "shapes.caffemodel"
    half = tuned(tmp_path, weights, 2, None, "half")
    state = half / "shapes_iter_2.solverstate"
    base = ("--data", data, "--steps", 2, "-o", tmp_path / "out")
    said = one_line(run("finetune", net, weights, *base, "--solver-state", state, code=1))
    assert "the state of a solver goes with its solver file" in said
    small = secateur.save(
        secateur.prune(secateur.load(net, weights), rate=0.4, criterion="l1", repair="none"),
        tmp_path / "small",
    )
    said = one_line(run("finetune", *small.paths, *base, "--solver", solver,
                        "--solver-state", state, code=1))  # fmt: skip
    assert "the history of" in said
    cfg = [FIXTURES / "shapes_darknet" / f"shapes.{end}" for end in ("cfg", "weights")]
    said = one_line(run("finetune", *cfg, *base, "--solver-state", state, code=1))
    assert "darknet files have no state of a solver beside them" in said
    assert not (tmp_path / "out" / "shapes.caffemodel").exists()
