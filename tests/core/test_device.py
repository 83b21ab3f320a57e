"""Devices: what is asked of ONNX Runtime, and what runs on the processor and says so."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from importlib import metadata

import joblib
import numpy as np
import pytest

import secateur
from secateur.core.cost.latency import latency
from secateur.core.cost.layer_latency import layer_latencies
from secateur.core.data import SyntheticDataset
from secateur.core.engine.cached_session import Part
from secateur.core.engine.device import PROVIDERS, Device
from secateur.core.engine.placement import devices, on_processor
from secateur.core.engine.session import Session
from secateur.core.errors import PlanError, UnsupportedError
from secateur.core.suffixes.suffix import Suffix
from secateur.core.verify.compare import compare
from secateur.core.verify.equivalence import verify_equal
from support.analysis import opened
from support.devices import CPU, CUDA, ORDINARY, installed
from support.graphs import Graph

ELSEWHERE = "networks run on the processor"
TENSORRT = "TensorrtExecutionProvider"


def tiny():
    g = Graph(channels=3, size=4)
    return g.network(y=g.conv("c", g.data, 2))


def feeds(network, samples: int = 2) -> dict[str, np.ndarray]:
    (batch,) = SyntheticDataset(network, samples=samples, batch=samples)
    return dict(batch.inputs)


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("cpu", Device("cpu")),
        ("auto", Device("auto")),
        ("cuda", Device("cuda")),
        ("cuda:1", Device("cuda", (1,))),
        (" CUDA:0,3 ", Device("cuda", (0, 3))),
        ("CUDAExecutionProvider:2", Device("cuda", (2,))),
        ("openvino:0", Device("openvino", (0,))),
        ("dml:1", Device("dml", (1,))),
        ("coreml", Device("coreml")),
        ("azure", Device("azure")),  # the runtime that is installed has it, the table does not
    ],
)
def test_devices_are_read(text: str, device: Device) -> None:
    assert Device.parse(text) == device
    assert Device.parse(device.text) == device


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no device"),
        ("cuda:", "is no device"),
        ("cuda:-1", "is no device"),
        ("cuda:0,", "is no device"),
        ("cuda:0, 1", "is no device"),
        ("cuda:x", "is no device"),
        ("cuda 1", "is no device"),
        ("cuda:٣", "is no device"),
        ("cuda:1,1", "names a device twice"),
        ("cuda:01,1", "names a device twice"),
        ("cuda:99999999999999999999", "there is no device 99999999999999999999"),
        ("cpu:0", "cpu has no numbers"),
        ("auto:0", "auto has no numbers"),
        ("coreml:0", "coreml has no numbers"),
        ("azure:1", "azure has no numbers"),
        ("cudda", "there is no device 'cudda'"),
    ],
)
def test_what_is_no_device_is_refused(text: str, message: str) -> None:
    with pytest.raises(PlanError, match=message) as caught:
        secateur.DeviceOptions(device=text)
    assert caught.value.option == "device"
    assert caught.value.hint


def test_the_usual_device_is_the_processor_and_is_asked_of_nothing(monkeypatch) -> None:
    runtime = installed(monkeypatch)
    network = tiny()
    for device in (None, "cpu"):
        with secateur.using_device(device):
            Session(network).run(feeds(network))
    assert runtime.made == [[(CPU, {})]] * 2
    assert secateur.DeviceOptions().device == "cpu"


CUDA_TOLD = {
    "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("cuda", [(CUDA, CUDA_TOLD)]),
        ("cuda:1", [(CUDA, {**CUDA_TOLD, "device_id": "1"})]),
        (
            "tensorrt:1",
            [(TENSORRT, {"device_id": "1"}), (CUDA, {**CUDA_TOLD, "device_id": "1"})],
        ),
        ("dml:1", [("DmlExecutionProvider", {"device_id": "1"})]),
        (
            "openvino:1",
            [("OpenVINOExecutionProvider", {"device_type": "GPU.1", "precision": "FP32"})],
        ),
        (
            "coreml",
            [
                (
                    "CoreMLExecutionProvider",
                    {"ModelFormat": "MLProgram", "MLComputeUnits": "CPUAndGPU"},
                )
            ],
        ),
        ("mine", [("MineExecutionProvider", {})]),
    ],
)
def test_sessions_ask_for_the_provider_and_then_the_processor(text, asked, monkeypatch) -> None:
    everything = (*(one.official for one in PROVIDERS.values()), "MineExecutionProvider", CPU)
    runtime = installed(monkeypatch, offered=everything)
    network = tiny()
    notes: list[str] = []
    with secateur.using_device(text, tell=notes.append) as used:
        result = Session(network).run(feeds(network))
    assert runtime.made == [[*asked, (CPU, {})]]
    assert used.text == text
    assert notes == []
    expected = Session(network).run(feeds(network))
    np.testing.assert_array_equal(result["y"], expected["y"])


def test_every_provider_is_told_to_compute_in_full_precision_where_it_can_be() -> None:
    told = {name: one.told(None) for name, one in PROVIDERS.items()}
    assert told["cuda"]["use_tf32"] == "0"
    assert told["openvino"]["precision"] == "FP32"
    assert told["cann"]["precision_mode"] == "must_keep_origin_dtype"
    assert not any("fp16" in f"{options}".lower() for options in told.values())


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "cuda:0,1", "openvino", "dml:0", "rocm"])
def test_a_provider_that_is_not_installed_is_told_of_once(device: str) -> None:
    """This is the real ONNX Runtime for processors."""
    network = tiny()
    expected = Session(network).run(feeds(network))
    notes: list[str] = []
    with secateur.using_device(device, tell=notes.append) as used:
        for _ in range(2):
            found = Session(network).run(feeds(network))
    assert found["y"].tobytes() == expected["y"].tobytes()
    assert used.text == "cpu"
    (note,) = notes
    official = PROVIDERS[device.partition(":")[0]].official
    assert note.startswith(
        f"device {device}: this ONNX Runtime has no {official}; {ELSEWHERE} (pip"
    )
    assert ("secateur[gpu]" in note) == device.startswith("cuda")


def test_a_real_provider_that_takes_no_node_is_told_of() -> None:
    """Azure's is listed, and leaves all to the processor without a word."""
    notes: list[str] = []
    with secateur.using_device("azure", tell=notes.append) as used:
        pass
    assert notes == [f"device azure does not work: it computes no convolution; {ELSEWHERE}"]
    assert used.places == ()


