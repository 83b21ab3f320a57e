"""Files of Caffe's forks: BatchNorm in their ways, and layers that only move data.

What is expected is computed here in numpy, from what the forks' sources say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import secateur
from secateur.core.errors import FormatError, UnsupportedError
from secateur.core.ir.network import Caution
from secateur.formats.caffe.caffemodel import open_caffemodel
from secateur.proto.caffe import message_class

Array = np.ndarray[Any, np.dtype[np.float32]]
Blobs = Mapping[str, Sequence[Array]]

INPUT = """layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: %d dim: 3 dim: 6 dim: 5 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 8 kernel_size: 1 } }
"""
LAST = """
layer { name: "last" type: "InnerProduct" bottom: "%s" top: "last"
  inner_product_param { num_output: 3 } }
"""


def random(*shape: int, least: float | None = None) -> Array:
    values = np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)
    return values if least is None else np.abs(values) + np.float32(least)


CONVOLUTION = (random(8, 3, 1, 1), random(8))


def convolved(x: Array) -> Array:
    weight, bias = CONVOLUTION
    return np.einsum("oi,nihw->nohw", weight[:, :, 0, 0], x) + bias[:, None, None]


def files(folder: Path, text: str, blobs: Blobs) -> tuple[Path, Path]:
    net = message_class("NetParameter")(name="net")
    for name, arrays in {"c": CONVOLUTION, **blobs}.items():
        layer = net.layer.add(name=name)
        for array in arrays:
            layer.blobs.add(shape={"dim": array.shape}, data=array.ravel())
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "net.prototxt", folder / "net.caffemodel"
    paths[0].write_text(text)
    paths[1].write_bytes(net.SerializeToString())
    return paths


def outputs(network: secateur.Network, x: Array) -> Array:
    (found,) = secateur.Session(network).run({"data": x}).values()
    return found


def stored_blobs(path: Path, name: str) -> list[Array]:
    weights = open_caffemodel(path)
    (entry,) = (layer for layer in weights.layers if layer.name == name)
    return [np.asarray(weights.values(blob)).reshape(blob.shape) for blob in entry.blobs]


def doubts(network: secateur.Network) -> list[str]:
    return [str(note) for note in network.notes if isinstance(note, Caution)]


def pruned(
    network: secateur.Network,
    folder: Path,
    x: Array,
    rate: float = 0.35,
    limits: secateur.Limits | None = None,
) -> tuple[secateur.PruneResult, Path]:
    """Prune, save, read again, and check that all three compute the same."""
    result = secateur.prune(
        network, rate=rate, criterion="l1", repair="none", limits=limits or secateur.Limits()
    )
    assert result.network.graph is not network.graph
    saved = secateur.save(result, folder / "out")
    assert saved.difference <= 1e-5
    assert network.source is not None
    again = network.source.reread({path.suffix: path for path in saved.paths})
    np.testing.assert_allclose(outputs(again, x), outputs(result.network, x), rtol=1e-4, atol=1e-5)
    return result, folder / "out" / "net.caffemodel"


# -- BatchNorm -----------------------------------------------------------------------------------

MEAN, VARIANCE = random(8), random(8, least=0.3)
SCALE, SHIFT = random(8, least=0.5) * np.float32(1.1), random(8) - 1
ONE = np.ones(1, np.float32)


def columns(*vectors: Array) -> list[Array]:
    return [vector.reshape(1, -1, 1, 1) for vector in vectors]


def vitis() -> list[Array]:
    return columns(SCALE, SHIFT, MEAN, VARIANCE, np.zeros(1, np.float32))


def normed(
    x: Array, affine: bool, by_batch: bool = False, eps: float = 1e-5, relu: bool = True
) -> Array:
    y = convolved(x)
    mean, variance = MEAN[:, None, None], VARIANCE[:, None, None]
    if by_batch:
        mean = y.mean(axis=(0, 2, 3), keepdims=True)
        variance = y.var(axis=(0, 2, 3), keepdims=True)
    y = (y - mean) / np.sqrt(variance + np.float32(eps))
    y = y * SCALE[:, None, None] + SHIFT[:, None, None] if affine else y
    y = np.maximum(y, 0) if relu else y
    return y.reshape(len(y), -1) @ FULL.T + FULL_BIAS


FULL, FULL_BIAS = random(3, 8 * 30), random(3)


def norm_net(fields: str, *, batch: int = 1, in_place: bool = False, follow: str = "") -> str:
    top = "c" if in_place else "n"
    return (
        INPUT % batch
        + f"""layer {{ name: "n" type: "BatchNorm" bottom: "c" top: "{top}"
  batch_norm_param {{ {fields} }} }}{follow.replace("TOP", top)}
