"""Studies in Python: what is compared, which points there are, and what comes of them."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import secateur
from secateur.core.study.front import front_of
from secateur.core.study.images import FewImages
from secateur.core.study.points import points_of
from support.analysis import opened

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


@pytest.fixture(scope="module")
def found():
    network, data = opened("caffe", "shapes.npz", limit=60)
    return secateur.study(
        network, data, data, methods=["l1", "random+uniform", "l1+sensitivity"],
        rates=[0.5, 0.2, 0.99], repairs=["none", "bias"], latency=False, jobs=1,
    )  # fmt: skip


Figures = st.lists(
    st.tuples(
        st.sampled_from([1.0, 2.0, 3.0, 4.0]),
        st.sampled_from([0.0, 0.1, 0.2, math.inf, math.nan]),
    ),
    max_size=12,
)


@settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(Figures)
def test_the_front_is_that_of_all_pairs(figures):
    def beats(one: int, other: int) -> bool:
        (cost, loss), (other_cost, other_loss) = figures[one], figures[other]
        if math.isnan(loss):
            return False
        no_worse = cost <= other_cost and loss <= other_loss
        return no_worse and ((cost, loss) != (other_cost, other_loss) or one < other)

    numbers = [k for k, (_, loss) in enumerate(figures) if not math.isnan(loss)]
    expected = [k for k in numbers if not any(beats(other, k) for other in numbers)]
    front = front_of(figures)
    assert sorted(front) == expected
    assert [figures[k][0] for k in front] == sorted(figures[k][0] for k in front)


def test_points_are_repeated_where_something_is_drawn():
    options = secateur.StudyOptions(
        methods=["obs", "l1"], rates=[0.3, 0.6], seeds=3, low_data=[5, 1], repairs=["auto"]
    )
    points = list(points_of(options))
    assert len(points) == 2 * 2 * (1 + 2 * 3)
    assert len(set(points)) == len(points)
    assert [p.seed for p in points if p.images == 5 and p.method == "l1" and p.rate == 0.3] == [
        0, 1, 2,
    ]  # fmt: skip
    assert len({point.name for point in points}) == len(points)
    tuned = replace(options, low_data=(), finetune=secateur.FinetuneOptions(steps=1))
    assert len(list(points_of(tuned))) == 2 * 2 * 3


def test_a_point_depends_on_what_it_is_made_by_alone():
    options = secateur.StudyOptions(methods=["l1"], rates=[0.3])
    (point,) = points_of(options)
    key = point.key("net", options)
    assert key == point.key("net", replace(options, rates=(0.3, 0.5), methods=("l1", "obs")))
    assert key == point.key("net", replace(options, jobs=3, latency=False))
    others = [
        point.key("other", options),
        point.key("net", replace(options, exclude=("conv1",))),
        point.key("net", replace(options, limits=secateur.Limits(round_to=4))),
        point.key("net", replace(options, finetune=secateur.FinetuneOptions(steps=1))),
        replace(point, rate=0.4).key("net", options),
        replace(point, method="l2").key("net", options),
        replace(point, repair="none").key("net", options),
        replace(point, images=2).key("net", options),
    ]
    assert len({key, *others}) == 9


def test_the_result_tells_of_all_options_that_change_it():
    network, data = opened("caffe", "shapes.npz", limit=20)
    analysis = secateur.analyze(network, data, rates=[0.5])
    options = secateur.StudyOptions(
        methods=["l1+sensitivity"], rates=[0.3], analysis=analysis, task="classification",
        as_far_as_possible=True,
    )  # fmt: skip
    told = json.loads(json.dumps(options.plain()))
    assert set(told) == {field.name for field in fields(options)} - {"latency", "jobs"}
    assert told["analysis"] == analysis.digest
    assert (told["task"], told["as_far_as_possible"]) == ("classification", True)
    own = secateur.StudyOptions(task=secateur.Classification("prob"))
    assert own.plain()["task"] == "Accuracy"


def test_a_few_images_of_each_class():
    network, data = opened("caffe", "shapes.npz")
    few = FewImages.of(network, data, 5)
    labels = np.load(FIXTURES / "shapes.npz")["y"]
    drawn = {(count, seed): few.chosen(count, seed) for count in (1, 2, 5) for seed in (0, 1)}
    for (count, _), chosen in drawn.items():
        assert np.bincount(labels[chosen]).tolist() == [count] * len(np.unique(labels))
    assert (drawn[2, 0] >= drawn[1, 0]).all()
    assert not np.array_equal(drawn[2, 0], drawn[2, 1])
    part = few.drawn(data, 2, 0)
    assert part.samples == 2 * len(np.unique(labels))
    streamed = np.concatenate([batch.labels for batch in part])
    assert np.array_equal(streamed, labels[drawn[2, 0]])


def test_images_that_cannot_be_counted():
    network, data = opened("caffe", "shapes.npz", limit=30)
    labels = np.load(FIXTURES / "shapes.npz")["y"][:30]
    rarest = int(np.bincount(labels).argmin())
    with pytest.raises(secateur.DataError, match=rf"class {rarest} has \d+ images, and 30 of each"):
        FewImages.of(network, data, 30)
    network, plain = opened("caffe", "calibration.npz", limit=30)
    with pytest.raises(secateur.DataError, match="images have no labels of one class each"):
        secateur.study(network, plain, data, low_data=[1])


def test_every_point_is_a_row_and_what_cannot_be_made_says_why(found):
    assert len(found.rows) == 3 * 2 * 3
    reasons = {row.point.method: row.reason for row in found.failed if row.point.rate == 0.2}
    assert reasons == {
        "l1+sensitivity":
        "allocation 'sensitivity' needs an analysis (hint: secateur ana makes one)"
    }  # fmt: skip
    far = [row for row in found.failed if row.point.rate == 0.99 and row.point.method == "l1"]
    assert all("rate 0.99 is out of reach" in row.reason for row in far)
    assert len(far) == 2
    assert len(found.made) == 8
    assert sum(found.failures().values()) == 10


def test_a_row_is_what_prune_makes(found):
    network, data = opened("caffe", "shapes.npz", limit=60)
    for row in found.made:
        criterion, _, allocation = row.point.method.partition("+")
        pruned = secateur.prune(
            network, rate=row.point.rate, data=data, criterion=criterion,
            allocation=allocation or "auto", repair=row.point.repair,
        )  # fmt: skip
        own = row.measured
        assert own.value == secateur.evaluate(pruned.network, data).value
        assert own.loss == pytest.approx(found.original_value - own.value, abs=1e-12)
        assert own.value_interval[0] <= own.value <= own.value_interval[1]
        assert own.loss_interval[0] <= own.loss <= own.loss_interval[1]
        cost = secateur.measure_cost(pruned.network, secateur.find_groups(pruned.network))
        assert (own.operations, own.parameters) == (cost.operations, cost.parameters)


def test_the_size_is_that_of_the_files(found, tmp_path):
    network, data = opened("caffe", "shapes.npz", limit=60)
    row = found.made[0]
    pruned = secateur.prune(
        network, rate=row.point.rate, criterion=row.point.method, repair="none", data=data
    )
    assert row.measured.size == secateur.save(pruned, tmp_path).size
    assert found.size == secateur.stored_bytes(network)


def test_the_result_can_be_sent_shown_and_written(found, tmp_path):
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert repr(found).startswith("<Study 'shapes', 18 points, 10 failed, Accuracy")
    page = found._repr_html_()
    assert page.count("<table>") == 2
    text = found.to_csv(tmp_path / "own.csv")
    assert (tmp_path / "own.csv").read_text() == text
    assert text.count("\n") == 19
    data = json.loads(json.dumps(found.to_data(), allow_nan=False))
    assert len(data["points"]) == 18
    assert len(data["means"]) == 18
    front = [data["points"][k] for k in data["fronts"]["operations"]]
    assert all(point["front"] for point in front)
    assert [row.front for row in found.rows].count(True) == len(found.pareto()) == len(front)
    assert found.pareto("parameters")
    assert found.pareto("latency") == ()
    with pytest.raises(secateur.PlanError, match=r"a front is not by 'oprations'.*did you mean op"):
        found.pareto("oprations")


def test_means_and_spreads_over_seeds():
    network, data = opened("caffe", "shapes.npz", limit=60)
    study = secateur.study(
        network, data, data, methods=["activation_mean"], rates=[0.4], seeds=3, low_data=[1],
        repairs=["none"], latency=False,
    )  # fmt: skip
    everything, few = study.means()
    assert (everything.made, everything.spread) == (1, None)
    assert everything.interval == study.rows[0].measured.value_interval
    values = [row.measured.value for row in study.rows[1:]]
    assert few.made == 3
    assert few.value == pytest.approx(np.mean(values))
    assert few.spread == pytest.approx(np.std(values, ddof=1))
    assert few.spread > 0
    assert {row.measured.samples for row in study.rows[1:]} == {10}
    (row,) = [row for row in study.means_table().rows if row[2] == "1 a class"]
    assert "±" in row[3]


@pytest.mark.parametrize(
    ("settings", "message", "option"),
    [
        ({"methods": []}, "there are none, or one has no name", "methods"),
        ({"repairs": [""]}, "there are none, or one has no name", "repairs"),
        ({"rates": []}, "there are no rates to prune at", "rates"),
        ({"rates": [30]}, "rates must be over 0 and below 1, got 30", "rates"),
        ({"seeds": 0}, "there must be at least one seed, got 0", "seeds"),
        ({"seeds": 2}, "seeds would repeat the same", "seeds"),
        ({"low_data": [0]}, "at least one image of each class, got 0", "low_data"),
        ({"jobs": 0}, "jobs must be at least 1, got 0", "jobs"),
        ({"budget": "latency"}, "a study counts no measured time", "budget"),
        ({"budget": "target"}, "a budget of target needs a target", "budget"),
        ({"methods": ["l1", "l3"]}, "unknown criterion 'l3'", "methods"),
        ({"methods": ["l1+even"]}, "unknown allocation 'even'", "methods"),
        ({"repairs": ["auto", "mend"]}, "unknown repair 'mend'", "repairs"),
        ({"exclude": ["conv99"]}, "conv99", None),
    ],
)
def test_impossible_options(settings, message, option):
    network, data = opened("caffe", "shapes.npz", limit=4)
    with pytest.raises(secateur.PlanError, match=message) as error:
        secateur.study(network, data, data, **settings)
    assert option is None or error.value.option == option
