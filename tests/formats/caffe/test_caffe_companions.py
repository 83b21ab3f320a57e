"""Companions of a Caffe net: their constraints, phases, layers without weights, and definitions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

import secateur
from secateur.core.coupling import find_groups
from secateur.core.errors import FormatError, SecateurError, UnsupportedError, VerificationError
from secateur.formats.caffe.caffemodel import open_caffemodel
from secateur.proto.caffe import message_class
from support.random_weights import caffemodel_for

INPUT = (
    'layer { name: "data" type: "Input" top: "data" '
    "input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }"
)


def conv(name: str, bottom: str, width: int = 8, more: str = "", rules: str = "") -> str:
    """Return a convolution of 3×3."""
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {rules} '
        f"convolution_param {{ num_output: {width} kernel_size: 3 pad: 1 {more} }} }}"
    )


def plain(kind: str, name: str, *bottoms: str, param: str = "", rules: str = "") -> str:
    """Return a layer of any other type with one top."""
    read = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
    return f'layer {{ name: "{name}" type: "{kind}" {read} top: "{name}" {param} {rules} }}'


def classes(name: str, bottom: str, count: int = 5, rules: str = "") -> str:
    """Return a fully connected layer."""
    param = f"inner_product_param {{ num_output: {count} }}"
    return plain("InnerProduct", name, bottom, param=param, rules=rules)


TRUNK = (conv("a", "data"), conv("b", "a"), conv("c", "b"))
DEPLOY = (INPUT, *TRUNK, classes("fc", "c"))
TRAIN, TEST = "include { phase: TRAIN }", "include { phase: TEST }"


class Files:
    """A deploy net, its companion, and the weights of every layer that either has."""

    def __init__(self, folder: Path, deploy: tuple[str, ...], whole: tuple[str, ...]):
        self.folder = folder
        self.deploy, self.weights = folder / "deploy.prototxt", folder / "net.caffemodel"
        self.deploy.write_text("\n".join(deploy))
        self.weights.write_bytes(caffemodel_for("\n".join(whole).encode()))

    def companion(self, *lines: str, name: str = "train_val.prototxt") -> Path:
        path = self.folder / name
        path.write_text("\n".join(lines))
        return path

    def load(self, *companions: Path) -> secateur.Network:
        return secateur.load(self.deploy, self.weights, companions=companions)

    def pruned(
        self, *companions: Path, rate: float = 0.4
    ) -> tuple[secateur.PruneResult, secateur.Saved]:
        found = secateur.prune(self.load(*companions), rate=rate, repair="none")
        return found, secateur.save(found, self.folder / "out")


def shapes(path: Path) -> dict[str, list[tuple[int, ...]]]:
    return {layer.name: [b.shape for b in layer.blobs] for layer in open_caffemodel(path).layers}


def partners(network: secateur.Network, name: str) -> tuple[tuple[int, ...], str]:
    """Return the units of a group, and why it is fixed ("" if it is not)."""
    group = find_groups(network).by_name(name)
    assert group is not None
    return group.units, str(group.reason or "")


def test_a_join_of_the_companion_unites_groups(tmp_path: Path) -> None:
    head = (plain("Eltwise", "sum", "a", "b"), classes("head", "sum", 3))
    files = Files(tmp_path, DEPLOY, (*DEPLOY, *head))
    assert partners(files.load(), "b")[0] != partners(files.load(), "a")[0]
    network = files.load(files.companion(*DEPLOY, *head))
    group = find_groups(network).by_name("a")
    assert group is not None
    assert group.layers == ("a", "b")
    pruned, saved = files.pruned(tmp_path / "train_val.prototxt")
    assert {"a", "c"} == {group.name for group in pruned.plan.groups}
    assert shapes(saved.paths[1])["head"][0][1] == shapes(saved.paths[1])["a"][0][0] * 64 < 512


def test_a_plan_says_which_companions_it_was_made_with(tmp_path: Path) -> None:
    head = (plain("Eltwise", "sum", "a", "b"), classes("head", "sum", 3))
    files = Files(tmp_path, DEPLOY, (*DEPLOY, *head))
    _, saved = files.pruned(files.companion(*DEPLOY, *head))
    assert saved.plan is not None
    plan = secateur.load_plan(saved.plan)
    assert plan.provenance["companions"] == ["train_val.prototxt"]
    bare = secateur.densify(files.load(), plan, repair="none")
    assert any("made with train_val.prototxt" in note for note in bare.notes)
    again = secateur.densify(files.load(tmp_path / "train_val.prototxt"), plan, repair="none")
    assert not any("made with" in note for note in again.notes)


def test_an_output_of_the_companion_fixes_a_group(tmp_path: Path) -> None:
    files = Files(tmp_path, DEPLOY, DEPLOY)
    companion = files.companion(INPUT, *TRUNK[:2])
    assert "feeds output 'b' in train_val.prototxt" in partners(files.load(companion), "b")[1]
    assert not partners(files.load(companion), "a")[1]
    _, saved = files.pruned(companion)
    assert "num_output: 8" in saved.companions[0].read_text().splitlines()[2]


def test_reading_something_else_fixes_what_a_shared_layer_reads(tmp_path: Path) -> None:
    """`b` reads the input in the companion, so that the deploy net's `a` cannot lose channels."""
    whole = (INPUT.replace("dim: 3", "dim: 8"), *TRUNK, classes("fc", "c"))
    files = Files(tmp_path, whole, whole)
    companion = files.companion(whole[0], conv("b", "data"), conv("c", "b"), classes("fc", "c"))
    network = files.load(companion)
    assert "is input 'data' in train_val.prototxt" in partners(network, "a")[1]
    assert not partners(network, "b")[1]