layer {{ name: "r" type: "ReLU" bottom: "{top}" top: "{top}" }}"""
        + LAST % top
    )


X = random(4, 3, 6, 5)
FIVE = [MEAN, VARIANCE, ONE, SCALE, SHIFT]


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        "scale_filler { type: 'constant' value: 1 }",
        "bias_filler { value: 0 } use_global_stats: true",
        "scale_filler { value: 1 } bias_filler { value: 0 }",
        "scale_bias: true",
        "",  # five blobs say it all
    ],
)
@pytest.mark.parametrize("blobs", [FIVE, vitis()], ids=["nvcaffe", "vitis"])
def test_five_blobs_scale_and_shift(
    fields: str, blobs: list[Array], in_place: bool, tmp_path: Path
) -> None:
    text = norm_net(fields, in_place=in_place)
    paths = files(tmp_path, text, {"n": blobs, "last": [FULL, FULL_BIAS]})
    network = secateur.load(*paths)
    assert doubts(network) == []
    np.testing.assert_allclose(outputs(network, X), normed(X, affine=True), rtol=1e-3, atol=1e-3)
    result, weights = pruned(network, tmp_path, X)
    kept = stored_blobs(weights, "c")[0].shape[0]
    assert kept < 8
    found = stored_blobs(weights, "n")
    assert [blob.size for blob in found] == [kept if blob.size > 1 else 1 for blob in blobs]
    assert [blob.ndim for blob in found] == [blob.ndim for blob in blobs]
    channels = [int(np.flatnonzero(blobs[0].ravel() == value)[0]) for value in found[0].ravel()]
    for before, after in zip(blobs, found, strict=True):
        want = before.ravel()[channels] if before.size > 1 else before.ravel()
        np.testing.assert_allclose(after.ravel(), want, rtol=1e-6)
    assert result.notes is not None


def test_the_eps_of_five_blobs_is_at_least_that_of_cudnn(tmp_path: Path) -> None:
    small = [MEAN, np.full(8, 1e-6, np.float32), ONE, SCALE, SHIFT]
    paths = files(tmp_path, norm_net("eps: 1e-9"), {"n": small, "last": [FULL, FULL_BIAS]})
    y = (convolved(X) - MEAN[:, None, None]) / np.sqrt(np.float32(1.1e-5))
    y = np.maximum(y * SCALE[:, None, None] + SHIFT[:, None, None], 0)
    want = y.reshape(len(y), -1) @ FULL.T + FULL_BIAS
    got = outputs(secateur.load(*paths), X)
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3 * np.abs(want).max())


THREE = [MEAN * 2, VARIANCE * 2, ONE * 2]
FOLLOWED = """
layer { name: "s" type: "Scale" bottom: "TOP" top: "TOP" scale_param { bias_term: true } }"""


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(
    ("batch", "option", "by_batch"),
    [(1, "auto", False), (4, "auto", True), (1, "batch", True), (4, "stored", False)],
)
def test_use_global_stats_false_is_read_as_the_file_or_the_user_says(
    batch: int, option: str, by_batch: bool, scaled: bool, tmp_path: Path
) -> None:
    text = norm_net("use_global_stats: false", batch=batch, follow=FOLLOWED if scaled else "")
    blobs = {"n": THREE, "last": [FULL, FULL_BIAS]} | ({"s": [SCALE, SHIFT]} if scaled else {})
    network = secateur.load(*files(tmp_path, text, blobs), batch_norm=option)
    want = normed(X, affine=scaled, by_batch=by_batch)
    np.testing.assert_allclose(outputs(network, X), want, rtol=1e-3, atol=1e-3)
    said = doubts(network)
    assert len(said) == (option != "stored"), said
    assert all(("--batch-norm stored" in note) is by_batch for note in said)
    _, weights = pruned(network, tmp_path, X)
    mean, variance, factor = stored_blobs(weights, "n")
    kept = stored_blobs(weights, "c")[0].shape[0]
    assert (mean.shape, variance.shape, factor.shape) == ((kept,), (kept,), (1,))
    assert kept < 8
    assert set(np.round(mean / factor, 5)) < set(np.round(MEAN, 5))
    assert set(np.round(variance / factor, 5)) < set(np.round(VARIANCE, 5))


def test_five_blobs_by_the_statistics_of_the_batch(tmp_path: Path) -> None:
    paths = files(
        tmp_path, norm_net("use_global_stats: false"), {"n": FIVE, "last": [FULL, FULL_BIAS]}
    )
    (said,) = doubts(secateur.load(*paths))
    assert "five blobs are stored" in said
    network = secateur.load(*paths, batch_norm="batch")
    want = normed(X, affine=True, by_batch=True)
    np.testing.assert_allclose(outputs(network, X), want, rtol=1e-3, atol=1e-3)
    _, weights = pruned(network, tmp_path, X)
    assert len({blob.size for blob in stored_blobs(weights, "n")} - {1}) == 1


def test_one_caution_names_all_layers(tmp_path: Path) -> None:
    text = INPUT % 4 + "".join(
        f'layer {{ name: "n{k}" type: "BatchNorm" bottom: "c" top: "c"'
        " batch_norm_param { use_global_stats: false } }\n"
        for k in range(6)
    )
    network = secateur.load(*files(tmp_path, text, {f"n{k}": THREE for k in range(6)}))
    (said,) = doubts(network)
    assert said.startswith("layers 'n0', 'n1', 'n2', 'n3' and 2 more: ")


def test_the_training_phase_takes_the_statistics_of_the_batch(tmp_path: Path) -> None:
    paths = files(
        tmp_path, norm_net("use_global_stats: false"), {"n": FIVE, "last": [FULL, FULL_BIAS]}
    )
    network = secateur.load(*paths, phase="TRAIN")
    assert doubts(network) == []
    want = normed(X, affine=True, by_batch=True)
    np.testing.assert_allclose(outputs(network, X), want, rtol=1e-3, atol=1e-3)


def test_unknown_statistics_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="unknown statistics 'mean'"):
        secateur.LoadOptions(batch_norm="mean")


@pytest.mark.parametrize(
    ("folder", "other"),
    [("bn_scale_filler", "explicit"), ("bn_nv_false", "true"), ("bn_vitis_false", "stored")],
)
def test_pairs_compute_the_same(folder: str, other: str, field: Path, tmp_path: Path) -> None:
    one, two = (
        secateur.load(field / folder / f"{name}.prototxt", field / folder / f"{name}.caffemodel")
        for name in ("net", other)
    )
    x = random(2, *(int(dim) for dim in one.inputs["data"][1:]))
    np.testing.assert_array_equal(outputs(one, x), outputs(two, x))
    assert len(doubts(one)) == (folder != "bn_scale_filler")
    assert doubts(two) == []
    result = secateur.prune(one, rate=0.3)
    assert secateur.save(result, tmp_path / "out").difference <= 1e-5


# -- movement ------------------------------------------------------------------------------------


def moved_net(layer: str, top: str = "m") -> str:
    return INPUT % 2 + layer + LAST % top


def resized(x: Array, height: int, width: int, how: int) -> Array:
    planes = x.reshape(-1, *x.shape[2:])
    found = [cv2.resize(plane, (width, height), interpolation=how) for plane in planes]
    return np.stack(found).reshape(*x.shape[:2], height, width)


@pytest.mark.parametrize(
    ("fields", "height", "width", "how"),
    [
        ("scale_h: 2 scale_w: 2 resize_type: NEAREST", 12, 10, cv2.INTER_NEAREST),
        ("scale_h: 2 scale_w: 3", 12, 15, cv2.INTER_NEAREST),
        ("scale_h: 1.7 scale_w: 1.3", 10, 6, cv2.INTER_NEAREST),
        ("scale_h: 0.5 scale_w: 0.6", 3, 3, cv2.INTER_NEAREST),
        ("new_height: 9 new_width: 13", 9, 13, cv2.INTER_NEAREST),
        ("scale_h: 2 scale_w: 2 resize_type: BILINEAR", 12, 10, cv2.INTER_LINEAR),
        ("scale_h: 0.5 scale_w: 0.5 resize_type: BILINEAR", 3, 2, cv2.INTER_LINEAR),
        ("new_height: 9 new_width: 13 resize_type: BILINEAR", 9, 13, cv2.INTER_LINEAR),
        ("new_height: 4 new_width: 2 scale_h: 5 scale_w: 5", 4, 2, cv2.INTER_NEAREST),
        ("", 6, 5, cv2.INTER_NEAREST),
    ],
)
def test_deephi_resize(fields: str, height: int, width: int, how: int, tmp_path: Path) -> None:
    layer = f"""layer {{ name: "m" type: "DeephiResize" bottom: "c" top: "m"
  deephi_resize_param {{ {fields} }} }}"""
    last = [random(3, 8 * height * width) / 20, FULL_BIAS]
    network = secateur.load(*files(tmp_path, moved_net(layer), {"last": last}))
    x = random(2, 3, 6, 5)
    want = resized(convolved(x), height, width, how).reshape(2, -1) @ last[0].T + FULL_BIAS
    np.testing.assert_allclose(outputs(network, x), want, rtol=1e-3, atol=1e-3)
    pruned(network, tmp_path, x)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("scale_h: 2", "scale_h and scale_w stand together"),
        ("new_width: 2", "new_height and new_width stand together"),
        ("scale_h: 0.1 scale_w: 1", "height must be positive, got 0"),
        ("scale_h: 1e30 scale_w: 1e38", "too large"),
        ("new_height: 100000 new_width: 100000", "too large"),
    ],
)
def test_deephi_resize_without_a_size(fields: str, message: str, tmp_path: Path) -> None:
    layer = f"""layer {{ name: "m" type: "DeephiResize" bottom: "c" top: "m"
  deephi_resize_param {{ {fields} }} }}"""
    with pytest.raises(FormatError, match=message):
        secateur.load(*files(tmp_path, moved_net(layer), {"last": [FULL, FULL_BIAS]}))


FLAT = '\nlayer { name: "f" type: "Flatten" bottom: "m" top: "f" }'


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(
    ("fields", "order"),
    [
        ("dim: 0 dim: 2 dim: 3 dim: 1", (0, 2, 3, 1)),
        ("dim: 0 dim: 3 dim: 2 dim: 1", (0, 3, 2, 1)),
        ("dim { dim: 0 dim: 2 dim: 1 dim: 3 }", (0, 2, 1, 3)),
        ("dim: 0 dim: 1 dim: 2 dim: 3", (0, 1, 2, 3)),
    ],
)
def test_transpose(fields: str, order: tuple[int, ...], flat: bool, tmp_path: Path) -> None:
    layer = f"""layer {{ name: "m" type: "Transpose" bottom: "c" top: "m"
  transpose_param {{ {fields} }} }}"""
    text = moved_net(layer + FLAT, "f") if flat else moved_net(layer)
    network = secateur.load(*files(tmp_path, text, {"last": [FULL, FULL_BIAS]}))
    x = random(3, 3, 6, 5)
    want = convolved(x).transpose(order).reshape(3, -1) @ FULL.T + FULL_BIAS
    np.testing.assert_allclose(outputs(network, x), want, rtol=1e-3, atol=1e-3)
    _, weights = pruned(network, tmp_path, x)
    kept = stored_blobs(weights, "c")[0].shape[0]
    assert stored_blobs(weights, "last")[0].shape == (3, kept * 30)


def test_there_and_back_again(tmp_path: Path) -> None:
    """Channels go behind the positions and return, between two convolutions."""
    text = (
        INPUT % 2
        + """
