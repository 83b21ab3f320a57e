"""What a verification makes of functions that saturate, of large inputs and of claimed batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.coupling import find_groups
from secateur.core.coupling.edit import mask, shrink
from secateur.core.data import SyntheticDataset
from secateur.core.engine.session import Session
from secateur.core.errors import VerificationError
from secateur.core.ir.rebuild import rebuild
from secateur.core.verify.compare import compare
from secateur.core.verify.equivalence import verify_equal
from secateur.core.verify.stable_cuts import narrowed
from secateur.formats.caffe.source import CaffeSource
from support.random_weights import caffemodel_for


@pytest.fixture
def saturating(field: Path):
    """The network, its scores enlarged as training does it, and what is left without channels."""
    folder = field / "sigmoid_saturates"
    network = secateur.load(folder / "net.prototxt", folder / "net.caffemodel")
    name = "score/weight"
    network = rebuild(network, tensors={name: network.array(name) * np.float32(300)})
    groups = find_groups(network)
    removed = groups.mask(())
    random = np.random.default_rng(1)
    for group in groups.groups:
        if group.prunable:
            units = list(group.units)
            removed[random.permutation(units)[: len(units) // 3]] = True
    return (
        mask(network, groups, removed),
        shrink(network, groups, removed),
        narrowed(groups, removed),
    )


def test_a_saturated_sigmoid_is_no_false_alarm(saturating):
    full, dense, narrow = saturating
    data = SyntheticDataset(full, samples=4)
    assert not compare(full, dense, data).within(1e-4)  # what rounding becomes at the end
    found = verify_equal("masked = dense", full, dense, data, narrow=narrow)
    assert found.within(1e-4)
    assert "score/Conv" in [output.a for output in found.outputs]


@pytest.mark.parametrize("layer", ["c0", "c11", "score"])
def test_a_fault_before_a_saturated_sigmoid_is_found(saturating, layer):
    full, dense, narrow = saturating
    data = SyntheticDataset(full, samples=4)
    weight = dense.array(f"{layer}/weight").copy()
    weight[:, [0, 1]] = weight[:, [1, 0]]
    with pytest.raises(VerificationError):
        verify_equal("x", full, rebuild(dense, tensors={f"{layer}/weight": weight}), data,
                     narrow=narrow)  # fmt: skip


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_the_field_network_is_pruned(field: Path, rate: float):
    folder = field / "sigmoid_saturates"
    network = secateur.load(folder / "net.prototxt", folder / "net.caffemodel")
    assert secateur.prune(network, rate=rate).verification.difference < 1e-4


def runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, tuple[int, ...]]]:
    """Return a list that fills with the shapes of the inputs of every run."""
    found: list[dict[str, tuple[int, ...]]] = []
    execute = Session._execute

    def noted(session: Session, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found.append({name: array.shape for name, array in arrays.items()})
        return execute(session, arrays)

    monkeypatch.setattr(Session, "_execute", noted)
    return found


def written(folder: Path, name: str, text: str, smaller: str = "") -> tuple[Path, Path]:
    """Write a net and weights that are made for a smaller one of the same layers."""
    paths = folder / f"{name}.prototxt", folder / f"{name}.caffemodel"
    paths[0].write_text(text)
    paths[1].write_bytes(caffemodel_for((smaller or text).encode()))
    return paths


def shape(*dims: int) -> str:
    return " ".join(f"dim: {dim}" for dim in dims)


def conv(name: str, bottom: str, outputs: int) -> str:
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" '
        f"convolution_param {{ num_output: {outputs} kernel_size: 3 pad: 1 }} }}\n"
        f'layer {{ name: "relu_{name}" type: "ReLU" bottom: "{name}" top: "{name}" }}\n'
    )


def data(name: str, *dims: int) -> str:
    return (
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        f"input_param {{ shape {{ {shape(*dims)} }} }} }}\n"
    )


def plain(*dims: int) -> str:
    return data("data", *dims) + conv("a", "data", 8) + conv("b", "a", 8) + conv("c", "b", 2)


def test_what_was_read_is_written_without_a_run(tmp_path: Path, monkeypatch):
    network = secateur.load(*written(tmp_path, "net", plain(1, 3, 500, 500)))
    found = runs(monkeypatch)
    (tmp_path / "same").mkdir()
    saved = secateur.save(network, tmp_path / "same")
    assert saved.as_read
    assert saved.difference == 0.0
    assert not secateur.save(network, tmp_path / "net.onnx").as_read
    assert secateur.describe(network).groups
    assert found == []


def test_a_change_that_is_lost_on_the_way_is_no_file_as_read(tmp_path: Path):
    network = secateur.load(*written(tmp_path, "net", plain(1, 3, 16, 16)))
    changed = rebuild(network, tensors={"a/weight": network.array("a/weight") * np.float32(2)})
    (tmp_path / "out").mkdir()
    assert not secateur.save(changed, tmp_path / "out").as_read
    lost = replace(changed, source=_Forgetful(**vars(network.source)))
    (tmp_path / "lost").mkdir()
    with pytest.raises(VerificationError, match="written = dense does not hold"):
        secateur.save(lost, tmp_path / "lost")
    assert not list((tmp_path / "lost").iterdir())


class _Forgetful(CaffeSource):
    """A source that writes what was read, whatever changed."""

    def pieces(self, network):
        return {".prototxt": [self.document.data], ".caffemodel": self.weights.pieces({})}


def test_a_large_input_is_verified_at_a_small_size(tmp_path: Path, monkeypatch):
    network = secateur.load(*written(tmp_path, "net", plain(1, 3, 500, 500)))
    found = runs(monkeypatch)
    result = secateur.prune(network, rate=0.3)
    assert found
    assert {one["data"] for one in found} == {(8, 3, 16, 16)}
    found.clear()
    (tmp_path / "out").mkdir()
    secateur.save(result, tmp_path / "out")
    assert found == []  # the written files hold the same graph


CLAIM = 999_999
CLAIMS = {
    "symbolic": plain(CLAIM, 3, 16, 16),
    "two batches": plain(CLAIM, 3, 16, 16) + data("more", 5, 3, 8, 8) + conv("m", "more", 4),
    "joined batches": data("one", CLAIM, 3, 16, 16)
    + data("two", CLAIM, 3, 16, 16)
    + 'layer { name: "k" type: "Concat" bottom: "one" bottom: "two" top: "k" '
    "concat_param { axis: 0 } }\n" + conv("a", "k", 8) + conv("b", "a", 2),
    "halves": data("data", CLAIM + 1, 3, 16, 16)
    + conv("a", "data", 8)
    + 'layer { name: "s" type: "Slice" bottom: "a" top: "x" top: "y" slice_param { axis: 0 } }\n'
    + conv("b", "x", 8)
    + conv("c", "y", 8)
    + 'layer { name: "e" type: "Eltwise" bottom: "b" bottom: "c" top: "e" }\n',
    "batch and channels": plain(CLAIM, 3, 16, 16)
    + 'layer { name: "f" type: "Flatten" bottom: "c" top: "f" '
    "flatten_param { axis: 0 end_axis: 1 } }\n",
    "regions": plain(1, 3, 16, 16)
    + data("rois", CLAIM, 5)
    + 'layer { name: "p" type: "ROIPooling" bottom: "c" bottom: "rois" top: "p" '
    "roi_pooling_param { pooled_h: 8 pooled_w: 8 spatial_scale: 1 } }\n"
    'layer { name: "fc" type: "InnerProduct" bottom: "p" top: "fc" '
    "inner_product_param { num_output: 4 } }\n",
    "rows": plain(1, 3, 12_000, 12_000),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_memory_does_not_follow_a_claim(tmp_path: Path, monkeypatch, claim: str):
    text = CLAIMS[claim]
    smaller = text
    for was, now in ((CLAIM + 1, 2), (CLAIM, 2), (12_000, 16)):
        smaller = smaller.replace(f"dim: {was}", f"dim: {now}")
    network = secateur.load(*written(tmp_path, "net", text, smaller))
    found = runs(monkeypatch)
    secateur.describe(network)
    (tmp_path / "same").mkdir()
    assert secateur.save(network, tmp_path / "same").as_read
    assert found == []
    result = secateur.prune(network, rate=0.2)
    rows = secateur.summarize(network, result.network)
    (tmp_path / "out").mkdir()
    secateur.save(result, tmp_path / "out")
    assert found
    assert max(np.prod(size) for one in found for size in one.values()) < 10_000_000
    latency = next(row.item for row in rows if row.unit == "ms")
    assert (latency != "Latency") == (claim == "rows")
    cautions = [note for note in network.notes if "batch sizes are taken smaller" in note]
    assert len(cautions) == (claim not in ("symbolic", "rows"))