def test_what_only_one_phase_has_is_followed(tmp_path: Path) -> None:
    heads = (conv("train", "a", 4), classes("t", "train", 3)), (conv("test", "b", 4),)
    whole = (*DEPLOY, *heads[0], *heads[1])
    files = Files(tmp_path, DEPLOY, whole)
    companion = files.companion(
        INPUT, *TRUNK, classes("fc", "c"), conv("train", "a", 4, rules=TRAIN),
        classes("t", "train", 3, rules=TRAIN), conv("test", "b", 4, rules=TEST),
    )  # fmt: skip
    network = files.load(companion)
    assert [each.name for each in network.companions] == [
        "train_val.prototxt in phase TRAIN", "train_val.prototxt in phase TEST"
    ]  # fmt: skip
    _, saved = files.pruned(companion)
    found = shapes(saved.paths[1])
    assert found["train"][0][1] == found["a"][0][0] < 8
    assert found["test"][0][1] == found["b"][0][0] < 8


def test_the_other_phase_of_the_own_text_is_followed(tmp_path: Path) -> None:
    text = (*DEPLOY, conv("train", "a", 4, rules=TRAIN), classes("t", "train", 3, rules=TRAIN))
    whole = (*DEPLOY, conv("train", "a", 4), classes("t", "train", 3))
    files = Files(tmp_path, text, whole)
    network = files.load()
    assert [each.name for each in network.companions] == ["deploy.prototxt in phase TRAIN"]
    _, saved = files.pruned()
    found = shapes(saved.paths[1])
    assert found["train"][0][1] == found["a"][0][0] < 8
    secateur.load(*saved.paths, phase="TRAIN")


def test_layers_of_one_name_in_both_phases_are_both_edited(tmp_path: Path) -> None:
    files = Files(tmp_path, DEPLOY, DEPLOY)
    both = (conv("b", "a", rules=TRAIN), conv("b", "a", more="engine: CAFFE", rules=TEST))
    companion = files.companion(INPUT, TRUNK[0], *both, TRUNK[2], classes("fc", "c"))
    _, saved = files.pruned(companion)
    kept = shapes(saved.paths[1])["b"][0][0]
    assert kept < 8
    assert saved.companions[0].read_text().count(f"num_output: {kept} kernel_size: 3 pad: 1  }}")
    assert f"num_output: {kept} kernel_size: 3 pad: 1 engine" in saved.companions[0].read_text()


def test_layers_to_be_trained_have_no_weights(tmp_path: Path) -> None:
    """A new depthwise layer follows what it reads; a new first layer makes what is read."""
    files = Files(tmp_path, DEPLOY, DEPLOY)
    companion = files.companion(
        INPUT, conv("first", "data"), conv("b", "first"), conv("deep", "b", 8, "group: 8"),
        conv("c", "b"), classes("new", "deep", 2), classes("fc", "c"),
    )  # fmt: skip
    before = shapes(files.weights)
    _, saved = files.pruned(companion)
    found, lines = shapes(saved.paths[1]), saved.companions[0].read_text().splitlines()
    assert found.keys() == before.keys()
    kept = {name: found[name][0][0] for name in "abc"}
    assert f"num_output: {kept['a']} " in lines[1]
    assert f"num_output: {kept['b']} " in lines[3]
    assert f"group: {kept['b']} " in lines[3]
    assert kept["a"] < 8 > kept["b"]