layer { name: "t" type: "Transpose" bottom: "c" top: "t"
  transpose_param { dim: 0 dim: 2 dim: 3 dim: 1 } }
layer { name: "u" type: "Transpose" bottom: "t" top: "u"
  transpose_param { dim: 0 dim: 3 dim: 1 dim: 2 } }
layer { name: "d" type: "Convolution" bottom: "u" top: "d"
  convolution_param { num_output: 2 kernel_size: 1 } }
"""
    )
    weight = random(2, 8, 1, 1)
    network = secateur.load(*files(tmp_path, text, {"d": [weight, random(2)]}))
    x = random(2, 3, 6, 5)
    want = np.einsum("oi,nihw->nohw", weight[:, :, 0, 0], convolved(x))
    want += random(2)[:, None, None]
    np.testing.assert_allclose(outputs(network, x), want, rtol=1e-3, atol=1e-3)
    _, weights = pruned(network, tmp_path, x)
    assert stored_blobs(weights, "d")[0].shape[1] < 8


@pytest.mark.parametrize("kind", ["Transpose", "Permute"])
def test_a_batch_that_moves_has_the_size_of_the_file(kind: str, tmp_path: Path) -> None:
    fields = {
        "Transpose": "transpose_param { dim: 3 dim: 2 dim: 0 dim: 1 }",
        "Permute": "permute_param { order: 3 order: 2 order: 0 order: 1 }",
    }[kind]
    text = INPUT % 2 + f'layer {{ name: "m" type: "{kind}" bottom: "c" top: "m" {fields} }}'
    network = secateur.load(*files(tmp_path, text, {}))
    assert network.outputs == {"m": (5, 6, 2, 8)}
    x = random(2, 3, 6, 5)
    np.testing.assert_allclose(
        outputs(network, x), convolved(x).transpose(3, 2, 0, 1), rtol=1e-4, atol=1e-4
    )


def test_a_transpose_without_an_order_is_refused(tmp_path: Path) -> None:
    layer = 'layer { name: "m" type: "Transpose" bottom: "c" top: "m" }'
    with pytest.raises(UnsupportedError, match="gives no order of axes"):
        secateur.load(*files(tmp_path, moved_net(layer), {"last": [FULL, FULL_BIAS]}))
    layer = layer.replace("}", "transpose_param { dim: 0 dim: 1 dim: 1 dim: 2 } }")
    with pytest.raises(FormatError, match="is no order of 4 axes"):
        secateur.load(*files(tmp_path, moved_net(layer), {"last": [FULL, FULL_BIAS]}))


MASK = np.float32([1, 0, 0.5, 1, 0, 1, -2, 0])
PICKED = np.flatnonzero(MASK)


@pytest.mark.parametrize("fields", ["axis: 1", "axis: 1 num_output: 5"])
def test_filter(fields: str, tmp_path: Path) -> None:
    layer = f"""layer {{ name: "m" type: "Filter" bottom: "c" top: "m"
  filter_param {{ {fields} }} }}"""
    last = [random(3, 5 * 30), FULL_BIAS]
    network = secateur.load(*files(tmp_path, moved_net(layer), {"m": [MASK], "last": last}))
    x = random(2, 3, 6, 5)
    want = convolved(x)[:, PICKED].reshape(2, -1) @ last[0].T + FULL_BIAS
    np.testing.assert_allclose(outputs(network, x), want, rtol=1e-3, atol=1e-3)
    for rate in (0.3, 0.6):
        _, weights = pruned(network, tmp_path / str(rate), x, rate)
        (mask,) = stored_blobs(weights, "m")
        kept = stored_blobs(weights, "c")[0].shape[0]
        left = stored_blobs(weights, "last")[0].shape[1] // 30
        assert (mask.size, np.count_nonzero(mask)) == (kept, left)
        assert left < kept < 8 or left < 5
        written = (weights.parent / "net.prototxt").read_text()
        assert ("num_output" not in fields) or f"num_output: {left} }}" in written


@pytest.mark.parametrize("kind", ["filter", "batch"])
def test_pruning_with_data_and_compensation(kind: str, tmp_path: Path) -> None:
    if kind == "filter":
        layer = 'layer { name: "m" type: "Filter" bottom: "c" top: "m" }'
        last = [random(3, 5 * 30), FULL_BIAS]
        paths = files(tmp_path, moved_net(layer), {"m": [MASK], "last": last})
        follower = "m"
    else:
        text = norm_net("use_global_stats: false", batch=4)
        paths = files(tmp_path, text, {"n": THREE, "last": [FULL, FULL_BIAS]})
        follower = "n"
    network = secateur.load(*paths)
    np.savez(tmp_path / "set.npz", x=random(48, 3, 6, 5))
    data = secateur.open_dataset(tmp_path / "set.npz", network)
    result = secateur.prune(network, rate=0.4, data=data)
    saved = secateur.save(result, tmp_path / "out", data=data)
    assert saved.difference <= 1e-5
    kept = stored_blobs(tmp_path / "out" / "net.caffemodel", "c")[0].shape[0]
    assert stored_blobs(tmp_path / "out" / "net.caffemodel", follower)[0].shape == (kept,)
    assert kept < 8


def test_channels_that_no_filter_picks_can_all_leave(tmp_path: Path) -> None:
    layer = 'layer { name: "m" type: "Filter" bottom: "c" top: "m" }'
    last = [random(3, 5 * 30), FULL_BIAS]
    network = secateur.load(*files(tmp_path, moved_net(layer), {"m": [MASK], "last": last}))
    (own,) = (group for group in secateur.find_groups(network).groups if group.prunable)
    assert len(own.removable()) == 8
    _, weights = pruned(network, tmp_path, random(2, 3, 6, 5), 0.84, secateur.Limits(min_keep=0.0))
    assert np.count_nonzero(stored_blobs(weights, "m")[0]) >= 1


@pytest.mark.parametrize(
    ("bottoms", "fields", "mask", "message"),
    [
        ('bottom: "c" bottom: "data"', "", [], "number depends on the data"),
        ('bottom: "c"', "num_output: 3", [MASK], "num_output is 3, but the mask picks 5"),
        ('bottom: "c"', "", [MASK * 0], "picks no channel"),
        ('bottom: "c"', "axis: 7", [MASK], "axis 7 does not exist"),
        ('bottom: "c"', "", [], "mask of 8 is not in the file"),
    ],
)
def test_filters_that_cannot_be_read(
    bottoms: str, fields: str, mask: list[Array], message: str, tmp_path: Path
) -> None:
    layer = f"""layer {{ name: "m" type: "Filter" {bottoms} top: "m"
  filter_param {{ {fields} }} }}"""
    blobs = {"last": [FULL, FULL_BIAS]} | ({"m": mask} if mask else {})
    with pytest.raises((FormatError, UnsupportedError), match=message):
        secateur.load(*files(tmp_path, moved_net(layer), blobs))


def test_a_product_that_forks_disagree_about_is_refused(field: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"layer 'mm' \(MatMul\): a layer of forks"):
        secateur.load(field / "matmul/net.prototxt", field / "matmul/net.caffemodel")


@pytest.mark.parametrize("folder", ["deephi_resize", "transpose"])
def test_files_of_forks_are_pruned(folder: str, field: Path, tmp_path: Path) -> None:
    network = secateur.load(field / folder / "net.prototxt", field / folder / "net.caffemodel")
    if folder == "deephi_resize":
        result = secateur.prune(network, rate=0.3)
        assert secateur.save(result, tmp_path / "out").difference <= 1e-5
    else:
        assert network.outputs == {"turn": (8, 8, 1, 6)}


# -- learned blobs beside a batch ----------------------------------------------------------------

PARAMETER = """
layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { %s } } }"""
VALUE = random(1, 8, 6, 5)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("layer", "function"),
    [
        ('type: "Eltwise" BOTTOMS eltwise_param { operation: SUM }', np.add),
        ('type: "Eltwise" BOTTOMS eltwise_param { operation: PROD }', np.multiply),
        ('type: "Eltwise" BOTTOMS eltwise_param { operation: MAX }', np.maximum),
        ('type: "Scale" BOTTOMS scale_param { axis: 0 }', np.multiply),
        ('type: "Bias" BOTTOMS bias_param { axis: 0 }', np.add),
    ],
)
def test_a_learned_blob_meets_every_sample(
    layer: str, function: Any, turned: bool, tmp_path: Path
) -> None:
    bottoms = ['bottom: "c"', 'bottom: "p"']
    named = layer.replace("BOTTOMS", " ".join(bottoms[::-1] if turned else bottoms))
    text = (
        INPUT % 1
        + PARAMETER % "dim: 1 dim: 8 dim: 6 dim: 5"
        + f'layer {{ name: "m" {named} top: "m" }}'
        + LAST % "m"
    )
    network = secateur.load(*files(tmp_path, text, {"p": [VALUE], "last": [FULL, FULL_BIAS]}))
    assert network.inputs["data"][0] == "N"
    want = function(convolved(X), VALUE).reshape(4, -1) @ FULL.T + FULL_BIAS
    np.testing.assert_allclose(outputs(network, X), want, rtol=1e-3, atol=1e-3)
    _, weights = pruned(network, tmp_path, X)
    kept = stored_blobs(weights, "c")[0].shape[0]
    assert stored_blobs(weights, "p")[0].shape == (1, kept, 6, 5)
    assert f"dim: 1 dim: {kept} dim: 6" in (weights.parent / "net.prototxt").read_text()


def test_a_blob_for_each_sample_keeps_the_batch_of_the_file(tmp_path: Path) -> None:
    value = random(4, 8, 6, 5)
    text = (
        INPUT % 4
        + PARAMETER % "dim: 4 dim: 8 dim: 6 dim: 5"
        + 'layer { name: "m" type: "Eltwise" bottom: "c" bottom: "p" top: "m" }'
        + LAST % "m"
    )
    network = secateur.load(*files(tmp_path, text, {"p": [value], "last": [FULL, FULL_BIAS]}))
    assert network.inputs["data"][0] == 4
    want = (convolved(X) + value).reshape(4, -1) @ FULL.T + FULL_BIAS
    np.testing.assert_allclose(outputs(network, X), want, rtol=1e-3, atol=1e-3)


def test_a_learned_blob_is_joined_at_the_batch_of_the_file(tmp_path: Path) -> None:
    text = (
        INPUT % 1
        + PARAMETER % "dim: 1 dim: 8 dim: 6 dim: 5"
        + 'layer { name: "m" type: "Concat" bottom: "c" bottom: "p" top: "m" }'
    )
    network = secateur.load(*files(tmp_path, text, {"p": [VALUE]}))
    x = X[:1]
    want = np.concatenate([convolved(x), VALUE], axis=1)
    np.testing.assert_allclose(outputs(network, x), want, rtol=1e-4, atol=1e-4)


def test_batches_that_differ_are_refused(tmp_path: Path) -> None:
    text = (
        INPUT % 4
        + PARAMETER % "dim: 1 dim: 8 dim: 6 dim: 5"
        + 'layer { name: "m" type: "Eltwise" bottom: "c" bottom: "p" top: "m" }'
    )
    with pytest.raises(FormatError, match="batches of"):
        secateur.load(*files(tmp_path, text, {"p": [VALUE]}))
