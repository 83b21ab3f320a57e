"""Files for training in Darknet: the cfg, the lists, the weights; and Darknet trains with them."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import lacking
from PIL import Image

import secateur
from secateur.core.errors import DataError, UnsupportedError
from secateur.formats.darknet.document import parse
from support.darknet import with_random_weights
from support.training_step import begin, step

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"
BODY = """
[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=12
size=3
stride=2
pad=1
activation=leaky
"""
SCORES = """
[convolutional]
filters=3
size=1
activation=linear

[avgpool]
"""
YOLO = """
[convolutional]
filters=14
size=1
activation=linear

[yolo]
mask=0,1
anchors=6,6, 12,12
classes=2
num=2
"""
REGION = """
[convolutional]
filters=14
size=1
activation=linear

[region]
anchors=1,1, 2,2
classes=2
num=2
softmax=1
"""
KINDS = {
    "detector": (YOLO, "detector"),
    "region": (REGION, "detector"),
    "classifier": (SCORES + "\n[softmax]\n", "classifier"),
    "classifier without a softmax": (SCORES, "classifier"),
    "classifier with a cost": (SCORES + "\n[softmax]\n\n[cost]\ntype=sse\n", "classifier"),
}


def options(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Return the sections with their keys."""
    document = parse(path.read_bytes(), str(path))
    return [
        (block.name, {key: str(one.value) for key, one in block.options.items()})
        for block in document.sections
    ]


def pruned(folder: Path, tail: str, *, net: str = NET, sparse: bool = False):
    network = secateur.load(*with_random_weights(folder, net + BODY + tail))
    return secateur.prune(network, rate=0.4, criterion="l1", repair="none", sparse=sparse)


def small(folder: Path) -> None:
    """Let a training in a folder be short."""
    (cfg,) = folder.glob("*.cfg")
    text = cfg.read_text()
    last = seen(folder / "model.weights") // 4 + 3
    for key, value in (("batch", 4), ("subdivisions", 2), ("max_batches", last), ("burn_in", 0),
                       ("policy", "constant")):  # fmt: skip
        text = re.sub(rf"^{key}=.*$", f"{key}={value}", text, count=1, flags=re.M)
    cfg.write_text(text)


def images(folder: Path) -> Path:
    """Write images with labels of both kinds, and return the list of them."""
    random = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    paths = []
    for number in range(6):
        name = f"{('cat', 'dog', 'cow')[number % 3]}{number}"
        path = folder / "images" / f"{name}.png"
        Image.fromarray(random.integers(0, 256, (40, 48, 3), np.uint8)).save(path)
        (folder / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.4 0.3\n1 0.3 0.3 0.2 0.2\n")
        paths.append(str(path))
    (folder / "all.txt").write_text("\n".join(paths) + "\n")
    (folder / "classes.names").write_text("cat\ndog\ncow\n")
    (folder / "mine.data").write_text(
        "# mine\nclasses=3\ntrain=all.txt\nvalid=all.txt\nnames=classes.names\nbackup=/nowhere\n"
    )
    return folder / "mine.data"


def trained(folder: Path) -> Path:
    """Run the script of a folder with the installed Darknet, and return the weights it left."""
    if shutil.which("darknet") is None:
        lacking("Darknet is not installed")
    done = subprocess.run(
        ["/bin/sh", str(folder / "train.sh")], capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    # Its threads that load images may crash it at the end, when the weights are saved already.
    assert done.returncode in (0, 128 + signal.SIGSEGV), done.stderr[-2000:]
    assert "Saving weights to backup/" in done.stderr
    (found,) = (
        p for p in (folder / "backup").iterdir() if not re.search(r"_\d+\.weights$", p.name)
    )
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_darknet_trains_and_transform_takes_it_back(kind: str, tmp_path: Path) -> None:
    tail, command = KINDS[kind]
    result = pruned(tmp_path, tail)
    saved = secateur.save(result, tmp_path / "pruned")
    data = images(tmp_path / "data")
    files = secateur.emit_training(result, tmp_path / "train", data=data, saved=saved)
    assert files.fill_in == ()
    assert (
        f"{command} train train.data model.cfg model.weights"
        in (tmp_path / "train" / "train.sh").read_text()
    )
    small(tmp_path / "train")
    own, _ = step(begin(files, all_layers=True))
    assert np.isfinite(own).all()
    weights = trained(tmp_path / "train")
    assert files.back.split()[3] == str(weights), "the text names the file that Darknet leaves"
    network = secateur.load(tmp_path / "pruned" / "model.cfg", weights)
    before = secateur.load(*saved.paths)
    assert network.outputs == before.outputs
    moved = [
        not np.array_equal(network.array(name), before.array(name))
        for name in before.graph.initializers
    ]
    # Without a GPU, this Darknet passes no gradient on from [region]: statistics and decay remain.
    assert sum(moved) >= (4 if kind == "region" else 8)
    final = secateur.save(network, tmp_path / "final")
    assert final.as_read
    assert secateur.load(*final.paths).outputs == before.outputs


@pytest.mark.parametrize("kind", ["detector", "classifier"])
def test_zeros_of_a_sparse_network_stay_zero_in_a_stock_darknet(kind: str, tmp_path: Path) -> None:
    from secateur.core.coupling.edit import carried
    from secateur.core.plan.plan import removed_units

    tail, _ = KINDS[kind]
    result = pruned(tmp_path, tail, sparse=True)
    saved = secateur.save(result, tmp_path / "sparse")
    data = images(tmp_path / "data")
    files = secateur.emit_training(result, tmp_path / "train", data=data, saved=saved)
    assert "--plan" in files.back
    assert "A stock framework holds no masks" in (tmp_path / "train" / "README.txt").read_text()
    small(tmp_path / "train")
    network = secateur.load(tmp_path / "sparse" / "model.cfg", trained(tmp_path / "train"))
    groups = secateur.find_groups(network)
    shares = carried(network, groups, removed_units(result.plan, groups))
    assert set(shares.values()) == {0.0}
    dense = secateur.densify(network, result.plan)
    assert dense.verification.difference < 1e-4


def test_a_schedule_of_the_user_stays(tmp_path: Path) -> None:
    net = (
        NET + "batch=8\nsubdivisions=2\nlearning_rate=0.005\npolicy=poly\nmax_batches=900\nhue=.3\n"
    )
    secateur.emit_training(pruned(tmp_path, YOLO + "jitter=.1\n", net=net), tmp_path / "train")
    made = options(tmp_path / "train" / "model.cfg")
    had = options(tmp_path / "model.cfg")
    assert made[0] == had[0]
    assert [one for one, _ in made] == [one for one, _ in had]
    assert made[-1] == had[-1]


def test_a_cfg_without_a_schedule_gets_one(tmp_path: Path) -> None:
    result = pruned(tmp_path, YOLO)
    secateur.emit_training(result, tmp_path / "train")
    (_, net), *_, (_, head) = options(tmp_path / "train" / "model.cfg")
    assert (net["batch"], net["subdivisions"]) == ("64", "16")
    assert (net["learning_rate"], net["policy"], net["steps"]) == ("0.001", "steps", "8000,9000")
    assert net["hue"] == ".1"
    assert (head["ignore_thresh"], head["truth_thresh"], head["random"]) == (".7", "1", "0")
    text = (tmp_path / "train" / "model.cfg").read_text()
    assert text.count("# for training:") == 2
    settings = secateur.begin(
        tmp_path / "train" / "model.cfg", tmp_path / "train" / "model.weights"
    ).recipe.settings
    assert settings is not None
    assert (settings.images, settings.updates) == (64, 10_000)


def test_a_batch_for_testing_gives_way_to_that_in_comments(tmp_path: Path) -> None:
    net = (
        NET + "# Testing\nbatch=1\nsubdivisions=1\n# Training\n# batch=32\n# subdivisions = 8\n"
        "learning_rate=0.001\nmax_batches=10\n"
    )
    secateur.emit_training(pruned(tmp_path, YOLO, net=net), tmp_path / "train")
    (_, made), *_ = options(tmp_path / "train" / "model.cfg")
    assert (made["batch"], made["subdivisions"]) == ("32", "8")
    assert "# batch=32" in (tmp_path / "train" / "model.cfg").read_text()


def test_windows_line_ends_leave_since_pjreddies_darknet_refuses_them(tmp_path: Path) -> None:
    text = (NET + BODY + YOLO).replace("\n", "\r\n")
    network = secateur.load(*with_random_weights(tmp_path, text.encode()))
    secateur.emit_training(network, tmp_path / "train")
    assert b"\r" not in (tmp_path / "train" / "model.cfg").read_bytes()


def seen(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[12:20], "little")


def test_images_seen_begin_anew_but_region_is_no_beginner(tmp_path: Path) -> None:
    for tail, count, word in ((YOLO, 0, True), (REGION, 12_800, False)):
        folder = tmp_path / str(count)
        folder.mkdir()
        result = pruned(folder, tail)
        secateur.emit_training(result, folder / "train")
        assert seen(folder / "train" / "model.weights") == count
        assert ("-clear" in (folder / "train" / "train.sh").read_text()) == word
        saved = secateur.save(result, folder / "pruned")
        assert seen(saved.paths[1]) == 0, "the weights of the model itself stay as they are"


def test_a_short_schedule_is_not_over_before_it_begins(tmp_path: Path) -> None:
    net = NET + "batch=64\nlearning_rate=0.001\nmax_batches=150\n"
    secateur.emit_training(pruned(tmp_path, REGION, net=net), tmp_path / "train")
    (_, made), *_ = options(tmp_path / "train" / "model.cfg")
    assert int(made["max_batches"]) == 150 + 12_800 // 64


def test_places_to_fill_in_stop_the_script(tmp_path: Path) -> None:
    files = secateur.emit_training(pruned(tmp_path, YOLO), tmp_path / "train")
    assert len(files.fill_in) == 2
    assert all(line.startswith("train.data, ") for line in files.fill_in)
    done = subprocess.run(
        ["/bin/sh", str(tmp_path / "train" / "train.sh")], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "write your own paths where it says FILL-IN" in done.stderr


def test_files_that_a_cfg_names_go_with_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "my.tree").write_text("a -1\nb 0\nc 0\n")
    scores = SCORES.replace("[avgpool]", "[avgpool]\n\n[softmax]\ntree=data/my.tree")
    secateur.emit_training(pruned(tmp_path, scores), tmp_path / "train")
    assert (tmp_path / "train" / "my.tree").read_text() == "a -1\nb 0\nc 0\n"
    assert options(tmp_path / "train" / "model.cfg")[-1][1]["tree"] == "my.tree"


def test_what_is_wrong_is_told_before_anything_is_written(tmp_path: Path) -> None:
    network = secateur.load(*with_random_weights(tmp_path, NET + BODY))
    with pytest.raises(UnsupportedError, match="the last section has none, and makes no scores"):
        secateur.check_training(network, tmp_path / "train")
    network = secateur.load(
        *with_random_weights(tmp_path, NET + BODY + SCORES + "[softmax]\nnoloss=1\n")
    )
    with pytest.raises(UnsupportedError, match="nothing in the network's files is minimised"):
        secateur.check_training(network, tmp_path / "train")
    detection = "\n[connected]\noutput=48\nactivation=linear\n"
    detection += "\n[detection]\nclasses=2\nside=2\nnum=2\ncoords=4\n"
    network = secateur.load(*with_random_weights(tmp_path, NET + BODY + detection))
    with pytest.raises(UnsupportedError, match="whose paths are part of its program"):
        secateur.check_training(network, tmp_path / "train")
    network = secateur.load(*with_random_weights(tmp_path, NET + BODY + YOLO))
    with pytest.raises(UnsupportedError, match="no solver file goes with it"):
        secateur.check_training(network, tmp_path / "train", solver=tmp_path / "solver.prototxt")
    data = images(tmp_path / "data")
    data.write_text("classes=3\ntrain=nowhere.txt\n")
    with pytest.raises(DataError, match=r"there is no file 'nowhere\.txt'"):
        secateur.check_training(network, tmp_path / "train", data=data)
    assert not (tmp_path / "train").exists()


def test_a_companion_with_a_schedule_is_the_text_that_is_trained(tmp_path: Path) -> None:
    paths = with_random_weights(tmp_path, NET + BODY + YOLO)
    mine = NET + "batch=16\nlearning_rate=0.02\nmax_batches=5\n" + BODY + YOLO + "random=1\n"
    (tmp_path / "train.cfg").write_text(mine)
    network = secateur.load(*paths, companions=[tmp_path / "train.cfg"])
    result = secateur.prune(network, rate=0.4, criterion="l1", repair="none")
    secateur.emit_training(result, tmp_path / "train")
    (_, net), *sections, (_, head) = options(tmp_path / "train" / "model.cfg")
    assert (net["batch"], net["learning_rate"], head["random"]) == ("16", "0.02", "1")
    assert int(sections[0][1]["filters"]) < 8
