"""Nets with layers that no graph can carry: read, pruned, written, with these layers untouched."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.coupling import find_groups
from support.program import run

NETS = {
    "proposal": ("net", {}, "proposal", {"rpn", "fc"}),
    "python_proposal": ("net", {}, "proposal", {"rpn", "fc"}),
    "trailing_python": ("net", {}, "cluster", {"c1"}),
    "python_data": ("val", {"data": (3, 16, 16)}, "data", {"c1"}),
}
"""Folder → stem of its files, shapes that they do not state, the border, and groups that lose
channels at the rate of the test."""


def files(field: Path, name: str) -> tuple[Path, Path]:
    stem = NETS[name][0]
    return field / name / f"{stem}.prototxt", field / name / f"{stem}.caffemodel"


def layer_text(path: Path, name: str) -> str:
    """Return the line of a layer: each stands on its own there."""
    (line,) = re.findall(rf'^layer {{ name: "{name}" .*$', path.read_text(), re.MULTILINE)
    return line


@pytest.mark.parametrize("name", NETS)
def test_a_net_with_a_border_is_pruned_and_keeps_it(name: str, field: Path, tmp_path: Path) -> None:
    paths = files(field, name)
    _, shapes, border, pruned_groups = NETS[name]
    network = secateur.load(*paths, input_shapes=shapes)
    assert network.source is not None
    rendered = network.source.render(network)
    assert {suffix: bytes(data) for suffix, data in rendered.items()} == {
        path.suffix: path.read_bytes() for path in paths
    }
    result = secateur.prune(network, rate=0.35)
    lost = {group.name for group in result.plan.groups if group.removed}
    assert pruned_groups <= lost
    saved = secateur.save(result, tmp_path / "out")
    assert saved.difference == 0
    written = [tmp_path / "out" / path.name for path in paths]
    assert layer_text(written[0], border) == layer_text(paths[0], border)
    again = secateur.load(*written, input_shapes=shapes)
    assert again.inputs == network.inputs
    assert again.outputs == network.outputs
    assert [border.subject for border in again.borders] == [
        border.subject for border in network.borders
    ]
    assert written[1].stat().st_size < paths[1].stat().st_size


@pytest.mark.parametrize("name", ["proposal", "python_proposal"])
def test_a_two_stage_detector_has_a_trunk_and_a_head(name: str, field: Path) -> None:
    network = secateur.load(*files(field, name))
    assert network.inputs == {"data": (1, 3, 32, 32), "rois": (1, 5)}
    assert list(network.outputs) == ["score", "boxes", "cls"]
    kind = "Proposal" if name == "proposal" else "Python"
    reasons = {group.name: str(group.reason) for group in find_groups(network).groups}
    told = f"read by 'proposal' ({kind}), which cannot be computed"
    assert reasons["score"] == reasons["boxes"] == told
    assert all(reasons[group] == "None" for group in ("c1", "c2", "rpn", "fc"))
    assert any("'rois' is an input" in note for note in network.notes)
    assert any("--input-shape rois=300,5" in note for note in network.notes)
    many = secateur.load(*files(field, name), input_shapes={"rois": (300, 5)})
    assert many.inputs["rois"] == (300, 5)
    assert many.outputs["cls"] == (300, 3)
    assert not any("how many regions" in note for note in many.notes)


def test_what_a_trailing_program_reads_are_outputs(field: Path) -> None:
    network = secateur.load(*files(field, "trailing_python"))
    assert list(network.inputs) == ["data"]
    assert list(network.outputs) == ["cover", "boxes"]
    (border,) = network.borders
    assert (border.outputs, border.inputs) == (("cover", "boxes"), ())


def test_a_program_that_makes_data_needs_a_shape(field: Path, tmp_path: Path) -> None:
    paths = files(field, "python_data")
    with pytest.raises(secateur.UnsupportedError, match="'data' stands in the data") as caught:
        secateur.load(*paths)
    assert "--input-shape data=C,H,W" in str(caught.value)
    network = secateur.load(*paths, input_shapes={"data": (3, 16, 16)})
    assert network.inputs == {"data": ("N", 3, 16, 16)}
    assert network.outputs == {"loss": ("N", 4, 16, 16)}
    rng = np.random.default_rng(0)
    data, labels = tmp_path / "set.npz", rng.integers(0, 4, (6, 16, 16))
    np.savez(data, x=rng.normal(size=(6, 3, 16, 16)).astype(np.float32), y=labels)
    options = ["--input-shape", "data=3,16,16", "--data", str(data)]
    told = run("prune", *paths, "--rate", "0.3", "-o", tmp_path / "out", *options)
    assert "Mean IoU" in told.stdout


def regions_of(count: int, each: int, *, numbered: bool) -> np.ndarray:
    """Return rows of image, x0, y0, x1, y1 in images of 32×32."""
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 12, (count * each, 2))
    sizes = rng.uniform(8, 18, (count * each, 2))
    images = np.arange(count * each) // each if numbered else np.zeros(count * each)
    return np.column_stack([images, corners, corners + sizes]).astype(np.float32)


@pytest.mark.parametrize("numbered", [False, True], ids=["zeros", "numbered"])
def test_regions_are_fed_with_their_images(field: Path, tmp_path: Path, *, numbered: bool) -> None:
    network = secateur.load(*files(field, "proposal"), input_shapes={"rois": (4, 5)})
    images = np.random.default_rng(0).normal(size=(10, 3, 32, 32)).astype(np.float32)
    rois = regions_of(10, 4, numbered=numbered)
    np.savez(tmp_path / "set.npz", data=images, rois=rois)
    dataset = secateur.open_dataset(tmp_path / "set.npz", network)
    assert dataset.samples == 10
    session = secateur.Session(network)
    found = np.concatenate([session.run(batch.inputs)["cls"] for batch in dataset])
    rois[:, 0] = 0
    expected = [
        session.run({"data": images[i : i + 1], "rois": rois[4 * i : 4 * i + 4]})["cls"]
        for i in range(10)
    ]
    np.testing.assert_array_equal(found, np.concatenate(expected))
    result = secateur.prune(network, rate=0.3, data=dataset)
    assert {"c2", "fc"} <= {group.name for group in result.plan.groups}
    assert result.verification.difference <= 1e-4


def test_every_input_needs_data(field: Path, tmp_path: Path) -> None:
    network = secateur.load(*files(field, "proposal"))
    images = np.zeros((6, 3, 32, 32), np.float32)
    np.savez(tmp_path / "images.npz", x=images)
    np.savez(tmp_path / "data.npz", data=images)
    np.savez(tmp_path / "many.npz", data=images, rois=regions_of(6, 3, numbered=False))
    mixed = regions_of(6, 1, numbered=False)
    np.savez(tmp_path / "short.npz", data=images, rois=mixed[:5])
    for name, message in (
        ("images.npz", r"no arrays for the inputs 'data', 'rois', only 'x'"),
        ("data.npz", r"no array 'rois' for input 'rois', only 'data'"),
        ("many.npz", r"'rois' has 18 \(hint: --input-shape rois=3,5 reads"),
        ("short.npz", r"different numbers of samples: 'data' has 6, 'rois' has 5"),
    ):
        with pytest.raises(secateur.DataError, match=message) as caught:
            secateur.open_dataset(tmp_path / name, network)
        assert len(str(caught.value).splitlines()) == 1


def with_images(folder: Path, count: int = 6) -> Path:
    """Write images of several sizes, in folders by class."""
    import cv2

    rng = np.random.default_rng(2)
    for number in range(count):
        place = folder / "abc"[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (30 + number, 40, 3), np.uint8)
        assert cv2.imwrite(str(place / f"{number}.png"), pixels)
    return folder


def test_images_feed_a_two_stage_detector(field: Path, tmp_path: Path) -> None:
    paths, images = files(field, "python_proposal"), with_images(tmp_path / "images")
    options = ["--input-shape", "rois=3,5", "--data", images]
    told = run("prune", *paths, "--rate", "0.3", "-o", tmp_path / "a", *options).stderr
    caution = (
        f"warning: {images}: 'rois' is made by 'proposal' (Python), which cannot be computed: "
        "boxes drawn at random stand for it, and labels are not used, since outputs behind such "
        "boxes say nothing about them; give a .npz with 'data', 'rois' to calibrate on real ones"
    )
    assert told.count("drawn at random") == 1
    assert caution in told.splitlines()
    assert "masked = dense: 0.0e+00, written = dense: 0.0e+00" in told
    assert f"6 samples of {images}" in told
    run("prune", *paths, "--rate", "0.3", "-o", tmp_path / "b", *options)
    first, second = ((tmp_path / name / "net.caffemodel").read_bytes() for name in "ab")
    assert first == second
    assert len(first) < paths[1].stat().st_size
    written = [tmp_path / "a" / path.name for path in paths]
    compared = run("valid", *paths, *written, *options)
    assert "Output" not in compared.stdout
    assert "Cosine" in compared.stdout
    assert compared.stderr.count("drawn at random") == 1
    plan = ("--plan", tmp_path / "a" / "plan.yaml")
    moved = run("transform", *paths, *plan, "-o", tmp_path / "c", *options)
    assert moved.stderr.count("drawn at random") == 1
    assert (tmp_path / "c" / "net.caffemodel").is_file()


def test_drawn_regions_serve_every_workflow_and_no_labels(field: Path, tmp_path: Path) -> None:
    network = secateur.load(*files(field, "python_proposal"), input_shapes={"rois": (3, 5)})
    images = with_images(tmp_path / "images")
    data = secateur.open_dataset(images, network)
    assert not data.labelled
    for found in (
        secateur.analyze(network, data, rates=(0.3,)),
        secateur.iterate(network, data, tmp_path / "rounds", rates=(0.3,)),
        secateur.prune(network, rate=0.3, data=data),
        secateur.fidelity(network, network, data),
        secateur.compare(network, network, data),
    ):
        assert sum("drawn at random" in note for note in found.notes) == 1
    fitted = secateur.fit_data(network, data)
    assert fitted.task.needs_original
    again = secateur.fit_data(network, fitted.dataset).notes
    assert not any("drawn at random" in note for note in again)
    told = r"images: nothing can be measured by labels here: 'rois' is made by 'proposal'"
    for settings in ({"asked": True}, {"task": "classification"}):
        with pytest.raises(secateur.DataError, match=told):
            secateur.fit_data(network, data, **settings)
    with pytest.raises(secateur.DataError, match=told):
        secateur.evaluate(network, data)


def test_images_do_not_feed_inputs_of_other_kinds(field: Path, tmp_path: Path) -> None:
    net, weights = files(field, "python_proposal")
    path = tmp_path / "net.prototxt"
    read = 'layer { name: "p" type: "Power" bottom: "im_info" top: "p" power_param { scale: 2 } }'
    path.write_text(f"{net.read_text()}\n{read}\n")
    network = secateur.load(path, weights)
    assert list(network.inputs) == ["data", "im_info", "rois"]
    with pytest.raises(secateur.DataError, match=r"images feed one input, but the network has"):
        secateur.open_dataset(with_images(tmp_path / "images"), network)


def test_regions_of_one_image_name_one_image(field: Path, tmp_path: Path) -> None:
    network = secateur.load(*files(field, "proposal"), input_shapes={"rois": (3, 5)})
    rois = regions_of(4, 3, numbered=True)
    rois[4, 0] = 0
    np.savez(tmp_path / "set.npz", data=np.zeros((4, 3, 32, 32), np.float32), rois=rois)
    with pytest.raises(secateur.DataError, match="rows 3 to 5 are the regions of one image"):
        list(secateur.open_dataset(tmp_path / "set.npz", network))


@pytest.mark.parametrize("name", ["proposal", "trailing_python"])
def test_every_workflow_works_on_the_parts(name: str, field: Path, tmp_path: Path) -> None:
    network = secateur.load(*files(field, name))
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(8, *shape[1:])) for name, shape in network.inputs.items()}
    if "rois" in arrays:
        arrays["rois"] = regions_of(8, 1, numbered=False)
    np.savez(tmp_path / "set.npz", **{k: array.astype(np.float32) for k, array in arrays.items()})
    data = secateur.open_dataset(tmp_path / "set.npz", network)
    analysis = secateur.analyze(network, data, rates=(0.3, 0.6))
    assert "c1" in {group.name for group in analysis.groups}
    result = secateur.prune(network, rate=0.3, data=data, analysis=analysis)
    saved = secateur.save(result, tmp_path / "pruned")
    again = secateur.apply_plan(network, secateur.load_plan(tmp_path / "pruned" / "plan.yaml"))
    assert again.network.outputs == network.outputs
    secateur.iterate(network, data, tmp_path / "rounds", rates=(0.1, 0.3))
    assert (tmp_path / "rounds" / "rounds.json").is_file()
    true = secateur.fidelity(network, secateur.load(*saved.paths), data)
    assert {one.name for one in true.outputs} == set(network.outputs)
    secateur.save(network, tmp_path / "net.onnx")
    assert secateur.compare(network, secateur.load(tmp_path / "net.onnx")).worst.relative == 0


def test_commands_say_where_a_net_is_cut(field: Path, tmp_path: Path) -> None:
    paths = files(field, "python_proposal")
    shown = run("inspect", *paths)
    assert "read by 'proposal' (Python)" in " ".join(shown.stdout.split())
    assert "'score', 'boxes' are outputs, 'rois' is an input" in shown.stderr
    pruned = run("prune", *paths, "--rate", "0.3", "-o", tmp_path)
    assert "masked = dense: 0.0e+00" in pruned.stderr
