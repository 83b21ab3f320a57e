"""InfogainLoss, ContrastiveLoss and STOCHASTIC pooling against loops written from Caffe's code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.errors import FormatError, UnsupportedError
from secateur.formats.caffe.reader import load
from secateur.proto.caffe import message_class
from support.random_weights import caffemodel_for

FLT_MIN = np.finfo(np.float32).tiny


def net_of(
    folder: Path, text: str, trained: str = "", **inputs: tuple[int, ...]
) -> tuple[Path, Path]:
    """Write a net of inputs, layers with weights (one is always there), and layers without."""
    for name, shape in inputs.items():
        dims = " ".join(f"dim: {size}" for size in shape)
        trained = (
            f'layer {{ name: "{name}" type: "Input" top: "{name}"'
            f" input_param {{ shape {{ {dims} }} }} }}\n{trained}"
        )
    trained += (
        f'\nlayer {{ name: "fc" type: "InnerProduct" bottom: "{next(iter(inputs))}" top: "fc"'
    )
    trained += " inner_product_param { num_output: 1 } }\n"
    files = folder / "net.prototxt", folder / "net.caffemodel"
    files[0].write_text(trained + text)
    files[1].write_bytes(caffemodel_for(trained.encode()))
    return files


def computed(files: tuple[Path, Path], **feeds: np.ndarray) -> dict[str, np.ndarray]:
    network = load(*files)
    return secateur.Session(network).run({name: feeds[name] for name in network.inputs})


def infogain(x, label, matrix, ignored, divisor):
    scores = np.exp(x - x.max(axis=1, keepdims=True))
    probability = scores / scores.sum(axis=1, keepdims=True)
    loss, count = 0.0, 0
    for n in range(x.shape[0]):
        for h in range(x.shape[2]):
            for w in range(x.shape[3]):
                true = int(label[n, 0, h, w])
                if true == ignored:
                    continue
                for k in range(x.shape[1]):
                    p = max(probability[n, k, h, w], 1e-20)
                    loss -= matrix[true, k] * np.log(p)
                count += 1
    return loss / max(divisor if divisor else count, 1), probability


@pytest.mark.parametrize("third", [True, False])
@pytest.mark.parametrize(
    ("settings", "ignored", "divisor"),
    [
        ("", None, None),
        ("loss_param { ignore_label: 2 }", 2, None),
        ("loss_param { ignore_label: 2 normalization: FULL }", 2, 24),
        ("loss_param { normalization: BATCH_SIZE }", None, 2),
        ("loss_param { normalization: NONE }", None, 1),
    ],
)
def test_infogain_loss(third, settings, ignored, divisor, tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(0, 30, size=(2, 5, 3, 4)).astype(np.float32)
    label = random.integers(0, 5, size=(2, 1, 3, 4)).astype(np.float32)
    matrix = random.random((5, 5), dtype=np.float32)
    blob = message_class("BlobProto")(data=matrix.ravel(), num=1, channels=1, height=5, width=5)
    (tmp_path / "h.binaryproto").write_bytes(blob.SerializeToString())
    bottoms = 'bottom: "x" bottom: "label"' + (' bottom: "h"' if third else "")
    source = "" if third else 'infogain_loss_param { source: "h.binaryproto" }'
    inputs = {"x": x.shape, "label": label.shape} | ({"h": (1, 1, 5, 5)} if third else {})
    files = net_of(
        tmp_path,
        f'layer {{ name: "l" type: "InfogainLoss" {bottoms} top: "l" top: "p"\n'
        f"  {source} {settings} }}",
        **inputs,
    )
    got = computed(files, x=x, label=label, h=matrix.reshape(1, 1, 5, 5))
    want, probability = infogain(x, label, matrix, ignored, divisor)
    assert got["l"] == pytest.approx(want, rel=1e-5)
    assert np.abs(got["p"] - probability).max() < 1e-6


def test_a_net_with_a_matrix_in_a_file_is_pruned_and_read_again(tmp_path):
    blob = message_class("BlobProto")(data=np.eye(4).ravel(), num=1, channels=1, height=4, width=4)
    (tmp_path / "h.binaryproto").write_bytes(blob.SerializeToString())
    files = net_of(
        tmp_path,
        'layer { name: "l" type: "InfogainLoss" bottom: "b" bottom: "label" top: "l"\n'
        '  infogain_loss_param { source: "h.binaryproto" } }',
        'layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"\n'
        "  inner_product_param { num_output: 8 } }\n"
        'layer { name: "b" type: "InnerProduct" bottom: "a" top: "b"\n'
        "  inner_product_param { num_output: 4 } }\n",
        x=(2, 6),
        label=(2, 1),
    )
    pruned = secateur.prune(load(*files), rate=0.3, criterion="l1")
    assert pruned.plan.provenance["rate"]["achieved"] > 0.2
    assert secateur.save(pruned, tmp_path / "out").difference <= 1e-6


@pytest.mark.parametrize(
    ("param", "error", "message"),
    [
        ("", FormatError, "must be a third bottom"),
        ('infogain_loss_param { source: "no.binaryproto" }', UnsupportedError, "is not there"),
        ('infogain_loss_param { source: "net.prototxt" }', FormatError, "no matrix of Caffe"),
        ("loss_param { normalize: true }", FormatError, "not normalize"),
    ],
)
def test_infogain_loss_without_a_matrix(param, error, message, tmp_path):
    files = net_of(
        tmp_path,
        f'layer {{ name: "l" type: "InfogainLoss" bottom: "x" bottom: "y" top: "l" {param} }}',
        x=(2, 5),
        y=(2, 1),
    )
    with pytest.raises(error, match=message):
        load(*files)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("margin", [1.0, 4.0])
def test_contrastive_loss(legacy, margin, tmp_path):
    random = np.random.default_rng(0)
    a, b = (random.normal(size=(6, 3)).astype(np.float32) for _ in range(2))
    alike = np.array([[1], [0], [0], [1], [0], [2]], np.float32)
    files = net_of(
        tmp_path,
        'layer { name: "l" type: "ContrastiveLoss" bottom: "a" bottom: "b" bottom: "alike"\n'
        f'  top: "l" contrastive_loss_param {{ margin: {margin} '
        f"legacy_version: {str(legacy).lower()} }} }}",
        a=a.shape,
        b=b.shape,
        alike=alike.shape,
    )
    want = 0.0
    for x, y, same in zip(a, b, alike[:, 0], strict=True):
        square = float(((x - y) ** 2).sum())
        if same:
            want += square
        elif legacy:
            want += max(margin - square, 0)
        else:
            want += max(margin - square**0.5, 0) ** 2
    got = computed(files, a=a, b=b, alike=alike)["l"]
    assert got == pytest.approx(want / 6 / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("size", "param"),
    [
        ((6, 7), "kernel_size: 3 stride: 2"),
        ((6, 7), "kernel_size: 2 stride: 3"),
        ((5, 4), "kernel_h: 2 kernel_w: 3 stride: 1"),
        ((7, 7), "kernel_size: 1 stride: 2"),
        ((4, 6), "global_pooling: true"),
    ],
)
def test_stochastic_pooling(size, param, tmp_path):
    x = np.random.default_rng(0).normal(size=(2, 3, *size)).astype(np.float32)
    x = np.maximum(x, 0)
    x[0, 0, :3, :3] = 0
    files = net_of(
        tmp_path,
        'layer { name: "p" type: "Pooling" bottom: "x" top: "p"\n'
        f"  pooling_param {{ pool: STOCHASTIC {param} }} }}",
        x=x.shape,
    )
    words = dict(zip(param.split()[::2], param.split()[1::2], strict=True))
    whole = "global_pooling:" in words
    kernel = [
        size[k] if whole else int(words.get("kernel_size:", words.get(f"kernel_{side}:", 0)))
        for k, side in enumerate("hw")
    ]
    stride = int(words.get("stride:", 1))
    out = [-(-(i - k) // stride) + 1 for i, k in zip(size, kernel, strict=True)]
    want = np.zeros((2, 3, *out), np.float32)
    for row in range(out[0]):
        for column in range(out[1]):
            h, w = row * stride, column * stride
            cells = x[:, :, h : h + kernel[0], w : w + kernel[1]].astype(np.float64)
            total = cells.sum(axis=(2, 3)) + FLT_MIN
            want[:, :, row, column] = (cells**2).sum(axis=(2, 3)) / total
    got = computed(files, x=x)["p"]
    assert got.shape == want.shape
    assert np.abs(got - want).max() < 1e-6
    assert (want == 0).any() or whole


def test_stochastic_pooling_knows_no_padding(tmp_path):
    files = net_of(
        tmp_path,
        'layer { name: "p" type: "Pooling" bottom: "x" top: "p"\n'
        "  pooling_param { pool: STOCHASTIC kernel_size: 3 pad: 1 } }",
        x=(1, 2, 6, 6),
    )
    with pytest.raises(FormatError, match=r"layer 'p' \(Pooling\).*no padding"):
        load(*files)
