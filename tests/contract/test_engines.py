"""Engines in processes of their own: what they do wrong costs a message, and no more."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secateur
from secateur.workflows.engines import process as engine_process
from secateur.workflows.engines.arrays import load_arrays, save_arrays
from secateur.workflows.engines.process import EngineProcess, processors
from secateur.workflows.engines.registry import ENGINES, Engine
from secateur.workflows.engines.stopwatch import EngineStopwatch

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]

FAKES = """
import os, subprocess, sys, time
import numpy as np
from secateur import ENGINES, Engine


def works(job):
    print("engines print what they like")
    width = sum(array.size for array in job.inputs.values())
    return lambda: {name: np.full((1, 10), width, np.float32) for name in job.outputs}


def refuses(job):
    raise ValueError("it does not\\nlike the network")


def crashes(job):
    print("the last words of a crash", file=sys.stderr, flush=True)
    os.abort()


def crashes_later(job):
    def run():
        os.abort()
    return run


def hangs(job):
    time.sleep(600)


def hangs_later(job):
    def run():
        time.sleep(600)
    return run


def picky(job):
    if job.files[".onnx"].stat().st_size < 400_000:
        os.abort()
    return works(job)


def choosy(job):
    if job.files[".onnx"].stat().st_size < 400_000:
        raise ValueError("it is too small")
    return works(job)


def converts(job):  # what is started holds a lock as long as it lives
    hold = (
        "import fcntl, time; file = open('lock', 'w'); fcntl.flock(file, fcntl.LOCK_EX); "
        "open('held', 'w').close(); time.sleep(60)"
    )
    subprocess.run([sys.executable, "-c", hold], cwd=job.folder)


def ends_in_time(job):  # not yet when outputs are asked for, but when times are
    again = []
    run = choosy(job)

    def counted():
        again.append(1)
        if len(again) > 1:
            os.abort()
        return run()

    return counted


def narrow(job):
    width = len(os.sched_getaffinity(0))
    return lambda: {name: np.full(1, width, np.float32) for name in job.outputs}


for load in (
    works, picky, refuses, crashes, crashes_later, hangs, hangs_later, choosy, converts,
    ends_in_time, narrow,
):
    ENGINES.add(load.__name__, entry=Engine(
        name=load.__name__, summary="a fake", modules={}, reads=("onnx",), load=load,
        version=lambda: "1.2",
    ))
"""


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package with engines, for the processes that this one starts."""
    (tmp_path / "fake_engines.py").write_text(FAKES)
    info = tmp_path / "fake_engines-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-engines\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[secateur.engines]\nfakes = fake_engines\n")
    monkeypatch.syspath_prepend(tmp_path)


def job(folder: Path) -> dict[str, Any]:
    save_arrays(folder / "x.npz", {"data": np.ones((1, 3), np.float32)})
    return {"format": "onnx", "files": {}, "inputs": str(folder / "x.npz"), "outputs": ["y"],
            "folder": str(folder)}  # fmt: skip


def fake(name: str, *reads: str) -> EngineStopwatch:
    """Return what the parent knows of an engine of the package: its name, and what it reads."""
    return EngineStopwatch(
        Engine(name=name, summary="", modules={}, reads=reads or ("onnx",), load=None, version=None)  # type: ignore[arg-type]
    )


@pytest.mark.usefixtures("fakes")
def test_an_engine_loads_times_and_gives_what_it_computes(tmp_path):
    with EngineProcess("works", 1) as process:
        assert process.version == "1.2"
        numbers = [process.load(job(tmp_path)), process.load(job(tmp_path))]
        assert numbers == [0, 1]
        times = process.time([0, 1, 1, 0])
        assert len(times) == 4
        assert all(one >= 0 for one in times)
        process.outputs(1, str(tmp_path / "out.npz"))
    found = load_arrays(tmp_path / "out.npz")
    assert list(found) == ["y"]
    assert (found["y"] == 3).all()


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("refuses", "engine 'refuses': it does not like the network"),
        ("crashes", "engine 'crashes' ended by signal SIGABRT: the last words of a crash"),
        ("hangs", "engine 'hangs' did not answer within 1 s, and was ended"),
    ],
)
def test_what_goes_wrong_in_loading_is_one_line(tmp_path, monkeypatch, name, told):
    with EngineProcess(name, 1) as process:
        monkeypatch.setattr(engine_process, "LOADING", 1.0)
        with pytest.raises(secateur.UnsupportedError) as raised:
            process.load(job(tmp_path))
    assert raised.value.message == told


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(
    ("name", "told", "again"),
    [
        ("crashes_later", "ended by signal SIGABRT", "ended by signal SIGABRT"),
        ("hangs_later", "did not answer within 0.6 s, and was ended", "ended by signal SIGKILL"),
    ],
)
def test_what_goes_wrong_in_a_run_is_one_line(tmp_path, monkeypatch, name, told, again):
    with EngineProcess(name, 1) as process:
        process.load(job(tmp_path))
        monkeypatch.setattr(engine_process, "RUNNING", 0.2)
        with pytest.raises(secateur.UnsupportedError) as raised:
            process.time([0, 0])
        assert raised.value.message == f"engine '{name}' {told}"
        assert not process.alive
        with pytest.raises(secateur.UnsupportedError) as raised:
            process.time([0])  # it is gone, and that is said again
        assert raised.value.message == f"engine '{name}' {again}"


