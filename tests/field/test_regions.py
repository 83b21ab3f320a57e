"""Layers behind region pooling run once a region, and cost so much."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secateur
from secateur.cli.main import main
from secateur.core.errors import FormatError
from secateur.core.ir.network import Caution
from secateur.core.ir.repeats import REGIONS, repeats_of
from secateur.proto.caffe import message_class

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"

C1 = 64 * 64 * 16 * (2 * 27 + 1)
FC, CLS = 64 * (2 * 144 + 1), 3 * (2 * 64 + 1)
"""Operations of the layers of the net below, those behind the pooling for one region."""

NET = """
layer {{ name: "data" type: "Input" top: "data"
  input_param {{ shape {{ dim: {batch} dim: 3 dim: 64 dim: 64 }} }} }}
layer {{ name: "rois" type: "Input" top: "rois" input_param {{ shape {{ dim: {rois} dim: 5 }} }} }}
layer {{ name: "c1" type: "Convolution" bottom: "data" top: "c1"
  convolution_param {{ num_output: 16 kernel_size: 3 pad: 1 }} }}
layer {{ name: "pool" type: "ROIPooling" bottom: "c1" bottom: "rois" top: "pool"
  roi_pooling_param {{ pooled_w: 3 pooled_h: 3 }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
  inner_product_param {{ num_output: 64 }} }}
layer {{ name: "relu" type: "ReLU" bottom: "fc" top: "fc" }}
layer {{ name: "cls" type: "InnerProduct" bottom: "fc" top: "cls"
  inner_product_param {{ num_output: 3 }} }}
"""
SHAPES = {
    "c1": [(16, 3, 3, 3), (16,)], "fc": [(64, 144), (64,)], "cls": [(3, 64), (3,)],
}  # fmt: skip


def files(folder: Path, text: str, shapes: dict[str, Any] = SHAPES) -> tuple[Path, Path]:
    random = np.random.default_rng(0)
    net = message_class("NetParameter")(name="net")
    for name, own in shapes.items():
        layer = net.layer.add(name=name)
        for shape in own:
            layer.blobs.add(shape={"dim": shape}, data=random.normal(size=shape).ravel())
    paths = folder / "net.prototxt", folder / "net.caffemodel"
    paths[0].write_text(text)
    paths[1].write_bytes(net.SerializeToString())
    return paths


def operations(network: secateur.Network) -> dict[str, int]:
    rows = secateur.describe(network).layers
    return {row.name: row.operations for row in rows if row.operations}


def doubts(network: secateur.Network) -> list[str]:
    return [str(note) for note in network.notes if isinstance(note, Caution)]


@pytest.mark.parametrize(
    ("batch", "rois", "given", "counted", "cautions"),
    [
        (1, 300, None, 300, 0),  # what the file says
        (2, 300, None, 150, 0),  # of two images
        (1, 300, 100, 100, 0),  # what the user says
        (2, 300, 100, 100, 0),
        (1, 1, None, 1, 1),  # a placeholder
        (2, 2, None, 1, 1),
        (1, 1, 300, 300, 0),
        (4, 4, 300, 300, 0),
    ],
)
def test_operations_of_a_sample(
    batch: int, rois: int, given: int | None, counted: int, cautions: int, tmp_path: Path
) -> None:
    network = secateur.load(*files(tmp_path, NET.format(batch=batch, rois=rois)), regions=given)
    assert operations(network) == {"c1": C1, "fc": counted * FC, "cls": counted * CLS}
    assert secateur.describe(network).regions == (counted,)
    said = doubts(network)
    assert len(said) == cautions, said
    assert all("follows 'pool' runs once a region" in note for note in said)
    costs = secateur.measure_cost(network, secateur.find_groups(network))
    assert costs.layers[4].macs == counted * 64 * 144
    assert costs.operations == C1 + counted * (FC + CLS)


def test_what_the_file_of_the_report_says(field: Path) -> None:
    paths = field / "roi_ops/net.prototxt", field / "roi_ops/net.caffemodel"
    assert operations(secateur.load(*paths)) == {"c1": C1, "fc": 300 * FC, "cls": 300 * CLS}


def test_a_plain_network_has_no_regions() -> None:
    shapes = FIXTURES / "shapes_caffe"
    network = secateur.load(shapes / "shapes.prototxt", shapes / "shapes.caffemodel", regions=300)
    assert repeats_of(network).rows == {}
    assert secateur.describe(network).regions == ()


TWO = (
    NET
    + """
layer {{ name: "few" type: "Input" top: "few" input_param {{ shape {{ dim: 20 dim: 5 }} }} }}
layer {{ name: "second" type: "ROIPooling" bottom: "c1" bottom: "few" top: "second"
  roi_pooling_param {{ pooled_w: 1 pooled_h: 1 }} }}
layer {{ name: "box" type: "Convolution" bottom: "second" top: "box"
  convolution_param {{ num_output: 4 kernel_size: 1 }} }}
layer {{ name: "mean" type: "Reshape" bottom: "box" top: "mean"
  reshape_param {{ shape {{ dim: 1 dim: 20 dim: 4 }} }} }}
layer {{ name: "all" type: "InnerProduct" bottom: "mean" top: "all"
  inner_product_param {{ num_output: 2 axis: 2 }} }}
"""
)


def test_poolings_have_their_own_numbers(tmp_path: Path) -> None:
    shapes = SHAPES | {"box": [(4, 16, 1, 1), (4,)], "all": [(2, 4), (2,)]}
    paths = files(tmp_path, TWO.format(batch=1, rois=300), shapes)
    box, last = 4 * (2 * 16 + 1), 2 * (2 * 4 + 1)
    expected = {"c1": C1, "fc": 300 * FC, "cls": 300 * CLS}
    network = secateur.load(*paths)
    assert operations(network) == {**expected, "box": 20 * box, "all": 20 * last}
    assert secateur.describe(network).regions == (20, 300)
    network = secateur.load(*paths, regions=10)
    expected = {"c1": C1, "fc": 10 * FC, "cls": 10 * CLS}
    assert operations(network) == {**expected, "box": 10 * box, "all": 10 * last}


CUT = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "pooled" type: "Input" top: "pooled"
  input_param { shape { dim: 40 dim: 4 dim: 3 dim: 3 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "head" type: "Convolution" bottom: "pooled" top: "head"
  convolution_param { num_output: 5 kernel_size: 3 } }
"""


@pytest.mark.parametrize(("given", "counted"), [(None, 20), (7, 7)])
def test_an_input_may_hold_what_was_pooled(given: int | None, counted: int, tmp_path: Path) -> None:
    """A pooling that no graph can carry leaves an input with a row a region."""
    paths = files(tmp_path, CUT, {"c": [(4, 3, 1, 1), (4,)], "head": [(5, 4, 3, 3), (5,)]})
    network = secateur.load(*paths, regions=given)
    network.graph.inputs[1].meta[REGIONS] = 0
    repeats = repeats_of(network)
    assert (repeats.counts, repeats.open) == ((counted,), ())
    assert operations(network)["head"] == counted * 5 * (2 * 36 + 1)
    assert operations(network)["c"] == 64 * 4 * (2 * 3 + 1)


def test_the_rate_counts_regions(tmp_path: Path) -> None:
    """Half of the operations lie where the number of regions says."""
    paths = files(tmp_path, NET.format(batch=1, rois=1))
    kept = {}
    for regions in (1, 3000):
        network = secateur.load(*paths, regions=regions)
        result = secateur.prune(network, rate=0.3, criterion="l1", repair="none")
        before, after = (
            secateur.measure_cost(one, secateur.find_groups(one)).operations
            for one in (network, result.network)
        )
        assert 0.6 < after / before < 0.75
        assert before == C1 + regions * (FC + CLS)
        saved = secateur.save(result, tmp_path / f"out{regions}")
        again = secateur.load(*saved.paths[:2], regions=regions)
        assert secateur.measure_cost(again, secateur.find_groups(again)).operations == after
        kept[regions] = operations(again)["c1"]
    assert kept[1] < C1
    assert repeats_of(secateur.load(*paths)).open == ("pool",)


def test_commands_take_the_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = files(tmp_path, NET.format(batch=1, rois=1))
    for command in ("inspect", "stat"):
        arguments = [command, *map(str, paths), "--regions", "50", "--json"]
        monkeypatch.setattr("sys.argv", ["secateur", *arguments])
        with pytest.raises(SystemExit):
            main()
        found = json.loads(capsys.readouterr().out)
        assert found["totals"]["operations"] == C1 + 50 * (FC + CLS)
    monkeypatch.setattr("sys.argv", ["secateur", "inspect", *map(str, paths)])
    with pytest.raises(SystemExit):
        main()
    shown = capsys.readouterr()
    assert "one sample of 1 region)" in shown.out
    assert shown.err.count("once a region") == 1


def test_at_least_one_region() -> None:
    with pytest.raises(FormatError, match="at least one region, not 0"):
        secateur.LoadOptions(regions=0)
