"""Rounds that are fine-tuned: what they come to, and where they go on after a stop."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secateur
from secateur.core.data.part import parted
from secateur.core.errors import DataError, PlanError
from secateur.core.ir.digest import digest
from support.program import ENVIRONMENT, command, one_line, run
from support.training import need_torch

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
DARKNET = [str(FIXTURES / "shapes_darknet" / f"shapes.{end}") for end in ("cfg", "weights")]
LABELLED = str(FIXTURES / "shapes.npz")
UNLABELLED = str(FIXTURES / "calibration.npz")
FLAGS = (
    "--finetune", "12steps", "--finetune-batch-size", 16, "--finetune-measurements", 3,
    "--finetune-learning-rate", 0.001, "--criterion", "l1", "--limit", 120,
)  # fmt: skip
ALONE = {**ENVIRONMENT, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@pytest.fixture(scope="module", autouse=True)
def _torch() -> None:
    need_torch()


ANY = secateur.Limits(round_to=1)


def tuning(**settings: Any) -> secateur.FinetuneOptions:
    """Return options of a training that takes a moment."""
    short = {"steps": 12, "batch_size": 16, "measurements": 3, "learning_rate": 1e-3}
    return secateur.FinetuneOptions(**{**short, **settings})


def opened(files: list[str], data: str, limit: int = 120) -> tuple[Any, Any]:
    network = secateur.load(*files)
    return network, secateur.open_dataset(data, network, limit=limit)


def lasting(folder: Path) -> dict[str, Any]:
    """Return relative path → content of every file, without the times that are told in some."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".json":
            found[name] = timeless(json.loads(path.read_text()))
        elif path.suffix == ".csv":
            rows = list(csv.DictReader(path.read_text().splitlines()))
            found[name] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def timeless(content: Any) -> Any:
    if isinstance(content, list):
        return [timeless(entry) for entry in content]
    if isinstance(content, dict):
        timed = ("seconds", "images_per_second")
        return {key: timeless(value) for key, value in content.items() if key not in timed}
    return content


@pytest.mark.parametrize("files", [CAFFE, DARKNET], ids=["caffe", "darknet"])
def test_rounds_prune_and_train_what_the_round_before_left(
    files: list[str], tmp_path: Path
) -> None:
    network, data = opened(files, LABELLED)
    validation = secateur.open_dataset(LABELLED, network, limit=60)
    found = secateur.iterate(
        network, data, tmp_path, rates=[0.4, 0.7], criterion="l1", repair="none",
        finetune=tuning(), validation=validation, limits=ANY,
    )  # fmt: skip
    assert json.loads(json.dumps(found.to_data())) == json.loads(
        (tmp_path / "rounds.json").read_text()
    )
    assert (found.validation, found.validation_samples) == (LABELLED, 60)
    names = [Path(file).name for file in files]
    for entry in found.rounds:
        folder = tmp_path / entry.folder
        assert {path.name for path in folder.iterdir()} == {
            *names, "plan.yaml", "round.json", "finetune.json", "history.csv",
        }  # fmt: skip
        written = secateur.load(*(folder / name for name in names))
        assert secateur.evaluate(written, validation).value == entry.value
        assert entry.loss == pytest.approx(100 * (found.original_value - entry.value))
        # The plan counts from the original, and training changed weights, not shapes.
        plan = secateur.load_plan(folder / "plan.yaml")
        pruned = secateur.apply_plan(network, plan, repair="none")
        assert pruned.network.inputs == written.inputs
        shapes = [
            {name: net.array(name).shape for name in net.graph.initializers}
            for net in (pruned.network, written)
        ]
        assert shapes[0] == shapes[1]
        assert entry.achieved == pytest.approx(entry.rate, abs=0.03)
        assert entry.seconds > 0
    second = json.loads((tmp_path / "round-02" / "finetune.json").read_text())
    assert second["best"]["held_out"] < second["history"][0]["held_out"]
    assert found.rounds[1].value > found.rounds[1].pruned_value
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "round-01", "round-02", "rounds.json",
    ]  # fmt: skip


