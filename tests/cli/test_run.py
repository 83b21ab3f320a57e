"""`secateur run` as users meet it: steps that run once, changed inputs, kills, and a dry run."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import pytest

import secateur
from secateur.core.errors import DataError, FormatError
from secateur.workflows.pipeline.cache import Store
from support.page import Page, faults
from support.pipelines import lenet_pipeline
from support.program import ENVIRONMENT, command, one_line, run
from support.training import need_torch

KILLS = int(os.environ.get("SECATEUR_KILLS", "2"))
"""How often the test of kills kills: 50 for a thorough look."""

TRAINED = """\
finetune: {steps: 12, batch-size: 8, measurements: 2, learning-rate: 0.001, checkpoint: 0.001}
valid:
"""

ONE_THREAD = {**ENVIRONMENT, "OMP_NUM_THREADS": "1"}


def ran(file: Path, *settings: str, **more: object) -> list[str]:
    """Run a pipeline here; return the steps that ran."""
    found = secateur.run_pipeline(secateur.load_pipeline(file, settings=settings), **more)
    return [step.name for step in found.steps if step.ran]


def files(folder: Path) -> dict[str, bytes]:
    """Relative path → content of every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_what_users_see(shared, tmp_path):
    file = lenet_pipeline(shared, tmp_path)
    first = run("run", file)
    assert "│ Operations" in first.stdout
    places = [first.stdout.index(f"│ {item}") for item in ("Operations", "File size", "Latency")]
    assert places == sorted(places), "as the commands have them"
    assert "│ Accuracy" in first.stdout
    assert f"the model: {tmp_path / 'out/prune/lenet.caffemodel'}" in first.stderr
    assert max(map(len, first.stdout.splitlines())) <= 80
    before = times(tmp_path / "out/prune") | times(tmp_path / "out/valid")
    again = run("run", tmp_path)  # the folder stands for the file
    assert again.stdout == ""
    lines = again.stderr.splitlines()
    assert lines[:2] == [
        f"{name}: nothing changed, {tmp_path / 'out' / name} stays as it is"
        for name in ("prune", "valid")
    ]
    assert before == times(tmp_path / "out/prune") | times(tmp_path / "out/valid")
    result = run("run", file, "--set", "prune.rate=0.2", "--json", "-q")
    content = json.loads(result.stdout)
    assert [(step["step"], step["ran"]) for step in content["steps"]] == [
        ("prune", True), ("valid", True),
    ]  # fmt: skip
    prune, valid = content["steps"]
    assert 0.1 < prune["figures"]["rate"] <= 0.2
    original, small = valid["figures"]["models"]
    assert (original["name"], small["name"]) == ("original", "prune")
    assert original["value"] > 0.9
    network = secateur.load(*content["model"])
    reading = {"scale": 0.00390625}
    data = secateur.open_dataset(tmp_path / "test", network, **reading)
    assert secateur.evaluate(network, data).value == small["value"]


def test_a_step_runs_again_where_its_inputs_changed(shared, tmp_path):
    file = lenet_pipeline(shared, tmp_path)
    assert ran(file) == ["prune", "valid"]
    assert ran(file) == []
    image = next((tmp_path / "test").rglob("*.png"))
    os.utime(image, (1, 1))  # another time, the same content
    assert ran(file) == []
    pixels = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE)
    assert cv2.imwrite(str(image), 255 - pixels)
    assert ran(file) == ["valid"]
    # Calibration reads the first 40 images only, in the order of their names.
    images = sorted((tmp_path / "train").rglob("*.png"))
    cv2.imwrite(str(images[50]), 255 - cv2.imread(str(images[50]), cv2.IMREAD_GRAYSCALE))
    assert ran(file) == []
    cv2.imwrite(str(images[3]), 255 - cv2.imread(str(images[3]), cv2.IMREAD_GRAYSCALE))
    assert ran(file)[:1] == ["prune"]
    assert ran(file, "valid.top-k=[1, 3]") == ["valid"]
    assert ran(file, "preprocess.scale=0.004") == ["prune", "valid"]
    assert ran(file, "prune.rate=0.5") == ["prune", "valid"]
    text = (tmp_path / "lenet.prototxt").read_text()
    (tmp_path / "lenet.prototxt").write_text(f"# a comment\n{text}")
    assert ran(file, "prune.rate=0.5") == ["prune", "valid"]
    weights = tmp_path / "out/prune/lenet.caffemodel"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")  # what a step made is its own affair
    assert ran(file, "prune.rate=0.5") == ["prune"]
    shutil.rmtree(tmp_path / "out/valid")
    assert ran(file, "prune.rate=0.5") == ["valid"]
    assert ran(file, "prune.rate=0.5", "valid.threads=1") == []  # changes no figure