def test_a_layer_to_be_trained_does_not_demand_memory(tmp_path: Path) -> None:
    files = Files(tmp_path, DEPLOY, DEPLOY)
    companion = files.companion(INPUT, *TRUNK, classes("huge", "c", 1_000_000_000))
    with pytest.raises(UnsupportedError, match=r"'huge'.*too large"):
        files.load(companion)


def test_the_balance_of_a_companion_holds(tmp_path: Path) -> None:
    head = (conv("half", "a", 4, "group: 2"), classes("head", "half", 3))
    files = Files(tmp_path, DEPLOY, (*DEPLOY, *head))
    group = find_groups(files.load(files.companion(INPUT, *TRUNK, *head))).by_name("a")
    assert group is not None
    assert [len(share) for share in group.partitions[0]] == [4, 4]
    _, saved = files.pruned(tmp_path / "train_val.prototxt", rate=0.6)
    found = shapes(saved.paths[1])
    assert found["half"][0] == (4, found["a"][0][0] // 2, 3, 3)


def test_two_companions_share_a_head(tmp_path: Path) -> None:
    head = (conv("head", "a", 4), classes("out", "head", 3))
    files = Files(tmp_path, DEPLOY, (*DEPLOY, *head))
    one = files.companion(INPUT, *TRUNK, *head)
    other = files.companion(INPUT, *TRUNK, head[0], classes("two", "head", 2), name="b.prototxt")
    _, saved = files.pruned(one, other)
    assert [path.name for path in saved.companions] == ["train_val.prototxt", "b.prototxt"]
    assert shapes(saved.paths[1])["head"][0][1] < 8


def test_repaired_values_are_those_of_the_network(tmp_path: Path) -> None:
    head = (conv("head", "a", 4),)
    files = Files(tmp_path, DEPLOY, (*DEPLOY, *head))
    network = files.load(files.companion(INPUT, *TRUNK, *head))
    values = np.random.default_rng(0).uniform(0, 255, (32, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", data=values)
    data = secateur.open_dataset(tmp_path / "data.npz", network)
    pruned = secateur.prune(network, rate=0.4, data=data)
    saved = secateur.save(pruned, tmp_path / "out", data=data)
    assert saved.difference < 1e-5
    (companion,) = secateur.load(*saved.paths, companions=saved.companions).companions
    own = secateur.load(*saved.paths)
    for name in ("a/weight", "b/weight", "b/bias"):
        assert np.array_equal(companion.array(name), own.array(name))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((INPUT, *TRUNK, plain("Pooling", "fc", "c")), "'fc'.*its type is Pooling, and InnerP"),
        ((INPUT, conv("a", "data", 9)), "'a'.*num_output is 9, and 8 in the network"),
        ((INPUT, TRUNK[0], TRUNK[1].replace("kernel_size: 3", "kernel_size: 1")), "train_val"),
        ((INPUT, *TRUNK, plain("Strange", "s", "c"), classes("t", "s")), "--input-shape s="),
        ((INPUT, *TRUNK, "layer { name: "), "train_val.prototxt"),
        ((INPUT, conv("x", "data")), "no layer of the network that has weights"),
    ],
)
def test_companions_that_do_not_fit_are_refused(
    tmp_path: Path, lines: tuple[str, ...], message: str
) -> None:
    files = Files(tmp_path, DEPLOY, DEPLOY)
    with pytest.raises(SecateurError, match=message):
        files.load(files.companion(*lines))


def test_layers_that_cannot_be_computed_keep_what_they_read(tmp_path: Path) -> None:
    """A layer of a fork with weights of its own, and a Python loss that reads an inner blob."""
    files = Files(tmp_path, DEPLOY, (*DEPLOY, conv("odd", "b")))
    program = 'python_param { module: "losses" layer: "Odd" }'
    data = DEPLOY[0].replace('"Input"', '"Python"').replace("input_param {", "unread_param {")
    network = files.load(
        files.companion(
            data, *TRUNK, plain("Strange", "odd", "b"), classes("fc", "c"),
            plain("Python", "loss", "c", "fc", param=program),
        )
    )  # fmt: skip
    assert [each.inputs for each in network.companions] == [{"data": ("N", 3, 8, 8)}]
    assert "'odd' (Strange)" in partners(network, "b")[1]
    assert "'loss' (Python)" in partners(network, "c")[1]
    _, saved = files.pruned(tmp_path / "train_val.prototxt")
    found = shapes(saved.paths[1])
    assert found["a"][0][0] < 8
    assert found["odd"] == shapes(files.weights)["odd"]
    assert not [note for note in network.notes if "no given text" in note]


def test_data_layers_take_the_shape_of_the_deploy_net(tmp_path: Path) -> None:
    files = Files(tmp_path, DEPLOY, DEPLOY)
    source = 'data_param { source: "nowhere" batch_size: 64 }'
    for transform in ("", "transform_param { mean_file: 'nowhere' }",
                      "transform_param { crop_size: 8 }"):  # fmt: skip
        data = f'layer {{ name: "d" type: "Data" top: "data" top: "label" {transform} {source} }}'
        loss = plain("SoftmaxWithLoss", "loss", "fc", "label")
        accuracy = plain("Accuracy", "accuracy", "fc", "label", rules=TEST)
        companion = files.companion(data, *TRUNK, classes("fc", "c"), loss, accuracy)
        network = files.load(companion)
        assert [each.inputs for each in network.companions] == [{"data": ("N", 3, 8, 8)}]


def test_images_of_another_shape_are_asked_for(tmp_path: Path) -> None:
    """A siamese net reads pairs of images in one blob."""
    shared = "param { name: 'w' } param { name: 'b' }"
    files = Files(tmp_path, DEPLOY, DEPLOY)
    companion = files.companion(
        'layer { name: "d" type: "Data" top: "pair" top: "sim" data_param { batch_size: 64 } }',
        'layer { name: "cut" type: "Slice" bottom: "pair" top: "data" top: "other" }',
        conv("a", "data", rules=shared), conv("b", "a"), conv("c", "b"), classes("fc", "c"),
        conv("twin", "other", rules=shared), classes("second", "twin"),
        plain("ContrastiveLoss", "loss", "fc", "second", "sim"),
    )  # fmt: skip
    with pytest.raises(FormatError, match=r"'cut'.*--input-shape pair=C,H,W gives others"):
        files.load(companion)
    network = secateur.load(
        files.deploy, files.weights, companions=[companion], input_shapes={"pair": (6, 8, 8)}
    )
    saved = secateur.save(secateur.prune(network, rate=0.4), tmp_path / "out")
    lines = saved.companions[0].read_text().splitlines()
    kept = shapes(saved.paths[1])["a"][0][0]
    assert kept < 8
    assert all(f"num_output: {kept} " in lines[place] for place in (2, 6))


def test_normalisations_of_a_training_phase_are_cut_whole(tmp_path: Path) -> None:
    """By statistics of the batch or by stored ones: these lose the same channels."""

    def norm(name: str, blob: str, more: str = "", rules: str = "") -> str:
        line = plain("BatchNorm", name, blob, param=f"batch_norm_param {{ {more} }}", rules=rules)
        return line.replace(f'top: "{name}"', f'top: "{blob}"')

    deploy = (INPUT, TRUNK[0], norm("n", "a"), *TRUNK[1:], classes("fc", "c"))
    head = (conv("head", "a", 4), classes("out", "head", 3), norm("m", "b"))
    files = Files(tmp_path, deploy, (*deploy, *head))
    companion = files.companion(
        INPUT, TRUNK[0], norm("n", "a", "use_global_stats: false", TRAIN),
        norm("n", "a", "use_global_stats: true", TEST), TRUNK[1],
        norm("m", "b", "use_global_stats: false", TRAIN), TRUNK[2], classes("fc", "c"), *head[:2],
    )  # fmt: skip
    _, saved = files.pruned(companion)
    found = shapes(saved.paths[1])
    for norms, layer in (("n", "a"), ("m", "b")):
        kept = found[layer][0][0]
        assert found[norms] == [(kept,), (kept,), (1,)]
        assert kept < 8


# -- what the caffemodel defines ------------------------------------------------------------------


def defined(text: tuple[str, ...], weights: bytes) -> bytes:
    """Return a caffemodel as Caffe writes it: a whole net with its weights.

    Weights of other layers follow, as entries without bottoms and tops.
    """
    net = text_format.Parse("\n".join(text), message_class("NetParameter")())
    blobs = message_class("NetParameter")()
    blobs.ParseFromString(weights)
    by_name = {layer.name: layer for layer in blobs.layer if layer.blobs}
    for layer in net.layer:
        if layer.name in by_name:
            layer.blobs.extend(by_name.pop(layer.name).blobs)
    net.layer.extend(by_name.values())
    return net.SerializeToString()


SPLIT = 'layer { name: "a_split" type: "Split" bottom: "a" top: "a_split_0" top: "a_split_1" }'


def test_what_only_the_caffemodel_has_is_cut(tmp_path: Path) -> None:
    head = (conv("head", "a", 4), plain("ReLU", "relu", "head"), classes("out", "relu", 3))
    files = Files(tmp_path, DEPLOY, (*DEPLOY, *head))
    text = (
        INPUT, TRUNK[0], SPLIT, conv("b", "a_split_0"), TRUNK[2], classes("fc", "c"),
        conv("head", "a_split_1", 4), *head[1:],
    )  # fmt: skip
    files.weights.write_bytes(defined(text, files.weights.read_bytes()))
    network = files.load()
    assert [each.name for each in network.companions] == ["net.caffemodel"]
    assert not [note for note in network.notes if isinstance(note, secateur.Caution)]
    pruned, saved = files.pruned()
    assert "'head' (net.caffemodel)" in pruned.notes[-1]
    assert saved.companions == ()
    found = shapes(saved.paths[1])
    assert found["head"][0] == (4, found["a"][0][0], 3, 3)
    assert found["a"][0][0] < 8
    assert found["out"] == shapes(files.weights)["out"]


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ((plain("Strange", "odd", "a"), conv("head", "odd", 4)), "its shape is not in the file"),
        ((conv("head", "nowhere", 4),), "no layer before makes 'nowhere'"),
        ((conv("head", "a", 4, "group: 3"),), "group"),
        ((conv("head", "a", 0),), "num_output"),
        ((plain("Convolution", "head", "a"),), "required, but missing"),
        ((conv("b", "a", 7), conv("head", "b", 4)), "num_output is 7, and 8 in the network"),
        ((conv("head", "a", 5),), "is stored as"),
        ((), "the file does not say what they read"),
    ],
)
def test_a_definition_that_is_no_use_is_reported(
    tmp_path: Path, head: tuple[str, ...], reason: str
) -> None:
    whole = (*DEPLOY, conv("head", "a", 4), conv("more", "a", 4))
    files = Files(tmp_path, DEPLOY, whole)
    files.weights.write_bytes(defined((INPUT, TRUNK[0], *head), files.weights.read_bytes()))
    network = files.load()
    (note,) = (note for note in network.notes if "no given text" in note)
    assert "'head', 'more'" in note
    assert reason in note
    assert isinstance(note, secateur.Caution)
    files.pruned()