@pytest.mark.parametrize("previous", [None, False])
def test_the_second_round_starts_from_trained_weights_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, previous: bool | None
) -> None:
    started = []

    def noting(network: secateur.Network, *given: Any, **named: Any) -> secateur.PruneResult:
        started.append(digest(network))
        return secateur.prune(network, *given, **named)

    monkeypatch.setattr("secateur.core.pruning.iterate.prune", noting)
    network, data = opened(CAFFE, LABELLED, 80)
    secateur.iterate(
        network, data, tmp_path, rates=[0.3, 0.5], criterion="l1", repair="none",
        finetune=tuning(), previous=previous, limits=ANY,
    )  # fmt: skip
    first = secateur.load(*(tmp_path / "round-01" / Path(file).name for file in CAFFE))
    assert json.loads((tmp_path / "round-01/finetune.json").read_text())["best"]["step"]
    assert started == [digest(network), digest(network if previous is False else first)]


def test_images_seen_are_counted_on(tmp_path: Path) -> None:
    network, data = opened(DARKNET, LABELLED)
    secateur.iterate(
        network, data, tmp_path, rates=[0.3, 0.5], criterion="l1", repair="none", finetune=tuning()
    )
    seen = int.from_bytes(Path(DARKNET[1]).read_bytes()[12:20], "little")
    for number in (1, 2):
        folder = tmp_path / f"round-0{number}"
        best = json.loads((folder / "finetune.json").read_text())["best"]["step"]
        seen += 16 * best
        written = (folder / "shapes.weights").read_bytes()
        assert int.from_bytes(written[12:20], "little") == seen


def test_without_labels_the_original_teaches(tmp_path: Path) -> None:
    network, data = opened(CAFFE, UNLABELLED)
    found = secateur.iterate(
        network, data, tmp_path, rates=[0.6], criterion="l1", repair="none", finetune=tuning()
    )
    stages = {
        row["stage"]
        for row in csv.DictReader((tmp_path / "round-01/history.csv").read_text().splitlines())
    }
    assert stages >= {"start", "vectors", "features", "features and outputs"}
    assert found.metric == "KL divergence"
    assert found.rounds[0].value < found.rounds[0].pruned_value
    assert any("one sample in 10 is held out" in note for note in found.notes)
    assert (found.samples, found.validation_samples) == (54, 6) or (
        found.samples + found.validation_samples == data.samples
    )


def test_an_analysis_of_the_original_serves_all_rounds(tmp_path: Path) -> None:
    network, data = opened(CAFFE, LABELLED, 40)
    curves = secateur.analyze(network, data, rates=[0.25, 0.5, 0.75], criterion="l1")
    groups = secateur.find_groups(network)
    found = secateur.iterate(
        network, data, tmp_path, rates=[0.3, 0.5], analysis=curves, finetune=tuning(),
        repair="none", validation=data,
    )  # fmt: skip
    for entry in found.rounds:
        plan = secateur.load_plan(tmp_path / entry.folder / "plan.yaml")
        direct = secateur.prune(network, rate=entry.rate, analysis=curves, repair="none").plan
        assert {g.name: g.kept for g in plan.groups} == {g.name: g.kept for g in direct.groups}
        assert len(plan.groups) == sum(group.prunable for group in groups.groups)


def test_a_gate_ends_rounds_and_the_last_one_that_passed_is_the_best(tmp_path: Path) -> None:
    network, data = opened(CAFFE, LABELLED)
    settings = {
        "rates": [0.2, 0.85, 0.88], "criterion": "l1", "repair": "none",
        "finetune": tuning(steps=1, measurements=1), "validation": data,
    }  # fmt: skip
    found = secateur.iterate(network, data, tmp_path, max_drop=10, **settings)
    assert [entry.passed for entry in found.rounds] == [True, False]
    assert found.best.number == 1
    assert not (tmp_path / "round-03").exists()


class Stopped(Exception):
    """Stands for a kill."""


def stopping(calls: int) -> Callable[[str, int, int], None]:
    """Return a progress that raises at a call."""
    left = [calls]

    def progress(label: str, done: int, total: int) -> None:
        del label, done, total
        left[0] -= 1
        if not left[0]:
            raise Stopped

    return progress