def test_a_list_counts_by_its_images_wherever_they_are(shared, tmp_path):
    file = lenet_pipeline(shared, tmp_path)
    images = sorted((tmp_path / "train").rglob("*.png"))[:30]
    lines = [f"{path} {path.parent.name}\n" for path in images]
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/train.txt").write_text("".join(lines))
    setting = "data.calibration=lists/train.txt"
    assert ran(file, setting) == ["prune", "valid"]
    assert ran(file, setting) == []
    cv2.imwrite(str(images[7]), 255 - cv2.imread(str(images[7]), cv2.IMREAD_GRAYSCALE))
    assert ran(file, setting)[:1] == ["prune"]
    (tmp_path / "lists/train.txt").write_text("".join(reversed(lines)))
    assert ran(file, setting)[:1] == ["prune"]


def test_steps_that_are_asked_for(shared, tmp_path):
    file = lenet_pipeline(shared, tmp_path)
    assert ran(file, until="prune") == ["prune"]
    assert ran(file) == ["valid"]
    assert ran(file, again_from="valid") == ["valid"]
    assert ran(file, again_from="prune") == ["prune", "valid"]
    assert ran(file, restart=True) == ["prune", "valid"]
    told = one_line(run("run", file, "--until", "prun", code=1))
    assert told == "error: the pipeline has no step 'prun' (hint: did you mean prune?)"


def test_an_analysis_leads_the_pruning(shared, tmp_path):
    text = "ana: {rates: [0.3, 0.6]}\nvalid:\n"
    file = lenet_pipeline(shared, tmp_path, text)
    found = secateur.run_pipeline(secateur.load_pipeline(file))
    plan = secateur.load_plan(tmp_path / "out/prune/plan.yaml")
    assert [step.name for step in found.steps] == ["ana", "prune", "valid"]
    assert plan.provenance["allocation"] == "sensitivity"
    analysis = secateur.load_analysis(tmp_path / "out/ana")
    assert [point.rate for point in analysis.groups[0].points] == [0.3, 0.6]
    # The same plan comes of it, and so valid has nothing new to measure.
    assert ran(file, "ana.rates=[0.3, 0.6, 0.8]") == ["ana", "prune"]


def test_a_sparse_model_is_trained_and_made_small(shared, tmp_path):
    need_torch()
    file = lenet_pipeline(shared, tmp_path, TRAINED + "transform:\n")
    found = secateur.run_pipeline(secateur.load_pipeline(file, settings=["prune.mode=sparse"]))
    assert [step.name for step in found.steps] == ["prune", "finetune", "transform", "valid"]
    networks = {step.name: secateur.load(*step.files) for step in found.steps if step.files}
    costs = {
        name: secateur.measure_cost(network, secateur.find_groups(network)).operations
        for name, network in networks.items()
    }
    assert costs["prune"] == costs["finetune"] > costs["transform"]
    assert found.model == tuple((tmp_path / "out/transform") / p.name for p in found.model)
    assert (tmp_path / "out/finetune/plan.yaml").is_file()
    names = [model["name"] for model in found.steps[-1].figures["models"]]
    assert names == ["original", "prune", "transform"]