def test_auto_with_the_real_runtime_is_the_processor_with_a_note() -> None:
    notes: list[str] = []
    with secateur.using_device("auto", tell=notes.append) as used:
        pass
    assert notes == [f"device auto: this ONNX Runtime offers no accelerator; {ELSEWHERE}"]
    assert used.text == "cpu"


def test_without_a_listener_notes_are_warnings() -> None:
    with (
        pytest.warns(UserWarning, match="has no CUDAExecutionProvider"),
        secateur.using_device("cuda"),
    ):
        assert devices().text == "cpu"


def test_a_hidden_package_is_named(monkeypatch) -> None:
    real = metadata.distribution

    def there(name: str):
        return real("onnxruntime") if name == "onnxruntime-gpu" else real(name)

    monkeypatch.setattr(metadata, "distribution", there)
    notes: list[str] = []
    with secateur.using_device("cuda", tell=notes.append):
        pass
    assert "--force-reinstall --no-deps onnxruntime-gpu" in notes[0]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"count": 0}, "CUDA failure 101: invalid device ordinal ; GPU=0 ;"),
        ({"silent": (CUDA,)}, "ONNX Runtime finds no such device, or not what it needs for it"),
        ({"factor": 1.01}, "its results are wrong by"),
        ({"factor": float("nan")}, "its results are wrong by nan"),
    ],
)
def test_a_device_that_is_listed_and_does_not_work(settings, reason, monkeypatch, capsys) -> None:
    runtime = installed(monkeypatch, **settings)
    network = tiny()
    notes: list[str] = []
    with secateur.using_device("cuda", tell=notes.append):
        Session(network).run(feeds(network))
    (note,) = notes
    assert note.startswith("device cuda does not work: ")
    assert reason in note
    assert note.endswith(ELSEWHERE)
    assert runtime.made[-1] == [(CPU, {})]
    assert runtime.devices() == {None}
    assert capsys.readouterr().out == ""  # ONNX Runtime prints what it does not find