def test_a_join_that_only_the_caffemodel_has_unites_groups(tmp_path: Path) -> None:
    head = (conv("side", "a"), plain("Eltwise", "sum", "side", "b"), classes("out", "sum", 3))
    files = Files(tmp_path, DEPLOY, (*DEPLOY, *head))
    text = (INPUT, *TRUNK, classes("fc", "c"), *head)
    files.weights.write_bytes(defined(text, files.weights.read_bytes()))
    _, saved = files.pruned()
    found = shapes(saved.paths[1])
    assert found["side"][0][0] == found["b"][0][0] < 8
    assert found["out"][0][1] == 64 * found["b"][0][0]


def test_nothing_is_written_if_a_companion_went_missing(tmp_path: Path) -> None:
    files = Files(tmp_path, DEPLOY, (*DEPLOY, conv("head", "a", 4)))
    companion = files.companion(INPUT, *TRUNK, conv("head", "a", 4))
    pruned = secateur.prune(files.load(companion), rate=0.4)
    lost = replace(pruned.network, companions=())
    with pytest.raises(UnsupportedError, match="changed without its companions"):
        secateur.save(lost, tmp_path / "out")
    mixed = replace(pruned.network, companions=files.load(companion).companions)
    with pytest.raises((FormatError, VerificationError)):
        secateur.save(mixed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_windows_are_freed_in_companions_as_well(tmp_path: Path) -> None:
    norm = plain("LRN", "n", "a", param="lrn_param { local_size: 3 alpha: 0.01 }")
    deploy = (INPUT, TRUNK[0], norm, conv("b", "n"), TRUNK[2], classes("fc", "c"))
    head = (conv("head", "n", 4), classes("out", "head", 3))
    files = Files(tmp_path, deploy, (*deploy, *head))
    companion = files.companion(*deploy, *head)
    assert "'n' (LRN)" in partners(files.load(companion), "a")[1]
    network = secateur.load(files.deploy, files.weights, companions=[companion], lrn="inexact")
    assert not partners(network, "a")[1]
    saved = secateur.save(secateur.prune(network, rate=0.4, repair="none"), tmp_path / "out")
    found = shapes(saved.paths[1])
    assert found["head"][0][1] == found["a"][0][0] < 8
