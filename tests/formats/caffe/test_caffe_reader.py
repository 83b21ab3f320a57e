"""Reading nets: phases, labels, shapes, errors that name file, line, layer and field."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.engine.session import Session
from secateur.core.errors import FormatError, SecateurError, UnsupportedError
from secateur.core.ir.heads import ClassifierHead, PriorHead
from secateur.core.ir.network import Caution
from secateur.core.ir.rebuild import expose
from secateur.formats.caffe.layer import LAYERS
from secateur.formats.caffe.reader import load
from secateur.proto.caffe import message_class
from support.caffe import run

DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 6 dim: 6 } } }\n'  # noqa: E501
CONV = 'layer { name: "c" type: "Convolution" bottom: "data" top: "c"\n  convolution_param { num_output: 4 kernel_size: 3 %s } }\n'  # noqa: E501


def write(folder, text, blobs=None):
    """Write a net and a caffemodel with seeded values of the given shapes by layer name."""
    random = np.random.default_rng(0)
    net = message_class("NetParameter")(name="net")
    for name, shapes in (blobs or {"c": [(4, 3, 3, 3), (4,)]}).items():
        layer = net.layer.add(name=name, type="any")
        for shape in shapes:
            data = random.normal(size=shape).ravel()
            layer.blobs.add(shape={"dim": shape}, data=data)
    (folder / "net.prototxt").write_text(text)
    (folder / "net.caffemodel").write_bytes(net.SerializeToString())
    return folder / "net.prototxt", folder / "net.caffemodel"


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        (DATA + 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" }',
         ":2: layer 'c' (Convolution), field convolution_param.num_output",
         "required, but missing"),
        (DATA + CONV % 'group: "two"',
         ":3: layer 'c' (Convolution), field convolution_param.group",
         "not a string"),
        (DATA + CONV % "bias_term: 3",
         ":3: layer 'c' (Convolution), field convolution_param.bias_term",
         "neither true nor false"),
        (DATA + CONV % "num_output: 5", ":3: field num_output", "given twice"),
        (DATA + CONV % "stride: 0", ":2: layer 'c' (Convolution)", "stride must be positive"),
        (DATA + CONV % "kernel_h: 3",
         ":3: layer 'c' (Convolution), field convolution_param.kernel_size",
         "not both"),
        (DATA + CONV % "group: 2", ":2: layer 'c' (Convolution)", "does not divide"),
        (DATA + CONV % "axis: 7", ":2: layer 'c' (Convolution)", "axis 7 does not exist"),
        (DATA + 'layer { name: "p" type: "Poling" bottom: "data" top: "p" }',
         ":2: layer 'p' (Poling)", "did you mean Pooling"),
        (DATA + 'layer { name: "p" type: "Pooling" bottom: "data" top: "p"'
         " pooling_param { pool: MIN } }",
         ":2: layer 'p' (Pooling), field pooling_param.pool", "none of MAX, AVE"),
        (DATA + 'layer { name: "d" type: "Data" top: "x" top: "l" }', ":2: layer 'd' (Data)",
         "--input-shape x=C,H,W"),
        (DATA + 'layer { name: "e" type: "Eltwise" bottom: "data" top: "e" }',
         ":2: layer 'e' (Eltwise)", "1 bottoms, but this layer has 2"),
        (DATA + 'layers { name: "r" type: RELU bottom: "data" top: "r" }', "", "only one kind"),
        (DATA, "", "computes nothing"),
        ('input: "data"\ninput_dim: 1\nlayer { type: "ReLU" }', ":1", "need 4 input_dim"),
    ],
)  # fmt: skip
def test_errors_name_the_place(tmp_path, text, where, message):
    files = write(tmp_path, text)
    with pytest.raises(SecateurError) as caught:
        load(*files)
    assert str(caught.value).startswith(f"{files[0]}{where}:"), str(caught.value)
    assert message in str(caught.value)


def test_missing_weights_name_the_caffemodel_and_no_line_of_the_prototxt(tmp_path):
    files = write(tmp_path, DATA + CONV % "", {"other": [(1,)]})
    with pytest.raises(FormatError) as caught:
        load(*files)
    assert str(caught.value).startswith(f"{files[1]}: layer 'c' (Convolution): no weights")


def test_missing_files_are_errors_of_ours(tmp_path):
    with pytest.raises(FormatError, match="cannot be read"):
        load(tmp_path / "a.prototxt", tmp_path / "a.caffemodel")
    files = write(tmp_path, DATA + CONV % "")
    with pytest.raises(FormatError, match="cannot be read"):
        load(files[0], tmp_path / "a.caffemodel")
    with pytest.raises(FormatError, match="directory"):
        load(tmp_path, files[1])


TRAIN_VAL = """
layer { name: "in" type: "Data" top: "data" top: "label" include { phase: TRAIN } }
layer { name: "in" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.5 crop_size: 6 } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "f" type: "Flatten" bottom: "c" top: "f" }
layer { name: "acc" type: "Accuracy" bottom: "f" bottom: "label" top: "acc" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "f" bottom: "label" top: "loss" }
"""


def test_without_labels_a_loss_is_a_softmax_and_accuracy_is_left_out(tmp_path):
    network = load(*write(tmp_path, TRAIN_VAL))
    assert network.inputs == {"data": ("N", 3, 6, 6)}
    assert network.outputs == {"loss": ("N", 64)}
    assert network.preprocess.mean == (104, 117, 123)
    assert network.preprocess.scale == 0.5
    assert any("Accuracy" in note for note in network.notes)
    data = np.random.default_rng(1).normal(size=(2, 3, 6, 6)).astype(np.float32)
    assert np.allclose(run(network.model, {"data": data})["loss"].sum(axis=1), 1)


def test_input_shapes_are_given_where_the_file_does_not_tell(tmp_path):
    text = TRAIN_VAL.replace("crop_size: 6", "")
    network = load(*write(tmp_path, text), input_shapes={"data": (3, 8, 7)})
    assert network.inputs == {"data": ("N", 3, 8, 7)}
    assert network.source is not None
    again = network.source.reread({".prototxt": tmp_path / "net.prototxt",
                                   ".caffemodel": tmp_path / "net.caffemodel"})  # fmt: skip
    assert again.inputs == network.inputs


def test_an_output_never_bears_the_name_of_an_input(tmp_path):
    text = DATA + 'layer { name: "r" type: "ReLU" bottom: "data" top: "data" }'
    network = load(*write(tmp_path, text))
    assert list(network.inputs) == ["data"]
    assert list(network.outputs) == ["data_out"]


def test_inputs_of_different_batch_sizes_stay_as_they_are(tmp_path):
    text = (
        'input: "a" input_shape { dim: 2 dim: 3 } input: "b" input_shape { dim: 5 dim: 3 }'
        'layer { name: "j" type: "Concat" bottom: "a" bottom: "b" top: "c"'
        " concat_param { axis: 0 } }"
    )
    network = load(*write(tmp_path, text))
    assert network.inputs == {"a": (2, 3), "b": (5, 3)}
    assert network.outputs == {"c": (7, 3)}


def test_a_layer_with_weights_cannot_read_a_label(tmp_path):
    text = TRAIN_VAL.replace('bottom: "data" top: "c"', 'bottom: "label" top: "c"')
    with pytest.raises(UnsupportedError, match="reads 'label', for which layer 'in'"):
        load(*write(tmp_path, text))


def test_layer_information_counts_what_is_stored(tmp_path):
    network = load(*write(tmp_path, DATA + CONV % ""))
    info = network.layers[1]
    assert (info.name, info.type, info.line, info.stored) == ("c", "Convolution", 2, 112)
    assert info.bottoms == ("data",)
    assert info.tops[0] in network.values()


def test_fields_that_caffe_does_not_know_are_noted_and_kept(tmp_path):
    files = write(tmp_path, DATA + CONV % "my_field: 3")
    network = load(*files)
    assert any("my_field" in note for note in network.notes)
    assert network.source is not None
    assert network.source.render(network)[".prototxt"] == files[0].read_bytes()


def test_a_head_says_how_ssd_outputs_are_decoded(shared):
    folder = shared / "models/libfacedetection_v1_ssd"
    network = load(
        folder / "yufacedetectnet-open-v1.prototxt", folder / "yufacedetectnet-open-v1.caffemodel"
    )
    (head,) = network.heads
    assert isinstance(head, PriorHead)
    assert {head.output, head.scores, head.priors} == set(network.outputs)


def test_a_head_says_which_output_holds_the_classes(shared):
    folder = shared / "models/mtcnn_det1_det2_det3"
    network = load(folder / "det3.prototxt", folder / "det3.caffemodel")
    assert network.heads == (ClassifierHead(output="prob1"),)


def test_every_name_has_a_class_with_a_docstring():
    assert len(LAYERS) > 60
    for name, cls in LAYERS.items():
        assert cls.__doc__, name
        assert "Source:" in (__import__("sys").modules[cls.__module__].__doc__ or ""), name


TRAINED = """
layer { name: "images" type: "Data" top: "data" include { phase: TRAIN } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 4 kernel_size: 3 } }
"""


def test_a_blob_of_another_phase_is_pointed_at(tmp_path):
    with pytest.raises(FormatError) as caught:
        load(*write(tmp_path, TRAINED))
    assert "no layer before makes 'data'" in str(caught.value)
    assert "layer 'images' in line 2 makes it, but not in this phase" in str(caught.value)
    network = load(*write(tmp_path, TRAINED), phase="TRAIN", input_shapes={"data": (3, 6, 6)})
    assert list(network.outputs) == ["c"]


def test_a_field_that_changes_what_a_fork_computes_is_warned_of(tmp_path):
    text = (
        DATA
        + CONV % "pad_l: 1"
        + (
            'layer { name: "p" type: "Pooling" bottom: "c" top: "p"\n'
            "  pooling_param { kernel_size: 3 stride: 2 ceil_mode: false } }"
        )
    )
    network = load(*write(tmp_path, text))
    (caution,) = [note for note in network.notes if isinstance(note, Caution)]
    assert "layer 'c' (Convolution) in line 2: convolution_param has pad_l" in caution
    assert network.outputs["p"][2:] == (1, 1)


def test_what_needs_its_framework_from_the_first_layer_on_is_said_to(tmp_path):
    text = DATA + (
        'layer { name: "rois" type: "Input" top: "rois" input_param { shape { dim: 1 dim: 5 } } }\n'
        'layer { name: "ps" type: "PSROIPooling" bottom: "data" bottom: "rois" top: "ps"\n'
        "  psroi_pooling_param { spatial_scale: 1 output_dim: 1 group_size: 1 } }\n"
        'layer { name: "prob" type: "Softmax" bottom: "ps" top: "prob" }'
    )
    with pytest.raises(UnsupportedError, match=r"'ps' \(PSROIPooling\).*nothing to read is left"):
        load(*write(tmp_path, text))


def test_scores_against_labels_are_left_out(tmp_path):
    text = (
        'layer { name: "data" type: "DenseImageData" top: "data" top: "label"\n'
        "  dense_image_data_param { new_height: 6 new_width: 6 label_divide_factor: 8 } }\n"
        + CONV
        % ""
        + 'layer { name: "a" type: "SegAccuracy" bottom: "c" bottom: "label" top: "a"\n'
        "  seg_accuracy_param { ignore_label: 255 } }\n"
        'layer { name: "e" type: "DetectionEvaluate" bottom: "c" bottom: "label" top: "e" }'
    )
    assert list(load(*write(tmp_path, text)).outputs) == ["c"]


def test_a_loss_of_a_fork_is_left_out_and_other_unknown_layers_are_refused(tmp_path):
    data = (
        'layer { name: "data" type: "DenseImageData" top: "data" top: "label"\n'
        "  dense_image_data_param { new_height: 6 new_width: 6 } }\n"
    )
    loss = 'layer { name: "l" type: "RegionLoss" bottom: "c"%s top: "l" }'
    network = load(*write(tmp_path, data + CONV % "" + loss % ' bottom: "label"'))
    assert list(network.outputs) == ["c"]
    (caution,) = [note for note in network.notes if isinstance(note, Caution)]
    assert "'l' (RegionLoss) is left out" in caution
    with pytest.raises(UnsupportedError, match=r"'l' \(RegionLoss\).*hint: --opaque RegionLoss"):
        load(*write(tmp_path, data + CONV % "" + loss % ""))


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("Mish", lambda x: x * np.tanh(np.log1p(np.exp(x)))),
        ("HardSwish", lambda x: x * np.clip(x + 3, 0, 6) / 6),
    ],
)
def test_activations_of_forks(tmp_path, kind, function):
    text = DATA + CONV % "" + f'layer {{ name: "a" type: "{kind}" bottom: "c" top: "a" }}'
    network = expose(load(*write(tmp_path, text)), ["c"])
    data = np.random.default_rng(1).normal(size=(2, 3, 6, 6)).astype(np.float32)
    found = Session(network).run({"data": data})
    np.testing.assert_allclose(found["a"], function(found["layer:c"]), rtol=1e-5, atol=1e-6)