@pytest.mark.usefixtures("fakes")
def test_a_converter_ends_with_its_engine(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    with EngineProcess("converts", 1) as process:
        monkeypatch.setattr(engine_process, "LOADING", 3.0)
        with pytest.raises(secateur.UnsupportedError, match="did not answer within 3 s"):
            process.load(job(tmp_path))
        assert (tmp_path / "held").exists()
    with (tmp_path / "lock").open("w") as file:
        for _ in range(100):  # a process that was killed is gone a moment later
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(0.05)
    pytest.fail("the converter still runs")


@pytest.mark.usefixtures("fakes")
def test_a_network_that_cannot_be_taken_leaves_others_their_times():
    network = secateur.load(*CAFFE)
    small = secateur.prune(network, rate=0.5, repair=False).network
    refused = fake("choosy")([small, network], seconds=0.1)
    assert [timing is None for timing in refused.timings] == [True, False]
    assert refused.notes[0] == "'shapes': engine 'choosy': it is too small"
    crashed = fake("crashes")([network, network], seconds=0.1)
    assert crashed.timings == (None, None)
    assert len(crashed.notes) == 2
    assert all("SIGABRT" in note for note in crashed.notes)
    wrong = fake("works")([network], seconds=0.1)
    assert wrong.timings[0] is not None
    assert any("computes something else" in note for note in wrong.notes)


@pytest.mark.usefixtures("fakes")
def test_a_crash_over_one_network_leaves_others_their_times():
    network = secateur.load(*CAFFE)
    large = secateur.load(*CAFFE, input_shapes={"data": (1, 28, 28)})
    small = secateur.prune(network, rate=0.5, repair=False).network
    found = fake("picky")([network, small, large], seconds=0.1)
    assert [timing is None for timing in found.timings] == [False, True, False]
    assert "'shapes': engine 'picky' ended by signal SIGABRT" in found.notes[0]


@pytest.mark.usefixtures("fakes")
def test_what_was_said_of_networks_outlives_the_process():
    network = secateur.load(*CAFFE)
    small = secateur.prune(network, rate=0.5, repair=False).network
    found = fake("ends_in_time")([small, network], seconds=0.1)
    assert found.timings == (None, None)
    assert found.version == "1.2"
    refused, wrong, ended = found.notes
    assert refused == "'shapes': engine 'ends_in_time': it is too small"
    assert "'shapes' computes something else there" in wrong
    assert ended.startswith("engine 'ends_in_time' ended by signal SIGABRT")


@pytest.mark.usefixtures("fakes")
def test_an_engine_that_takes_no_format_of_a_network_says_so():
    found = fake("works", "tflite", "uff")([secateur.load(*CAFFE)], seconds=0.1)
    assert found.timings == (None,)
    assert found.notes == (
        "'shapes': engine 'works' takes tflite or uff, and the network is written as caffe or onnx",
    )


def test_an_engine_that_is_not_installed_says_which_package_brings_it():
    engine = Engine(
        name="gone", summary="", modules={"no_such_module_here": "some-package"},
        reads=("onnx",), load=None, version=None,  # type: ignore[arg-type]
    )  # fmt: skip
    found = EngineStopwatch(engine)([secateur.load(*CAFFE)])
    assert found.timings == (None,)
    assert found.notes == ("gone: not installed (pip install some-package)",)


def test_an_unknown_engine_and_no_threads_are_refused():
    with pytest.raises(secateur.PlanError, match="unknown engine 'opencw'"):
        secateur.find_engine("opencw")
    with pytest.raises(secateur.PlanError, match="at least one thread"):
        secateur.find_engine("opencv", 0)


@pytest.mark.parametrize("name", sorted(n for n, own in ENGINES.items() if not own.missing()))
@pytest.mark.parametrize("folder", ["shapes_caffe", "shapes_darknet"])
def test_every_installed_engine_times_the_fixtures(name, folder):
    network = secateur.load(FIXTURES / folder)
    small = secateur.prune(network, rate=0.5, repair=False).network
    found = secateur.find_engine(name, 1)([network, small], seconds=0.2)
    assert found.engine == name
    assert found.version
    for timing in found.timings:
        if timing is None:  # then it is said why
            assert found.notes
        else:
            assert 0 < timing.least <= timing.median
    assert not any("computes something else" in note for note in found.notes)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processors cannot be chosen")
@pytest.mark.usefixtures("fakes")
def test_an_engine_stays_on_as_many_processors_as_it_has_threads(tmp_path):
    allowed = os.sched_getaffinity(0)
    for threads in (1, len(allowed), len(allowed) + 1):
        kept = min(threads, len(allowed))
        assert set(processors(threads)) <= allowed
        assert len(processors(threads)) == kept
        with EngineProcess("narrow", threads) as process:
            process.outputs(process.load(job(tmp_path)), str(tmp_path / "out.npz"))
        assert load_arrays(tmp_path / "out.npz")["y"].tolist() == [kept]