@pytest.mark.parametrize("data", [LABELLED, UNLABELLED], ids=["labels", "teacher"])
def test_stopped_anywhere_and_run_again_it_comes_to_the_same(data: str, tmp_path: Path) -> None:
    network, samples = opened(CAFFE, data, 80)
    settings = {
        "rates": [0.3, 0.6], "criterion": "l1", "repair": "bias",
        "finetune": tuning(checkpoint=1e-9),
        "validation": samples,
    }  # fmt: skip
    calls = [0]

    def counting(label: str, done: int, total: int) -> None:
        del label, done, total
        calls[0] += 1

    secateur.iterate(network, samples, tmp_path / "whole", progress=counting, **settings)
    stops = 0
    for part in range(1, 9):
        try:
            secateur.iterate(
                network, samples, tmp_path / "broken", progress=stopping(calls[0] * part // 9),
                **settings,
            )  # fmt: skip
        except Stopped:
            stops += 1
            hidden = list((tmp_path / "broken").glob(".work-*"))
            assert len(hidden) <= 1
            assert all(len(list(path.rglob("checkpoint-*"))) <= 2 for path in hidden)
        assert not list((tmp_path / "broken").glob(".round-*"))
    assert stops >= 3
    secateur.iterate(network, samples, tmp_path / "broken", **settings)
    assert lasting(tmp_path / "broken") == lasting(tmp_path / "whole")


def test_what_was_pruned_and_trained_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from secateur.workflows import rounds

    network, data = opened(CAFFE, LABELLED, 80)
    settings = {
        "rates": [0.4], "criterion": "l1", "repair": "none", "finetune": tuning(),
        "validation": data,
    }  # fmt: skip
    secateur.iterate(network, data, tmp_path / "whole", **settings)
    real = rounds._Folder._reread
    # Killed when the round is trained and written, but not yet measured.
    monkeypatch.setattr(rounds._Folder, "_reread", lambda *_: (_ for _ in ()).throw(Stopped()))
    with pytest.raises(Stopped):
        secateur.iterate(network, data, tmp_path / "broken", **settings)
    monkeypatch.setattr(rounds._Folder, "_reread", real)
    tuned = tmp_path / "broken" / ".work-01" / "tuned" / "shapes.caffemodel"
    written = tuned.stat().st_mtime_ns
    labels = []
    secateur.iterate(
        network, data, tmp_path / "broken", progress=lambda label, *_: labels.append(label),
        **settings,
    )  # fmt: skip
    assert not [label for label in labels if "training" in label]
    assert (tmp_path / "broken/round-01/shapes.caffemodel").stat().st_mtime_ns == written
    assert lasting(tmp_path / "broken") == lasting(tmp_path / "whole")


def test_another_training_does_not_go_on_with_rounds(tmp_path: Path) -> None:
    network, data = opened(CAFFE, LABELLED, 80)
    settings = {"rates": [0.3], "criterion": "l1", "repair": "none", "validation": data}
    with pytest.raises(Stopped):
        secateur.iterate(
            network, data, tmp_path, finetune=tuning(steps=500), **settings,
            progress=lambda label, done, _: (_ for _ in ()).throw(Stopped())
            if "training" in label and done > 3 else None,
        )  # fmt: skip
    assert (tmp_path / ".work-01").is_dir()
    with pytest.raises(DataError, match="belongs to another model, other data or other settings"):
        secateur.iterate(network, data, tmp_path, finetune=tuning(steps=12), **settings)
    secateur.iterate(network, data, tmp_path, finetune=tuning(steps=12), restart=True, **settings)
    # When and where it is trained changes nothing.
    again = tuning(steps=12, checkpoint=7.0, device="cpu")
    secateur.iterate(network, data, tmp_path, finetune=again, **settings)


def test_the_program_is_killed_while_it_trains_and_goes_on(tmp_path: Path) -> None:
    arguments = (
        *CAFFE, "--data", LABELLED, "--rates", "0.3,0.6", *FLAGS, "--finetune-checkpoint",
        "0.001s", "--no-repair",
    )  # fmt: skip
    folder = tmp_path / "killed"
    for wanted in ("training", "writing", "second"):
        process = subprocess.Popen(
            command("iterate", *arguments, "-o", folder), env=ALONE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while process.poll() is None and not reached(folder, wanted):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    for name in ("killed", "whole"):
        done = subprocess.run(
            command("iterate", *arguments, "-o", tmp_path / name), env=ALONE,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert lasting(folder) == lasting(tmp_path / "whole")
    assert max(map(len, done.stdout.splitlines())) <= 80
    for word in ("Pruned", "Tuned", "Drop", "Time", "Accuracy"):
        assert word in done.stdout
    assert "one sample in 10 is held out: rounds are trained on 108" in done.stderr


def reached(folder: Path, wanted: str) -> bool:
    """Whether a run came to a moment."""
    if wanted == "second":
        return any(folder.glob(".work-02/tuned/checkpoint-*"))
    if wanted == "writing":
        return any(folder.glob(".work-01/tuned/shapes.*"))
    return any(folder.glob(".work-01/tuned/checkpoint-0000000*"))


def test_pytorch_is_missed_before_anything_is_computed(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('none')\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from secateur.cli.main import main; main()\n"
    )
    arguments = ("iterate", *CAFFE, "--data", LABELLED, "--rates", "0.3", *FLAGS, "-o",
                 tmp_path / "out")  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], env=ENVIRONMENT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "training needs PyTorch (hint: pip install 'secateur[train]')" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("--finetune", "soon"), "--finetune: 'soon' is no length, such as 2epochs", 2),
        (("--finetune", "0epochs"), "--finetune: it must be over 0, got 0", 2),
        (("--finetune", "1.5steps"), "--finetune: '1.5steps' is no length", 2),
        (("--finetune-distill", 1), "--finetune-distill: it goes with --finetune", 2),
        (("--finetune", 1, "--finetune-distill", 2), "--finetune-distill: a share is from 0", 2),
        (("--finetune-solver", "s.prototxt"), "--finetune-solver: it goes with --finetune", 2),
        (("--finetune", 1, "--layer-rate", "conv1=0.5"), "--from original", 2),
        (("--finetune", 1, "--finetune-own-solver"), "name no schedule", 1),
        (("--finetune", 1, "--finetune-freeze", "nobody"), "cannot freeze 'nobody'", 1),
        (("--schedule", "geometric"), "--schedule: it goes with --to and --rounds", 2),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, arguments: tuple[object, ...], message: str, code: int
) -> None:
    result = run(
        "iterate", *CAFFE, "--data", UNLABELLED, "--limit", 30, "--rates", 0.3, "-q", *arguments,
        "-o", tmp_path / "out", code=code,
    )  # fmt: skip
    assert message in one_line(result)
    assert not (tmp_path / "out").exists()