def test_of_several_devices_those_that_work_are_taken(monkeypatch) -> None:
    runtime = installed(monkeypatch, count=2)
    notes: list[str] = []
    network = tiny()
    with secateur.using_device("cuda:5,1", tell=notes.append) as used:
        Session(network).run(feeds(network))
    assert used.text == "cuda:1"
    (note,) = notes
    assert note.startswith("device cuda:5 does not work: CUDA failure 101")
    assert note.endswith("; it is left out")
    assert runtime.devices() == {"cuda:1"}


def test_auto_takes_what_starts_at_once(monkeypatch) -> None:
    installed(monkeypatch, offered=(TENSORRT, CUDA, *ORDINARY))
    notes: list[str] = []
    with secateur.using_device("auto", tell=notes.append) as used:
        pass
    assert used.text == "cuda"
    assert notes == ["device auto: networks run on cuda"]


def test_auto_goes_on_to_what_works(monkeypatch) -> None:
    installed(monkeypatch, offered=(TENSORRT, CUDA, *ORDINARY), silent=(CUDA,))
    notes: list[str] = []
    with secateur.using_device("auto", tell=notes.append) as used:
        pass
    assert used.text == "tensorrt"
    assert "device cuda does not work" in notes[0]
    assert notes[0].endswith("; tensorrt is taken")
    installed(monkeypatch, offered=(TENSORRT, CUDA, *ORDINARY), count=0)
    notes.clear()
    with secateur.using_device("auto", tell=notes.append):
        pass
    (note,) = notes
    assert note.startswith("device auto: device cuda does not work")
    assert "device tensorrt does not work" in note
    assert note.endswith(ELSEWHERE)


def test_a_network_that_the_device_refuses_runs_on_the_processor(monkeypatch) -> None:
    refused, taken = tiny(), Graph(channels=3, size=4)
    taken = taken.network(y=taken.conv("other", taken.data, 2))
    installed_for: Callable[[bytes], bool] = lambda model: b"other" not in model  # noqa: E731
    expected = Session(refused).run(feeds(refused))
    runtime = installed(monkeypatch, refuses=installed_for)
    notes: list[str] = []
    with secateur.using_device("cuda:1", tell=notes.append):
        for _ in range(2):  # a note each time would be a flood
            found = Session(refused).run(feeds(refused))
        assert runtime.devices() == {None}
        Session(taken).run(feeds(taken))
        assert runtime.devices() == {"cuda:1"}
    (note,) = notes
    assert note == (
        f"device cuda:1: network '{refused.name}' was not accepted there and runs on the "
        "processor: no such kernel"
    )
    np.testing.assert_array_equal(found["y"], expected["y"])


def test_a_network_that_fails_there_while_it_runs_moves_to_the_processor(monkeypatch) -> None:
    network = tiny()
    expected = Session(network).run(feeds(network))
    runtime = installed(monkeypatch, breaks=lambda _: True)
    notes: list[str] = []
    with secateur.using_device("cuda", tell=notes.append):
        session = Session(network)
        found = [session.run(feeds(network)) for _ in range(2)]
    assert [len(one) for one in runtime.made] == [2, 1]  # CUDA once, then the processor once
    assert runtime.runs == [None, None]
    assert notes == [
        f"device cuda: network '{network.name}' failed there and runs on the processor: "
        "CUDA failure 2: out of memory"
    ]
    for one in found:
        np.testing.assert_array_equal(one["y"], expected["y"])


def test_what_fails_everywhere_is_an_error_and_no_matter_of_devices(monkeypatch) -> None:
    network = tiny()
    installed(monkeypatch, breaks=lambda _: True)
    notes: list[str] = []
    with secateur.using_device("cuda", tell=notes.append):
        session = Session(network)
    with pytest.raises(UnsupportedError, match="onnxruntime failed at network"):
        session._execute({"data": np.zeros((1, 3, 4, 5), np.float32)[:, :2]})
    assert notes == []


def test_sessions_stay_where_they_were_made_and_blocks_end(monkeypatch) -> None:
    runtime = installed(monkeypatch)
    network = tiny()
    with secateur.using_device("cuda"):
        outer = Session(network)
        with secateur.using_device("cuda:1"):
            inner = Session(network)
        with on_processor():
            plain = Session(network)
        assert devices().text == "cuda"
    assert devices().text == "cpu"
    for session, place in ((outer, "cuda:0"), (inner, "cuda:1"), (plain, None)):
        session.run(feeds(network))
        assert runtime.devices() == {place}


