"""Saving: names, whole or not at all, inputs never overwritten, proofs before anything stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

import secateur

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = (FIXTURES / "shapes_caffe/shapes.prototxt", FIXTURES / "shapes_caffe/shapes.caffemodel")
DARKNET = (FIXTURES / "shapes_darknet/shapes.cfg", FIXTURES / "shapes_darknet/shapes.weights")
BOTH = pytest.mark.parametrize("files", [CAFFE, DARKNET], ids=["caffe", "darknet"])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@BOTH
def test_an_unchanged_network_is_written_back_byte_for_byte(files, tmp_path):
    saved = secateur.save(secateur.load(*files), tmp_path)
    assert saved.difference == 0.0
    for path in files:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@BOTH
def test_a_directory_keeps_base_names_and_gets_the_plan(files, tmp_path):
    pruned = secateur.prune(secateur.load(*files), rate=0.3)
    saved = secateur.save(pruned, tmp_path / "new" / "deep")
    assert names(tmp_path / "new" / "deep") == sorted(["plan.yaml", *(p.name for p in files)])
    again = secateur.load(*saved.paths)
    assert secateur.compare(pruned.network, again).worst.relative == 0.0


@BOTH
def test_a_file_names_the_output_and_its_partner(files, tmp_path):
    for path in files:
        target = tmp_path / path.suffix[1:] / f"small{path.suffix}"
        secateur.save(secateur.load(*files), target)
        assert names(target.parent) == sorted(f"small{p.suffix}" for p in files)


def test_pruning_twice_gives_the_same_bytes(tmp_path):
    for folder in ("one", "two"):
        pruned = secateur.prune(secateur.load(*DARKNET), rate=0.4)
        secateur.save(pruned, tmp_path / folder)
    for name in names(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_onnx_carries_the_names_of_the_source(tmp_path):
    secateur.save(secateur.load(*CAFFE), tmp_path / "net.onnx")
    graph = onnx.load(tmp_path / "net.onnx").graph
    assert [value.name for value in graph.input] == ["data"]
    assert [value.name for value in graph.output] == ["prob"]
    secateur.save(secateur.load(*DARKNET), tmp_path / "other.onnx")
    graph = onnx.load(tmp_path / "other.onnx").graph
    assert [value.name for value in graph.input] == ["data"]
    assert [value.name for value in graph.output] == ["layer_16"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_inner_layers_can_be_exposed(tmp_path):
    network = secateur.load(*CAFFE)
    some = secateur.expose(network, ["conv1", "res2"])
    assert list(some.outputs) == ["prob", "layer:conv1", "layer:res2"]
    every = secateur.expose(network)
    assert set(every.outputs) == {"prob", *(f"layer:{info.name}" for info in network.layers)}
    with pytest.raises(secateur.PlanError, match="no layer 'conv9'"):
        secateur.expose(network, ["conv9"])


def test_another_format_is_refused(tmp_path):
    with pytest.raises(secateur.UnsupportedError, match=r"cannot be written as \.cfg"):
        secateur.save(secateur.load(*CAFFE), tmp_path / "net.cfg")
    assert names(tmp_path) == []


def test_inputs_are_never_overwritten(tmp_path):
    files = [tmp_path / path.name for path in DARKNET]
    for source, path in zip(DARKNET, files, strict=True):
        path.write_bytes(source.read_bytes())
    pruned = secateur.prune(secateur.load(*files), rate=0.3)
    for target in (tmp_path, files[0], tmp_path / "." / "shapes.weights"):
        with pytest.raises(secateur.FormatError, match="would overwrite the input"):
            secateur.save(pruned, target)
    for source, path in zip(DARKNET, files, strict=True):
        assert path.read_bytes() == source.read_bytes()


def test_nothing_is_left_where_the_proof_fails(tmp_path):
    network = secateur.load(*DARKNET)
    pruned = secateur.prune(network, rate=0.3)
    lying = replace(pruned.network, source=network.source.__class__(**{
        **{name: getattr(network.source, name) for name in network.source.__dataclass_fields__},
        "read_again": lambda *_: network,
    }))  # fmt: skip
    with pytest.raises(secateur.VerificationError, match="written = dense does not hold"):
        secateur.save(replace(pruned, network=lying), tmp_path / "out")
    assert names(tmp_path) == []


def test_a_place_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(secateur.FormatError, match="cannot be written"):
        secateur.save(secateur.load(*DARKNET), tmp_path / "file" / "below")