def test_a_dry_run_touches_nothing(shared, tmp_path):
    need_torch()
    file = lenet_pipeline(shared, tmp_path, TRAINED)
    before = files(tmp_path)
    result = run("run", file, "--dry-run", "--json")
    content = json.loads(result.stdout)
    assert files(tmp_path) == before
    assert [(step["step"], step["runs"], step["why"]) for step in content["steps"]] == [
        (name, True, "it is new") for name in ("prune", "finetune", "valid")
    ]
    assert content["data"] == {"calibration": 40, "training": 60, "validation": 30, "test": 30}
    assert content["rate"] == 0.4
    assert content["after"] == pytest.approx(0.6 * content["operations"])
    assert 0.9 < content["largest_rate"] < 1
    assert all(step["seconds"] > 0 for step in content["steps"])
    assert ran(file, until="prune") == ["prune"]
    before = times(tmp_path)
    shown = run("run", file, "--dry-run")
    assert times(tmp_path) == before
    assert "│ prune" in shown.stdout
    assert "nothing changed" in shown.stdout
    assert "asked is 0.4" in shown.stdout
    reached = str(content["largest_rate"])[:5]
    told = one_line(run("run", file, "--dry-run", "--set", "prune.rate=0.99", code=1))
    assert f"rate 0.99 is out of reach, {reached}" in told
    assert times(tmp_path) == before


def test_what_cannot_be_done_is_told_before_anything_is(shared, tmp_path):
    file = lenet_pipeline(shared, tmp_path)
    for setting, told in (
        ("prune.rate=0.999", "rate 0.999 is out of reach"),
        ("data.test=nowhere", "there is no data at"),
        ("task=clasification", "did you mean classification"),
        ("prune.exclude=conv9", "conv9"),
    ):
        with pytest.raises(secateur.SecateurError) as error:
            ran(file, setting)
        assert told in str(error.value)
        assert not (tmp_path / "out").exists(), setting


def test_a_page_over_all_steps(shared, tmp_path):
    need_torch()
    text = f"ana: {{rates: [0.3, 0.9]}}\n{TRAINED}report: page/\n"
    file = lenet_pipeline(shared, tmp_path, text)
    report = tmp_path / "page/report.html"
    told = run("run", file).stderr
    assert f"the report: {report}" in told
    content = report.read_text(encoding="utf-8")
    assert faults(content) == []
    page = Page(content)
    assert [title for level, title in page.headings if level == 2] == [
        "In short", "Before and after", "The steps", "Efficiency and quality", "Training",
        "Sensitivity", "Layer by layer", "Order of removal", "Where they disagree most",
        "Why channels are fixed", "Verification", "The graph", "Do it again",
    ]  # fmt: skip
    for step in ("ana", "prune", "finetune", "valid"):
        assert (tmp_path / "out" / step / "step.json").is_file()
    plan = secateur.load_plan(tmp_path / "out/prune/plan.yaml")
    assert f"rate {plan.provenance['rate']['achieved']:.3g} reached" in page.text
    assert "ana: rates 0.3, 0.9" in page.text
    assert "finetune: steps 12" in page.text
    assert "12 updates of 8 samples" in page.text
    kept = json.loads((tmp_path / "out/valid/step.json").read_text())["figures"]
    original, last = kept["models"][0], kept["models"][-1]
    assert f"{100 * original['value']:.2f} %" in page.text
    assert f"{100 * last['value']:.2f} %" in page.text
    assert f"secateur run {file}" in " ".join(page.text.replace("\\", "").split())
    assert "rate: 0.4 criterion: l1" in page.text  # the file, as it is
    # A page that tells of these steps stays; another place gets its own; other steps, another page.
    before = report.stat().st_mtime_ns
    assert ran(file) == []
    assert report.stat().st_mtime_ns == before
    run("run", file, "--report", tmp_path / "other.html")
    assert faults((tmp_path / "other.html").read_text(encoding="utf-8")) == []
    (tmp_path / "other.html").write_text("something else")
    content = json.loads(run("run", file, "--report", tmp_path / "other.html", "--json").stdout)
    assert content["report"] == str(tmp_path / "other.html")
    assert faults((tmp_path / "other.html").read_text(encoding="utf-8")) == []
    assert ran(file, "valid.top-k=[1, 3]") == ["valid"]
    assert report.stat().st_mtime_ns > before


