"""Im2col against a loop written from util/im2col.cpp."""

from __future__ import annotations

import numpy as np

import secateur
from secateur.formats.caffe.reader import load

TEXT = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 2 dim: 3 dim: 6 dim: 5 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 1 kernel_size: 1 bias_term: false } }
layer { name: "col" type: "Im2col" bottom: "data" top: "col"
  convolution_param { kernel_h: 3 kernel_w: 2 stride: 2 pad_h: 1 pad_w: 0 dilation: 1 } }
"""


def columns(x, kernel, stride, pad):
    height = (x.shape[1] + 2 * pad[0] - kernel[0]) // stride + 1
    width = (x.shape[2] + 2 * pad[1] - kernel[1]) // stride + 1
    padded = np.pad(x, [(0, 0), (pad[0], pad[0]), (pad[1], pad[1])])
    out = np.zeros((x.shape[0] * kernel[0] * kernel[1], height, width), np.float32)
    for channel in range(out.shape[0]):
        j, i = channel % kernel[1], channel // kernel[1] % kernel[0]
        for h in range(height):
            for w in range(width):
                source = channel // kernel[0] // kernel[1]
                out[channel, h, w] = padded[source, h * stride + i, w * stride + j]
    return out


def test_im2col(tmp_path):
    from secateur.proto.caffe import message_class

    net = message_class("NetParameter")()
    blob = net.layer.add(name="c", type="Convolution").blobs.add(data=[0.5, 1.0, 2.0])
    blob.shape.dim.extend([1, 3, 1, 1])
    (tmp_path / "net.caffemodel").write_bytes(net.SerializeToString())
    (tmp_path / "net.prototxt").write_text(TEXT)
    network = load(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    x = np.random.default_rng(0).random((2, 3, 6, 5), dtype=np.float32)
    got = secateur.Session(network).run({"data": x})["col"]
    assert np.array_equal(got, np.stack([columns(image, (3, 2), 2, (1, 0)) for image in x]))
    assert secateur.describe(network).cost.operations == 2 * 3 * 30
