"""Every layer type and every section: its example is read, pruned, written, and read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import secateur
from secateur.core.coupling import find_groups
from secateur.formats.adapter import Handling, keys_of
from support.contract.example_networks import Files, caffe_files, darknet_files_of, feed
from support.contract.registries import (
    LAYER_TYPES,
    SECTION_NAMES,
    Fed,
    check_equal,
    check_masked,
    removal,
)

EVERY = [
    *(pytest.param("caffe", name, id=f"caffe-{name}") for name in sorted(LAYER_TYPES)),
    *(pytest.param("darknet", name, id=f"darknet-{name}") for name in sorted(SECTION_NAMES)),
]
RATE = 0.35
TOLERANCE = 1e-4


def example_of(format_: str, name: str) -> Any:
    cls = (LAYER_TYPES if format_ == "caffe" else SECTION_NAMES)[name]
    example = getattr(cls, "example", None)
    if example is None:
        file = cls.__module__.removeprefix("secateur.").replace(".", "/")
        pytest.fail(f"'{name}' has no example: declare it in class {cls.__name__} of {file}.py")
    return example


def written(folder: Path, format_: str, name: str, **options: bool) -> Files:
    make: Any = caffe_files if format_ == "caffe" else darknet_files_of
    return make(folder, name, example_of(format_, name), **options)


def having(*handlings: Handling) -> Any:
    """Parametrise by the names whose example is handled so; those without one fail in any test."""

    def wanted(format_: str, name: str) -> bool:
        cls = (LAYER_TYPES if format_ == "caffe" else SECTION_NAMES)[name]
        example = getattr(cls, "example", None)
        return example is None or example.handling in handlings

    chosen = [param for param in EVERY if wanted(*param.values)]
    return pytest.mark.parametrize(("format_", "name"), chosen)


@having(*(handling for handling in Handling if handling is not Handling.REFUSED))
def test_an_example_is_pruned_and_written_back(format_: str, name: str, tmp_path: Path) -> None:
    files = written(tmp_path, format_, name)
    network = files.load()
    check_kept_as_it_stands(network, files)
    data = Fed(feed(network, getattr(example_of(format_, name), "values", {})))
    check_computed(network, data)
    check_handling(network, files, format_, name)
    pruned = secateur.prune(network, rate=RATE, criterion="l1", repair="none")
    check_channels(network, pruned, files)
    check_masked(network, pruned, data)
    saved = secateur.save(pruned, tmp_path / "out")
    assert saved.difference <= TOLERANCE
    again = Files(
        paths=(tmp_path / "out" / files.paths[0].name, tmp_path / "out" / files.paths[1].name),
        before=files.before, layer=files.layer, input_shapes=files.input_shapes,
    )  # fmt: skip
    assert {path.suffix for path in saved.paths} == {path.suffix for path in files.paths}
    reread = again.load()
    check_equal("written = dense", pruned.network, reread, data)
    check_kept_as_it_stands(reread, again)
    if example_of(format_, name).handling is Handling.COMPUTED:
        check_changed_fields(network, reread, files)


@having(Handling.TRAINING)
def test_a_loss_is_computed_where_labels_are_fed(format_: str, name: str, tmp_path: Path) -> None:
    files = written(tmp_path, format_, name, labels=True)
    network = files.load()
    check_kept_as_it_stands(network, files)
    assert not any("left out" in note for note in network.notes), network.notes
    data = Fed(feed(network, example_of(format_, name).values))
    outputs = check_computed(network, data)
    assert outputs["layer"].size == 1
    pruned = secateur.prune(network, rate=RATE, criterion="l1", repair="none")
    check_channels(network, pruned, files)
    check_masked(network, pruned, data)


@having(Handling.REFUSED)
def test_what_is_refused_says_why_in_one_line(format_: str, name: str, tmp_path: Path) -> None:
    files = written(tmp_path, format_, name, weights=False)
    with pytest.raises(secateur.UnsupportedError) as caught:
        files.load(partial=True)
    (line,) = str(caught.value).splitlines()
    item = f"layer 'layer' ({name})" if format_ == "caffe" else f"layer {files.layer} [{name}]"
    assert line.startswith(f"{files.paths[0]}:")
    assert item in line
    assert example_of(format_, name).note


def check_kept_as_it_stands(network: secateur.Network, files: Files) -> None:
    """Check that an unchanged network is written back byte for byte."""
    assert network.source is not None
    rendered = {suffix: bytes(data) for suffix, data in network.source.render(network).items()}
    assert rendered == {path.suffix: path.read_bytes() for path in files.paths}


def check_computed(network: secateur.Network, data: Fed) -> dict[str, np.ndarray]:
    """Check the graph by ONNX, and what it computes for finite values of the promised shapes."""
    proto = ir.serde.serialize_model(network.model)
    onnx.checker.check_model(proto, full_check=True)
    outputs = secateur.Session(network).run(data.inputs)
    assert list(outputs) == list(network.outputs)
    for name, array in outputs.items():
        assert np.isfinite(array).all(), name
        promised = network.outputs[name]
        assert array.ndim == len(promised)
        assert all(
            size == dim or not isinstance(dim, int)
            for size, dim in zip(array.shape, promised, strict=True)
        )
    assert any(np.ptp(array) > 0 or array.size == 1 for array in outputs.values())
    return dict(outputs)


def check_handling(network: secateur.Network, files: Files, format_: str, name: str) -> None:
    """Check that the layer is what its example says it is."""
    example = example_of(format_, name)
    if format_ == "darknet" and example.handling is Handling.INPUT:
        assert list(network.inputs) == ["data"]
        return
    (layer,) = (info for info in network.layers if info.name == files.layer and info.type == name)
    inside = {node.meta.get("layer") for node in network.graph}
    where = network.layers.index(layer)
    if example.handling is Handling.INPUT:
        assert example.tops[0] in network.inputs
    elif example.handling is Handling.HEAD:
        assert [head.output for head in network.heads] == [f"layer_{files.layer}"]
        assert set(network.outputs) == {f"layer_{files.layer}"}
    elif example.handling is Handling.DECODED:
        assert where not in inside
        assert set(network.outputs) <= set(example.bottoms)
    elif example.handling is Handling.BORDER:
        (border,) = (border for border in network.borders if border.layer == where)
        assert where not in inside
        read = set(example.bottoms) - {"data", "regions"}
        assert set(border.outputs) == read
        assert read <= set(network.outputs)
        assert set(border.inputs) == set(example.tops)
        assert network.inputs.keys() >= set(border.inputs)
        if "before" in border.outputs:
            groups = find_groups(network)
            (own,) = (group for group in groups.groups if files.before in group.layers)
            assert f"read by 'layer' ({name}), which cannot be computed" in str(own.reason)
    elif example.handling is Handling.TRAINING or format_ == "caffe":
        told = any(f"'layer' ({name}) is" in note for note in network.notes)
        assert told == (example.handling in (Handling.TRAINING, Handling.LEFT_OUT))
    elif example.handling is Handling.LEFT_OUT:
        assert where not in inside
        assert f"layer_{files.layer}" not in network.outputs


def check_changed_fields(network: secateur.Network, pruned: secateur.Network, files: Files) -> None:
    """Check that a field that pruning may change was changed, where the layer has such fields."""
    before, after = (described(which, files) for which in (network, pruned))
    fields = [name for name, (_, key) in keys_of(before).items() if key.channels]
    assert not fields or any(getattr(before, name) != getattr(after, name) for name in fields)


def described(network: secateur.Network, files: Files) -> Any:
    """Return the layer or section of the example, with the values of its fields."""
    if files.paths[0].suffix == ".prototxt":
        return next(own.layer for own in network.source.layers if own.layer.name == files.layer)
    return network.source.records[int(files.layer)].section


def check_channels(network: secateur.Network, pruned: secateur.PruneResult, files: Files) -> None:
    """Check that channels left, or that every group without any says why."""
    groups, removed = removal(network, pruned)
    assert removed.any()
    assert 0 < pruned.plan.provenance["rate"]["achieved"] <= RATE
    for group in groups.groups:
        left = removed[list(group.units)]
        assert left.any() == group.prunable, group.name
        assert not left.all(), group.name
        assert group.prunable or len(str(group.reason).split()) > 1
    assert any(files.before in group.layers for group in groups.groups)