def test_a_page_of_a_sparse_model_and_of_few_steps(shared, tmp_path):
    file = lenet_pipeline(shared, tmp_path, "")
    report = tmp_path / "a.html"
    secateur.run_pipeline(
        secateur.load_pipeline(file, settings=["prune.mode=sparse", f"report={report}"])
    )
    page = Page(report.read_text(encoding="utf-8"))
    assert "full size with zeros" in page.text
    dense = secateur.densify(
        secateur.load(
            tmp_path / "out/prune/lenet.prototxt", tmp_path / "out/prune/lenet.caffemodel"
        ),
        secateur.load_plan(tmp_path / "out/prune/plan.yaml"),
    ).network
    small = secateur.describe(dense).cost.operations
    assert f"The model has {secateur.count_text(small)} operations instead" in page.text
    settings = ["prune.mode=sparse", "transform={}", f"report={report}"]
    secateur.run_pipeline(secateur.load_pipeline(file, settings=settings))
    page = Page(report.read_text(encoding="utf-8"))
    assert "Model with zeros = model without them" in page.text
    assert "transform: written files = network in memory" in page.text


def test_a_report_that_a_step_would_replace_is_refused(shared, tmp_path):
    file = lenet_pipeline(shared, tmp_path)
    told = one_line(run("run", file, "--report", tmp_path / "out/prune/a.html", code=1))
    assert "the step prune replaces its folder, and a report in it" in told
    assert not (tmp_path / "out").exists()
    told = one_line(run("run", file, "--report", tmp_path / "a.pdf", code=1))
    assert "a report is an HTML file, not '.pdf'" in told


def test_a_broken_record_is_one_line(shared, tmp_path):
    file = lenet_pipeline(shared, tmp_path)
    assert ran(file) == ["prune", "valid"]
    record = tmp_path / "out/prune/step.json"
    content = json.loads(record.read_text())
    content["details"]["verification"] = []
    record.write_text(json.dumps(content))
    told = one_line(run("run", file, "-q", "--report", tmp_path / "a.html", code=1))
    assert (
        "step.json: the record of prune cannot be read (hint: --from prune makes it again)" in told
    )


def test_what_no_pipeline_made_stays(shared, tmp_path):
    file = lenet_pipeline(shared, tmp_path)
    (tmp_path / "out/prune").mkdir(parents=True)
    (tmp_path / "out/prune/mine.txt").write_text("mine")
    with pytest.raises(FormatError, match="is in the way: no pipeline made it"):
        ran(file, restart=True)
    assert (tmp_path / "out/prune/mine.txt").read_text() == "mine"
    shutil.rmtree(tmp_path / "out")
    assert ran(file) == ["prune", "valid"]
    inside = "model=[out/prune/lenet.prototxt, out/prune/lenet.caffemodel]"
    before = files(tmp_path / "out/prune")
    with pytest.raises(FormatError, match="would overwrite the input"):
        ran(file, inside)
    assert files(tmp_path / "out/prune") == before


def test_a_limit_on_the_loss_ends_a_run(shared, tmp_path):
    file = lenet_pipeline(shared, tmp_path)
    told = one_line(
        run("run", file, "--set", "prune.rate=0.9", "--set", "prune.max-drop=1", code=3)
    )
    assert "drops by" in told
    assert not (tmp_path / "out/prune").exists()


def test_figures_that_flatter_are_cautioned(shared, tmp_path):
    file = lenet_pipeline(shared, tmp_path)
    told = run("run", file, "--set", "data.test=train").stderr
    assert "also chooses channels: the figures of valid flatter" in told