def test_other_threads_of_the_user_choose_for_themselves(monkeypatch) -> None:
    installed(monkeypatch)
    seen: list[str] = []
    with secateur.using_device("cuda:1"):
        thread = threading.Thread(target=lambda: seen.append(devices().text))
        thread.start()
        thread.join()
    assert seen == ["cpu"]


def test_parts_are_not_cut_for_a_cache_that_is_not_there(monkeypatch) -> None:
    monkeypatch.setattr("secateur.core.engine.cached_session.LARGEST_CACHED_VALUE", 1)
    runtime = installed(monkeypatch)
    network = tiny()
    assert len(Part(network).compute(feeds(network, 8))["y"]) == 8
    assert len(runtime.runs) == 8
    runtime.devices()
    with secateur.using_device("cuda"):
        part = Part(network)
    assert len(part.compute(feeds(network, 8))["y"]) == 8
    assert runtime.runs == ["cuda:0"]


@pytest.mark.parametrize(("name", "most"), [("cuda", 2), ("dml", 1)])
def test_a_provider_that_cannot_do_two_things_at_once_does_one(name, most, monkeypatch) -> None:
    official = PROVIDERS[name].official
    runtime = installed(monkeypatch, offered=(official, CPU), slow=0.05)
    network = tiny()
    with secateur.using_device(name):
        session = Session(network)
    threads = [threading.Thread(target=session.run, args=(feeds(network),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runtime.runs) == 4
    assert (runtime.together > 1) == (most > 1)


@pytest.mark.parametrize("kind", ["caffe", "darknet"])
def test_an_analysis_is_spread_over_devices_and_finds_the_same(kind, monkeypatch) -> None:
    monkeypatch.setattr("secateur.core.data.shards.MOST_SAMPLES", 8)
    network, dataset = opened(kind, "shapes.npz", limit=40)
    expected = secateur.analyze(network, dataset, rates=[0.3, 0.6])
    runtime = installed(monkeypatch, slow=0.002)
    notes: list[str] = []
    with secateur.using_device("cuda:0,1", tell=notes.append):
        found = secateur.analyze(network, dataset, rates=[0.3, 0.6], jobs=2)
    assert found == expected
    assert runtime.devices() == {"cuda:0", "cuda:1"}
    assert notes == []


def test_models_of_a_study_are_spread_over_devices(tmp_path, monkeypatch) -> None:
    network, data = opened("caffe", "shapes.npz", limit=20)
    runtime = installed(monkeypatch, slow=0.002)
    with secateur.using_device("cuda:0,1"):
        found = secateur.study(
            network, data, data, output=tmp_path, methods=["l1", "l2"], rates=[0.2, 0.5],
            repairs=["none"], latency=False, jobs=2,
        )  # fmt: skip
    assert len(found.made) == 4
    there = [one for one in runtime.made if one[0][0] == CUDA]
    assert len(there) > 4  # each of the models, not only the original on both devices
    assert {"cuda:0", "cuda:1"} <= runtime.devices()


def test_criteria_that_use_threads_of_their_own_run_there(monkeypatch) -> None:
    network, data = opened("caffe", "shapes.npz", limit=8)
    groups = secateur.find_groups(network)
    runtime = installed(monkeypatch)
    with secateur.using_device("cuda:1"):
        context = secateur.ScoreContext(network=network, groups=groups, data=data)
        secateur.CRITERIA["oracle"].score(context)
    assert runtime.devices() == {"cuda:1"}


def _there(_: int) -> tuple[int, str]:
    return os.getpid(), devices().text


def test_work_in_other_processes_takes_the_device_along_and_tells_of_it(monkeypatch) -> None:
    """The processes have the real ONNX Runtime, which has no CUDA."""
    from secateur.core.engine.spread import spread

    installed(monkeypatch)
    notes: list[str] = []
    with (
        secateur.using_device("cuda:0,1", tell=notes.append),
        joblib.parallel_config(backend="loky"),
    ):
        found = list(spread(_there, [(0,), (1,), (2,)], jobs=2))
    assert all(process != os.getpid() for process, _ in found)
    assert {text for _, text in found} == {"cpu"}
    (note,) = notes
    assert note.startswith(f"a worker says: device cuda:0,1: this ONNX Runtime has no {CUDA}")


def test_a_provider_that_only_the_other_machine_has_is_told_of(monkeypatch) -> None:
    from secateur.core.engine.carried import _found

    there = _found(Device("mine"), 0)  # the real ONNX Runtime knows none of that name
    assert there.places == ()
    (note,) = there.notes
    assert note.startswith("there is no device 'mine'")
    assert note.endswith(ELSEWHERE)


def test_an_analysis_gives_back_the_memory_of_groups_that_are_done(monkeypatch) -> None:
    network, dataset = opened("caffe", "shapes.npz", limit=4)
    alive: list[int] = []
    real = Suffix.compute

    def counted(self: Suffix, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        result = real(self, given)
        alive.append(sum(one._part is not None for one in seen))
        return result

    seen: set[Suffix] = set()
    made = Suffix.__init__

    def noted(self: Suffix, *arguments: object, **more: object) -> None:
        made(self, *arguments, **more)
        seen.add(self)

    monkeypatch.setattr(Suffix, "__init__", noted)
    monkeypatch.setattr(Suffix, "compute", counted)
    secateur.analyze(network, dataset, rates=[0.5])
    assert len(seen) > 3
    assert max(alive) == 1


def test_processes_begin_with_different_devices(monkeypatch) -> None:
    from secateur.core.engine.choosing import found

    installed(monkeypatch)
    first, second, third = (found(Device.parse("cuda:0,1"), print, n) for n in range(3))
    assert [one.text for one in (first, second, third)] == [
        "cuda:0 and cuda:1", "cuda:1 and cuda:0", "cuda:0 and cuda:1",
    ]  # fmt: skip


def test_verifications_and_latencies_stay_on_the_processor(monkeypatch) -> None:
    network, data = opened("caffe", "shapes.npz", limit=4)
    runtime = installed(monkeypatch)
    with secateur.using_device("cuda"):
        verify_equal("a = b", network, network, data)
        latency([network], repeats=1, warmup=0)
        layer_latencies(network, runs=1, warmup=0)
        assert runtime.devices() == {None}
        compare(network, network, data)  # what a user asks for
        assert runtime.devices() == {"cuda:0"}


def test_pruning_measures_there_and_verifies_here(monkeypatch) -> None:
    network, data = opened("caffe", "shapes.npz", limit=4)
    expected = secateur.prune(network, rate=0.3, data=data)
    runtime = installed(monkeypatch)
    with secateur.using_device("cuda"):
        found = secateur.prune(network, rate=0.3, data=data)
    assert found.plan.groups == expected.plan.groups
    assert runtime.devices() == {None, "cuda:0"}


def test_gpus_by_their_numbers(monkeypatch) -> None:
    assert secateur.gpu_device("0,1") is None  # the ONNX Runtime for processors
    with pytest.raises(PlanError):
        secateur.gpu_device("all")
    installed(monkeypatch)
    assert secateur.gpu_device("0, 1") == "cuda:0,1"
    assert secateur.gpu_device("") == "cuda"
    installed(monkeypatch, offered=("DmlExecutionProvider", *ORDINARY))
    assert secateur.gpu_device("1") == "dml:1"


def test_a_pipeline_says_where_it_runs(tmp_path, monkeypatch) -> None:
    from support.analysis import FIXTURES

    runtime = installed(monkeypatch)
    files = [FIXTURES / f"shapes_caffe/shapes.{end}" for end in ("prototxt", "caffemodel")]
    source = secateur.DataSource(
        path=FIXTURES / "shapes.npz", options=secateur.DataOptions(limit=4)
    )
    pipeline = secateur.Pipeline(
        model=files, data={"test": source}, valid=secateur.EvaluateOptions(), output=tmp_path,
        device="cuda:1",
    )  # fmt: skip
    heard: list[object] = []
    secateur.run_pipeline(pipeline, hear=heard.append)
    assert runtime.devices() == {"cuda:1"}
    again = secateur.run_pipeline(
        secateur.Pipeline(
            model=files, data={"test": source}, valid=secateur.EvaluateOptions(), output=tmp_path
        )
    )
    assert not again.steps[0].ran  # a device changes nothing but rounding
    with pytest.raises(PlanError, match="is no device"):
        secateur.Pipeline(model=files, data={"test": source}, device="x y")
