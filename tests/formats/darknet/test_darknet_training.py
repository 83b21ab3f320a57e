"""What a cfg says about training."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.errors import FormatError, SecateurError
from secateur.core.training.losses.anchors import AnchorLoss
from secateur.core.training.losses.gaussian import GaussianLoss
from secateur.core.training.solvers.adaptive import Adam
from secateur.core.training.solvers.schedule import BurnIn, Constant, Steps
from secateur.formats.darknet.reader import load
from secateur.formats.darknet.recipe import recipe, seen, with_seen
from support.darknet import with_random_weights
from support.training import GOLDEN, need_torch

NET = "[net]\nwidth=8\nheight=8\nchannels=3\n"
CONV = "[convolutional]\nfilters=4\nsize=3\npad=1\nactivation=leaky\n"
END = "[convolutional]\nfilters=16\nactivation=linear\n"
YOLO = "[yolo]\nclasses=3\nnum=2\nanchors=2,3, 4,5\n"


def network(folder, cfg: str, flavour: str = "alexeyab"):
    return load(*with_random_weights(folder, cfg, flavour=flavour), flavour=flavour, training=True)


def test_defaults(tmp_path):
    found = recipe(network(tmp_path, NET + CONV + END + YOLO))
    settings = found.settings
    assert settings.schedule == Constant(base=float(np.float32(0.001)))
    assert settings.method.momentum == np.float32(0.9)
    assert settings.decay == np.float32(0.0001)
    assert (settings.passes, settings.images, settings.offset, settings.divisor) == (1, 1, 1, 1)
    assert [(rule.decay, rule.rate) for rule in found.rules] == [(0, 1), (1, 1)] * 2
    (objective,) = found.objectives
    assert objective.name == "2"
    loss = objective.loss
    assert isinstance(loss, AnchorLoss)
    assert (loss.box_factor, loss.ignore, loss.certain, loss.most) == (0.75, 0.5, 1, 200)
    assert (loss.width, loss.height, loss.mask) == (8, 8, (0, 1))


def test_the_older_engine_ignores_newer_keys(tmp_path):
    keys = "iou_loss=ciou\niou_normalizer=0.05\nmax_delta=5\n"
    (objective,) = recipe(network(tmp_path, NET + END + YOLO + keys, "pjreddie")).objectives
    loss = objective.loss
    assert (loss.first, loss.box, loss.box_factor, loss.limit, loss.most) == (
        True, "mse", 1, None, 90,
    )  # fmt: skip


def test_keys_of_the_net(tmp_path):
    keys = (
        "batch=12\nsubdivisions=3\nburn_in=100\npower=2\npolicy=steps\nsteps=5,9\n"
        "scales=.1,.5\nmax_batches=50\n"
    )
    settings = recipe(network(tmp_path, NET + keys + END + YOLO)).settings
    assert (settings.passes, settings.images, settings.divisor, settings.updates) == (3, 12, 12, 50)
    assert isinstance(settings.schedule, BurnIn)
    assert settings.schedule.length == 100
    assert settings.schedule.then == Steps(
        base=float(np.float32(0.001)), at=(5, 9), factors=(float(np.float32(0.1)), 0.5)
    )


def test_adam_decays_every_blob(tmp_path):
    found = recipe(network(tmp_path, NET + "adam=1\nbatch=4\ndecay=0.5\n" + END + YOLO))
    assert isinstance(found.settings.method, Adam)
    assert found.settings.method.delta == np.float32(1e-6)
    assert (found.settings.divisor, found.settings.decay) == (1, 2)
    assert [rule.decay for rule in found.rules] == [1, 1]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("batch=2\nsubdivisions=3\n", "batch=2 in 3 subdivisions leaves no image for each"),
        ("policy=steps\nsteps=1,2\nscales=.1\n", "policy=steps has 2 steps and 1 scales"),
        ("policy=poly\n", "max_batches must be positive"),
        ("subdivisions=0\n", "subdivisions must be positive"),
    ],
)
def test_impossible_schedules_are_refused(keys, message, tmp_path):
    with pytest.raises(FormatError, match=message):
        recipe(network(tmp_path, NET + keys + END + YOLO))


def test_unknown_policies_are_constant_and_said(tmp_path):
    found = recipe(network(tmp_path, NET + "policy=cosine\n" + END + YOLO))
    assert found.settings.schedule == Constant(base=float(np.float32(0.001)))
    assert any("policy=cosine is unknown" in note for note in found.notes)


def test_keys_of_layers(tmp_path):
    first = CONV + "batch_normalize=1\nlearning_rate=.5\nclip=2\ngrad_centr=1\ndont_update=7\n"
    found = recipe(network(tmp_path, NET + first + END + YOLO))
    bias, scale, weight, *_ = found.rules
    assert (weight.rate, weight.clip, weight.centred, weight.first) == (0.5, 2, True, 8)
    assert (bias.rate, bias.clip, bias.centred, scale.clip) == (0.5, None, False, None)
    assert [rule.name.split("/")[1] for rule in found.rules] == [
        "bias", "scale", "weight", "bias", "weight",
    ]  # fmt: skip


def test_stopped_layers(tmp_path):
    cfg = NET + CONV + CONV + "stopbackward=1\n" + END + YOLO
    found = recipe(network(tmp_path, cfg))
    ruled = {rule.name.split("/")[0] for rule in found.rules}
    assert ruled == {"layer_1", "layer_2"}
    assert {name.split("/")[0] for name in found.frozen} == {"layer_0", "layer_1"}
    old = recipe(network(tmp_path, cfg, "pjreddie"))
    assert {rule.name.split("/")[0] for rule in old.rules} == {"layer_0", "layer_1", "layer_2"}


def test_layers_that_are_never_updated_are_named(tmp_path):
    cfg = NET + CONV + "[connected]\noutput=5\nactivation=linear\n[softmax]\n"
    trained = network(tmp_path, cfg)
    found = recipe(trained)
    assert any("layers 1 keep their weights" in note for note in found.notes)
    assert {rule.name.split("/")[0] for rule in found.rules} == {"layer_0"}
    assert {name.split("/")[0] for name in found.frozen} == {"layer_1"}
    every = recipe(trained, all_layers=True)
    assert {rule.name.split("/")[0] for rule in every.rules} == {"layer_0", "layer_1"}
    assert every.notes == ()
    assert every.frozen == set()
    old = recipe(network(tmp_path, cfg, "pjreddie"))
    assert old.notes == ()


def test_softmax_and_cost(tmp_path):
    tail = "[avgpool]\n[softmax]\n{}[cost]\ntype=sse\nscale=2\n"
    found = recipe(network(tmp_path, NET + END + tail.format("")))
    assert [one.name for one in found.objectives] == ["2", "3"]
    assert len({one.reads[0] for one in found.objectives}) == 1
    assert len({one.reads[1] for one in found.objectives}) == 1
    (cost,) = recipe(network(tmp_path, NET + END + tail.format("noloss=1\n"))).objectives
    assert (cost.name, cost.loss.scale) == ("3", 2)


def test_keys_of_heads(tmp_path):
    keys = "counters_per_class=100,20,5\nmax_delta=3\nmap=classes.map\nfocal_loss=1\n"
    (tmp_path / "classes.map").write_text("2\n0\n1\n")
    (objective,) = recipe(network(tmp_path, NET + END + YOLO + keys)).objectives
    loss = objective.loss
    assert (loss.class_factors, loss.class_map, loss.focal) == ((1, 3, 3), (2, 0, 1), True)
    gaussian = YOLO.replace("[yolo]", "[Gaussian_yolo]") + "yolo_point=left_top\nuc_normalizer=.5\n"
    wide = END.replace("16", "24")
    (objective,) = recipe(network(tmp_path, NET + wide + gaussian)).objectives
    assert isinstance(objective.loss, GaussianLoss)
    assert (objective.loss.corner, objective.loss.deviation_factor) == (-1, 0.5)


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (YOLO + "counters_per_class=1,2\n", "2 counters_per_class for 3 classes"),
        (YOLO + "map=none.map\n", "map=none.map: no such file beside the cfg"),
        ("[cost]\ntype=wgan\n", "type=wgan belongs to a pair of networks"),
    ],
)
def test_heads_that_cannot_be_trained(tail, message, tmp_path):
    flavour = "pjreddie" if "wgan" in tail else "alexeyab"
    with pytest.raises(SecateurError, match=message) as info:
        recipe(network(tmp_path, NET + END + tail, flavour))
    assert "model.cfg:" in str(info.value)


def test_dropout_acts_in_the_memory_of_its_input(tmp_path):
    """A [route] to the layer before a [dropout] reads what was dropped."""
    cfg = NET + CONV + "[dropout]\nprobability=.4\n[route]\nlayers=0\n" + END + YOLO
    trained = network(tmp_path, cfg)
    (dropout,) = [node for node in trained.graph if node.op_type == "Dropout"]
    assert trained.layers[0].tops == trained.layers[1].tops == (dropout.outputs[0].name,)
    assert trained.layers[2].tops == trained.layers[1].tops
    plain = load(*trained.source.paths.values())
    assert not [node for node in plain.graph if node.op_type == "Dropout"]
    source = trained.source
    assert source.render(trained) == {
        suffix: path.read_bytes() for suffix, path in source.paths.items()
    }


def test_dropouts_that_drop_nothing_or_everything(tmp_path):
    def cfg(keys):
        return NET + CONV + f"[dropout]\n{keys}\n" + END + YOLO

    assert "Dropout" not in {n.op_type for n in network(tmp_path, cfg("probability=0")).graph}
    with pytest.raises(FormatError, match="probability=1 leaves nothing"):
        network(tmp_path, cfg("probability=1"))
    blocks = network(tmp_path, cfg("dropblock=1\nprobability=.1"))
    assert "Dropout" not in {node.op_type for node in blocks.graph}
    assert any("dropblock is not followed" in note for note in recipe(blocks).notes)


def test_only_a_network_read_for_training_has_a_recipe(tmp_path):
    files = with_random_weights(tmp_path, NET + END + YOLO)
    with pytest.raises(FormatError, match="read for inference"):
        recipe(load(*files))


def test_images_seen(tmp_path):
    found = with_seen(network(tmp_path, NET + END + YOLO), 5_000_000_000)
    assert seen(found) == 5_000_000_000
    written = found.source.render(found)[".weights"]
    assert written[20:] == found.source.paths[".weights"].read_bytes()[20:]


@pytest.mark.parametrize(
    "path", sorted(GOLDEN.glob("darknet/*/after3.weights")), ids=lambda p: p.parent.name
)
def test_images_seen_are_those_the_engine_writes(path, tmp_path):
    folder = path.parent
    engine = "pjreddie" if folder.name.endswith("pjreddie") else "alexeyab"
    trained = load(folder / "model.cfg", folder / "model.weights", flavour=engine, training=True)
    settings = recipe(trained).settings
    after = with_seen(trained, seen(trained) + 3 * settings.images)
    header = after.source.render(after)[".weights"][: len(after.source.header)]
    assert header[12:] == path.read_bytes()[12 : len(header)]


def test_a_whole_training_step(tmp_path):
    torch = need_torch()
    from secateur.core.training.criterion import Criterion
    from secateur.core.training.module import TrainingModule
    from secateur.core.training.solvers.solver import Solver

    cfg = NET + "batch=4\nsubdivisions=2\nlearning_rate=.01\n" + CONV + END + YOLO
    trained = network(tmp_path, cfg)
    found = recipe(trained)
    module = TrainingModule(
        trained, statistics=found.statistics, frozen=found.frozen, passings=found.passings
    ).train()
    criterion, solver = Criterion(found.objectives), Solver(module, found.rules, found.settings)
    truth = torch.zeros(2, 3, 6)
    truth[:, 0, :4] = torch.tensor([0.4, 0.6, 0.5, 0.3])
    data = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    costs = []
    for _ in range(40):
        losses = criterion(module, {"data": data, "truth": truth}, seen=solver.seen)
        losses.total.backward()
        solver.step()
        costs.append(float(losses.total.detach()))
    assert costs[-1] < 0.5 * costs[0]
    assert solver.updates == 20
    back = with_seen(module.network(), solver.seen)
    files = back.source.render(back)
    (tmp_path / "after.weights").write_bytes(files[".weights"])
    again = load(tmp_path / "model.cfg", tmp_path / "after.weights")
    np.testing.assert_array_equal(
        again.array("layer_0/weight"), module.tensor("layer_0/weight").detach()
    )


def test_keys_that_are_not_followed_are_told(tmp_path):
    keys = "badlabels_rejection_percentage=0.2\nblur=1\ngaussian_noise=0\ntrack=\n"
    found = recipe(network(tmp_path, NET + keys + END + YOLO + "equidistant_point=1\n"))
    told = [note for note in found.notes if "is not followed" in note]
    assert told == [
        "[net] badlabels_rejection_percentage is not followed: every label counts",
        "[net] blur is not followed: images are not blurred",
        "[yolo] equidistant_point is not followed: anchors are matched by overlap alone",
    ]
    older = recipe(network(tmp_path, NET + "blur=1\n" + END + YOLO, "pjreddie"))
    assert not [note for note in older.notes if "is not followed" in note]