def _killed(arguments: Sequence[str], out: Path, seconds: float, number: int) -> tuple[int, str]:
    """Send a signal some seconds after the run began to write; return how it ended."""
    child = subprocess.Popen(
        arguments, env=ONE_THREAD, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while child.poll() is None and not out.is_dir():
        time.sleep(0.002)
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.send_signal(number)
    _, told = child.communicate(timeout=300)
    assert "Traceback" not in told
    return child.returncode, told


def models(out: Path) -> dict[str, bytes]:
    """Return the files of the models of all steps."""
    return {
        name: content
        for name, content in files(out).items()
        if Path(name).stem in ("lenet", "plan")
    }


def test_a_killed_run_goes_on_to_the_same_bytes(shared, tmp_path):
    """SIGKILL at random moments, Ctrl-C once: no half-written step is ever seen."""
    need_torch()
    file = lenet_pipeline(shared, tmp_path, TRAINED)
    whole = tmp_path / "whole"
    began = time.monotonic()
    ended = subprocess.run(
        command("run", file, "--set", "output=whole"), env=ONE_THREAD, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    seconds = time.monotonic() - began
    draw = random.Random(5)
    out = tmp_path / "out"
    kills = 0
    for attempt in range(20 * KILLS):
        signals = signal.SIGINT if attempt == 0 else signal.SIGKILL
        wait = draw.uniform(0, seconds)
        code, told = _killed(command("run", file), out, wait, signals)
        for step in ("prune", "finetune", "valid"):
            if (out / step).exists():
                assert Store(out).known(step) is not None
        if code == 0:
            assert models(out) == models(whole)
            shutil.rmtree(out)
            continue
        if signals == signal.SIGINT:
            assert code == 130, told
            assert told.strip().splitlines()[-1].count("stopped") == 1
        else:
            assert code == -signal.SIGKILL, told
        kills += 1
        if kills >= KILLS:
            break
    assert kills >= KILLS
    run("run", file)
    assert models(out) == models(whole)
    hidden = {path.name for path in out.iterdir() if path.name.startswith(".")}
    assert hidden == set()


@pytest.fixture
def store(tmp_path) -> Store:
    """A step that is done, whose folder holds a file "old"."""
    found = Store(tmp_path)
    (found.begin("prune", "a", resumes=False) / "old").write_text("old")
    found.keep("prune", "a", figures={}, seconds=1.0)
    (found.begin("prune", "b", resumes=True) / "new").write_text("new")
    return found


def test_a_step_appears_whole_wherever_a_run_was_killed(store, tmp_path, monkeypatch):
    """Stop before each renaming and removal in turn: then the old step is there, or the new."""
    kept = files(tmp_path)
    seen = set()
    for number in range(12):
        shutil.rmtree(tmp_path)
        for name, content in kept.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        with monkeypatch.context() as patched:
            stop = _Stop(number)
            for owner, name in ((Path, "replace"), (Path, "unlink"), (shutil, "rmtree")):
                patched.setattr(owner, name, stop.before(getattr(owner, name)))
            try:
                store.keep("prune", "b", figures={}, seconds=1.0)
            except _Stopped:
                pass
            else:
                assert number > 3
                break
        store.sweep("prune")
        found = store.known("prune")
        assert found is not None
        seen.add(found.key)
        assert {path.name for path in found.folder.iterdir()} == {
            "old" if found.key == "a" else "new", "step.json",
        }  # fmt: skip
        assert found.key == "b" or (store.begin("prune", "b", resumes=True) / "new").is_file()
    assert seen == {"a", "b"}


class _Stopped(Exception):
    """Stands for a kill."""


class _Stop:
    """Ends the program, as it were, at one of its changes to the disk."""

    def __init__(self, number: int):
        self.left = number

    def before(self, real):
        def changed(*arguments: object, **more: object) -> object:
            self.left -= 1
            if self.left < 0:
                raise _Stopped
            return real(*arguments, **more)

        return changed


def test_work_of_other_inputs_is_not_gone_on_with(store):
    assert store.begun("prune", "b")
    work = store.begin("prune", "b", resumes=True)
    assert (work / "new").is_file()
    assert list(store.begin("prune", "c", resumes=True).iterdir()) == []
    assert not store.begun("prune", "b")


def test_two_runs_in_a_folder(shared, tmp_path):
    from secateur.core.files import alone_in

    file = lenet_pipeline(shared, tmp_path)
    (tmp_path / "out").mkdir()
    with alone_in(tmp_path / "out"), pytest.raises(DataError, match="another run is at work"):
        ran(file)


def test_labels_in_a_file_beside_the_images_count(shared, tmp_path):
    """An IDX file of images has its labels in another one."""
    file = lenet_pipeline(shared, tmp_path)
    for part in ("images-idx3", "labels-idx1"):
        packed = shared / f"data/mnist/t10k-{part}-ubyte.gz"
        (tmp_path / f"t10k-{part}-ubyte").write_bytes(gzip.decompress(packed.read_bytes()))
    setting = "data.test={path: t10k-images-idx3-ubyte, limit: 40}"
    assert ran(file, setting) == ["prune", "valid"]
    labels = tmp_path / "t10k-labels-idx1-ubyte"
    content = bytearray(labels.read_bytes())
    content[8] = (content[8] + 1) % 10
    labels.write_bytes(content)
    assert ran(file, setting) == ["valid"]
