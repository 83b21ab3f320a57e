"""`secateur latency`, its export, and what `prune` makes of measured times."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import secateur
from secateur.cli.summary import _not_faster
from secateur.workflows import time_layers
from support.program import told as run

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE, DARKNET = FIXTURES / "shapes_caffe", FIXTURES / "shapes_darknet"


def test_models_are_compared_with_the_first():
    out, _ = run("latency", CAFFE, DARKNET, "--engines", "opencv", "--seconds", 0.1)
    assert "opencv 4" in out
    assert out.count(" ms") == 4  # median and least of two models
    assert " % to " in out
    found = json.loads(
        run("latency", CAFFE, DARKNET, "--engines", "opencv,onnxruntime", "--seconds", 0.1,
            "--threads", 1, "--json")[0]
    )  # fmt: skip
    assert [one["engine"] for one in found] == ["opencv", "onnxruntime"]
    for one in found:
        first, second = one["models"]
        assert "change" not in first
        assert second["change"][0] <= second["change"][1]
        assert 0 < first["least"] <= first["milliseconds"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--engines", "opencw"), 1, "did you mean opencv?"),
        (("--engines", ","), 2, "names no engine"),
        (("--threads", 0), 2, "--threads: must be at least 1"),
        (("--seconds", 0), 2, "--seconds: must be over 0"),
        ((str(DARKNET), "--export", "layers"), 2, "layers of one model are exported, got 2"),
        (("--export", "layers", "--threads", 1), 2, "--threads: --export times nothing"),
        (("--export", "layers", "--engines", "mnn"), 2, "--engines: --export times nothing"),
        (("--export", "layers", "--seconds", 2), 2, "--seconds: --export times nothing"),
        (("--export", "layers", "--json"), 2, "--json: --export times nothing"),
    ],
)
def test_wrong_use_is_one_line(arguments, code, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, err = run("latency", CAFFE, *arguments, code=code)
    assert told in err
    assert err.count("\n") == 1
    assert not (tmp_path / "layers").exists()


@pytest.fixture(scope="module", params=[CAFFE, DARKNET], ids=["caffe", "darknet"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("export") / "layers"
    return request.param, folder, secateur.export_layers(secateur.load(request.param), folder)


def test_an_export_is_timed_elsewhere_and_read_again(exported, tmp_path):
    model, folder, found = exported
    away = tmp_path / "away"
    shutil.copytree(folder, away)
    subprocess.run(  # only the standard library and onnxruntime: no path leads to secateur
        [sys.executable, away / found.program.name, "--threads", "1", "--rounds", "1"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    with (away / "times.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (away / "layers.csv").open() as file:
        assert len(rows) == len(list(csv.DictReader(file)))
    assert len({row["layer"] for row in rows}) == found.layers
    # Times of a machine with blocks of 8: the noise of this one decides nothing.
    for row in rows:
        blocks = -(-int(row["inputs"]) // 8) * -(-int(row["outputs"]) // 8)
        row["milliseconds"] = 0.01 + 0.001 * blocks
    with (away / "times.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    out = tmp_path / "out"
    _, err = run("prune", model, "--rate", 0.2, "--budget", "latency", "--latencies",
                 away / "times.csv", "-o", out)  # fmt: skip
    assert "convolution layers in blocks of 8 inputs × 8 outputs" in " ".join(err.split())
    plan = yaml.safe_load((out / "plan.yaml").read_text())
    assert 0.05 < plan["rate"]["achieved"] <= 0.21
    again = tmp_path / "again"
    run("prune", model, "--rate", 0.2, "--budget", "latency", "--latencies", out / "plan.yaml",
        "-o", again)  # fmt: skip
    assert yaml.safe_load((again / "plan.yaml").read_text())["groups"] == plan["groups"]


def test_the_program_needs_nothing_of_this_package(exported):
    _, _, found = exported
    text = found.program.read_text()
    assert "from ." not in text
    assert "import secateur" not in text


def test_the_program_loads_no_more_than_fits(exported, monkeypatch):
    _, folder, _ = exported
    paths = sorted(folder.glob("*.onnx"))[:6]
    size = max(path.stat().st_size for path in paths)
    monkeypatch.setattr(time_layers, "MOST_LOADED", 2 * size)
    found = time_layers.loads(paths)
    assert [path for load in found for path in load] == paths
    assert 1 < len(found) < len(paths)
    assert all(sum(path.stat().st_size for path in load) <= 2 * size for load in found)


def test_an_export_writes_to_a_new_folder_only(exported):
    model, folder, found = exported
    assert found.files == len(list(folder.glob("*.onnx")))
    _, err = run("latency", model, "--export", folder, code=1)
    assert "this folder is not empty" in err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "times.csv:1: the table of times has no column 'layer'"),
        ("layer,inputs,outputs\n", "times.csv:1: the table of times has no column 'milliseconds'"),
        ("layer,inputs,outputs,milliseconds\n", "the table holds no times"),
        ("layer,inputs,outputs,milliseconds\na,1,2\n", "times.csv:2: 4 values are expected"),
        ("layer,inputs,outputs,milliseconds\n\na,1,x,1\n", "times.csv:3: field outputs: must be a"),
        ("layer,inputs,outputs,milliseconds\na,0,2,1\n", "field inputs: must be a number"),
        ("layer,inputs,outputs,milliseconds\na,9999999999,2,1\n", "field inputs: must be a num"),
        ("layer,inputs,outputs,milliseconds\na,1,2,nan\n", "field milliseconds: must be milli"),
        ("layer,inputs,outputs,milliseconds\na,1,2,0\n", "field milliseconds: must be milli"),
        ("layer,inputs,outputs,milliseconds\n,1,2,1\n", "times.csv:2: names no layer"),
        ("layer,inputs,outputs,milliseconds\na,1,2,1\na,1,2,2\n", "times.csv:3: 'a' was timed"),
        ('layer,inputs,outputs,milliseconds\n"a,1,2,1\n', "not a line of comma-separated values"),
    ],
)
def test_a_wrong_table_is_told_by_line(tmp_path, text, told):
    path = tmp_path / "times.csv"
    path.write_text(text)
    with pytest.raises(secateur.PlanError) as raised:
        secateur.load_latencies(path)
    assert told in str(raised.value)


def test_columns_may_stand_in_any_order_with_others_between(tmp_path):
    path = tmp_path / "TIMES.CSV"
    path.write_text("\ufeffmilliseconds,device,Outputs,layer,inputs\n0.5,x,2,a,1\n0.25,x,1,a,1\n")
    assert secateur.load_latencies(path) == {"a": ((1, 2, 0.5), (1, 1, 0.25))}


def test_a_target_latency_from_the_command_line(tmp_path):
    out = tmp_path / "out"
    _, err = run("prune", CAFFE, "--target-latency", "1000s", "-o", out, code=1)
    assert "as it is: nothing has to leave" in err
    _, err = run("prune", CAFFE, "--target-latency", "0.001x", "-o", out, code=1)
    assert "latency 0.001x is out of reach: at rate 0." in err
    assert not out.exists() or not any(out.iterdir())
    _, err = run("prune", CAFFE, "--target-latency", "5", "-o", out, code=2)
    assert "'5' is no latency (hint: 5ms, or 0.6x of the original)" in err


def test_why_a_network_is_not_faster_names_the_flag():
    network = secateur.load(CAFFE)
    block = secateur.channel_block()
    times = {layer.name: 0.1 for layer in network.layers if layer.type == "Convolution"}
    odd = secateur.prune(network, rate=0.3, repair=False)
    timed = secateur.prune(network, rate=0.3, budget="latency", latencies=times, repair=False)
    if block > 1:  # else this processor has no blocks
        assert "--target-latency prunes until the network is fast" in secateur.slow_reason(odd)
        for more, flag in (
            ({"limits": {"round_to": 1}}, "--round-to auto keeps more of them whole"),
            ({"target_latency": {}}, "--target onnxruntime removes whole blocks"),
        ):
            known = {**odd.plan.provenance, **more}
            told = secateur.slow_reason(replace(odd, plan=replace(odd.plan, provenance=known)))
            assert flag in told
        assert f"--round-to {block} leaves whole blocks" in secateur.slow_reason(timed)
    whole = secateur.Limits(round_to=max(block, 2))
    even = secateur.prune(network, rate=0.3, limits=whole, repair=False)
    told = secateur.slow_reason(even)
    assert "--budget latency counts what each layer takes, and --target-latency prunes" in told
    reached = replace(even.plan, provenance={**even.plan.provenance, "target_latency": {}})
    told = secateur.slow_reason(replace(even, plan=reached))
    assert told.endswith("--budget latency counts what each layer takes")
    aimed = secateur.find_target("onnxruntime")
    fit = secateur.prune(network, rate=0.3, limits=whole, target=aimed, repair=False)
    assert "--budget latency in place of --target counts" in secateur.slow_reason(fit)
    even = secateur.prune(
        network, rate=0.3, limits=whole, budget="latency", latencies=times, repair=False
    )
    assert "--drop-blocks" in secateur.slow_reason(even)


@pytest.mark.parametrize(
    ("low", "said"),
    [
        (-0.3, ["times vary too much here", "why it may not be faster: uneven"]),
        (-0.02, ["why not faster: uneven"]),
        (0.4, ["why not faster: uneven"]),
    ],
)
def test_a_busy_machine_is_told_where_times_say_nothing(low, said):
    found = _not_faster(low, "uneven")
    assert len(found) == len(said)
    assert all(text.startswith(start) for text, start in zip(found, said, strict=True))