def test_rates_rise_as_a_schedule_says() -> None:
    assert secateur.rising_rates(0.6, 3, "linear") == (0.2, 0.4, 0.6)
    rates = secateur.rising_rates(0.875, 3, "geometric")
    assert rates == (0.5, 0.75, 0.875)
    with pytest.raises(PlanError, match="linear or geometric, not cubic"):
        secateur.rising_rates(0.5, 2, "cubic")


@pytest.mark.parametrize("images", [False, True])
def test_samples_held_out_keep_their_labels(images: bool, tmp_path: Path) -> None:
    import cv2

    network, data = opened(CAFFE, LABELLED)
    if images:
        lines = []
        for number in range(80):
            path = tmp_path / f"{number:03d}.png"
            cv2.imwrite(str(path), np.full((8, 8, 3), 3 * number, np.uint8))
            lines.append(f"{path} {number % 4}")
        (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")
        data = secateur.open_dataset(tmp_path / "list.txt", network)
    whole = [(batch.inputs["data"], batch.labels) for batch in data]
    inputs, labels = (np.concatenate(parts) for parts in zip(*whole, strict=True))
    trained, measured = parted(data, network)
    assert (trained.samples, measured.samples) == (len(labels) * 9 // 10, len(labels) // 10)
    apart = np.arange(len(labels)) % 10 == 9
    for part, chosen in ((trained, ~apart), (measured, apart)):
        found = [(batch.inputs["data"], batch.labels) for batch in part]
        own, known = (np.concatenate(parts) for parts in zip(*found, strict=True))
        assert np.array_equal(own, inputs[chosen])
        assert np.array_equal(known, labels[chosen])
    assert parted(secateur.open_dataset(LABELLED, network, limit=30), network) is None
