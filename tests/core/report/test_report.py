"""The report as a page: whole, readable by machines and people, and true to what it tells of."""

from __future__ import annotations

import json
import math
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.pictures.examples import PairedLabels
from secateur.core.plan.plan import PlanGroup
from secateur.core.report.panels.before_after import wilson
from secateur.core.report.panels.curve import promised
from secateur.core.report.panels.graph import lanes
from secateur.core.report.panels.reproduce import folded
from secateur.core.report.render import report_path
from support.page import Page, faults

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]
DARKNET = [FIXTURES / "shapes_darknet" / f"shapes.{end}" for end in ("cfg", "weights")]
DATA = FIXTURES / "shapes.npz"

NETWORK = secateur.load(*CAFFE)
SAMPLES = secateur.open_dataset(DATA, NETWORK, limit=60)


@pytest.fixture(scope="module")
def pruned() -> secateur.ReportFacts:
    """What is known after a prune with data."""
    result = secateur.prune(NETWORK, rate=0.4, data=SAMPLES)
    return secateur.ReportFacts(
        network=NETWORK,
        result=result,
        rows=secateur.summarize(NETWORK, result.network, data=SAMPLES),
        examples=secateur.find_examples(NETWORK, result.network, SAMPLES, count=3),
        samples=SAMPLES.samples,
        data=SAMPLES.name,
        command="secateur prune <net> --rate 0.4",
        files=(CAFFE[0],),
        written=0.0,
    )


@pytest.fixture(scope="module")
def analysis() -> secateur.Analysis:
    return secateur.analyze(NETWORK, SAMPLES, rates=[0.25, 0.5, 0.75])


def test_the_page_of_a_prune_is_whole(pruned):
    text = secateur.render_report(pruned)
    assert faults(text) == []
    page = Page(text)
    titles = [title for level, title in page.headings if level == 2]
    assert titles == [
        "In short", "Before and after", "Layer by layer", "Order of removal",
        "Where they disagree most", "Why channels are fixed", "Verification", "The graph",
        "Do it again",
    ]  # fmt: skip
    assert len(page.images) == 6
    assert text == secateur.render_report(pruned)  # the same facts give the same bytes


def test_texts_of_files_are_no_markup(pruned):
    text = secateur.render_report(replace(pruned, notes=("<script>alert(1)</script>",)))
    assert "&lt;script&gt;" in text
    assert faults(text) == []
    assert "secateur prune &lt;net&gt; --rate 0.4" in text


def test_figures_are_those_of_the_result(pruned):
    text = Page(secateur.render_report(pruned)).text
    before, after = (secateur.describe(n).cost for n in (NETWORK, pruned.after))
    assert (
        f"{secateur.count_text(after.operations)} operations instead of "
        f"{secateur.count_text(before.operations)}" in text
    )
    for row in pruned.rows:
        assert row.item in text
        assert row.text(row.compressed) in text
    assert f"{pruned.result.verification.difference:.1e}" in text
    assert pruned.result.repairs
    for record in pruned.result.repairs:
        assert f"{record.method} {record.error_before:.3g} {record.error_after:.3g}" in text
    for group in secateur.find_groups(NETWORK).groups:
        if group.reason is not None:
            assert f"{len(group.units)} {group.reason}" in text
    for old, new in zip(
        secateur.describe(NETWORK).layers, secateur.describe(pruned.after).layers, strict=True
    ):
        if old.shape != new.shape:
            assert f"{old.name} {old.type} {old.shape[1]} → {new.shape[1]}" in text


def test_times_of_layers_stand_beside_their_operations(pruned):
    times = secateur.layer_times(NETWORK, pruned.after)
    assert set(times.before) <= {row.name for row in secateur.describe(NETWORK).layers}
    assert times.before["conv1"] > 0
    assert times.after["conv1"] > 0
    assert not times.smaller
    text = secateur.render_report(replace(pruned, times=times))
    assert faults(text) == []
    page = Page(text)
    assert "Latency of the layers, before and after" in page.text
    for name in ("conv1", "res2a"):
        assert f"{times.before[name]:.3g} → {times.after[name]:.3g}" in page.text
    alone = secateur.ReportFacts(network=NETWORK, times=secateur.layer_times(NETWORK))
    assert f"{alone.times.before['conv1']:.3g}" in Page(secateur.render_report(alone)).text
    assert "Milliseconds" not in Page(secateur.render_report(pruned)).text


def test_times_that_cannot_be_measured_are_told(pruned, monkeypatch):
    def refused(*arguments, **named):
        raise secateur.UnsupportedError("the profile holds no times")

    monkeypatch.setattr("secateur.core.report.latency.layer_latencies", refused)
    times = secateur.layer_times(NETWORK, pruned.after)
    page = Page(secateur.render_report(replace(pruned, times=times)))
    assert "the times of the layers were not measured: the profile holds no times" in page.text
    assert "Milliseconds" not in page.text


def test_the_steps_of_a_pipeline(pruned):
    steps = (
        secateur.StepFacts(name="prune", came="half is gone", seconds=90.0, asked={"rate": "0.5"}),
        secateur.StepFacts(name="valid", came="12 samples", seconds=3.0),
    )
    check = secateur.Check(what="files as in memory", difference=3e-8)
    facts = replace(
        pruned, steps=steps, checks=(check,), densified=pruned.result,
        texts={"secateur.yaml": "model: <net>\n"},
    )  # fmt: skip
    text = secateur.render_report(facts)
    assert faults(text) == []
    page = Page(text)
    assert page.headings[0] == (1, "Pipeline: shapes")
    assert "prune half is gone 90 s" in page.text
    assert "prune: rate 0.5" in page.text
    assert "files as in memory 3.0e-08" in page.text
    assert "When the zeros left." in page.text
    assert "model: <net>" in page.text


def test_a_long_command_is_told_in_lines_that_a_shell_joins():
    command = shlex.join(["secateur", "prune", "a file.cfg", *(f"--flag-{n}" for n in range(30))])
    lines = folded(command).splitlines()
    assert max(map(len, lines)) < 100
    assert all(line.endswith(" \\") for line in lines[:-1])
    joined = "".join(line.removesuffix("\\") for line in lines)
    assert shlex.split(joined) == shlex.split(command)
    assert folded("secateur prune 'unclosed") == "secateur prune 'unclosed"


def test_a_result_that_was_kept_tells_the_same(pruned):
    result = pruned.result
    content = json.loads(json.dumps(result.to_data()))
    again = secateur.PruneResult.from_data(content, result.network, result.plan)
    assert again == result
    assert secateur.render_report(replace(pruned, result=again)) == secateur.render_report(pruned)


def test_order_of_removal_counts_every_channel(pruned):
    text = Page(secateur.render_report(pruned)).text
    total = sum(step.loss for step in pruned.result.history)
    assert f"{len(pruned.result.history):,} {total:.4g}" in text
    for group in pruned.result.plan.groups:
        if group.removed:
            assert f"{group.name} {group.channels} {len(group.removed)} " in text


@pytest.mark.parametrize(
    ("files", "block"), [(CAFFE, "res2"), (DARKNET, "5")], ids=["caffe", "darknet"]
)
def test_layers_of_blocks_that_left(files, block):
    network = secateur.load(*files)
    result = secateur.prune(network, drop_blocks=(block,), rate=0.6)
    page = Page(secateur.render_report(secateur.ReportFacts(network=network, result=result)))
    assert page.faults == []
    assert f"Residual blocks that left {block}" in page.text
    (gone,) = result.plan.dropped.blocks
    for row in secateur.describe(network).layers:
        if row.name in gone.layers:
            assert f"{row.name} {row.type} {row.shape[1]} → 0" in page.text
    left = [group for group in result.plan.groups if group.removed]
    assert left
    for group in left:
        assert f"{group.name} {group.channels} {len(group.removed)} " in page.text


def test_intervals_of_what_was_measured_with_noise(pruned):
    noisy = secateur.SummaryRow(
        item="Latency", original=2.0, compressed=1.9, unit="ms", interval=(-0.08, 0.02)
    )
    page = Page(secateur.render_report(replace(pruned, rows=(noisy,))))
    assert "Latency 2.00 ms 1.90 ms no measurable change -8.0 %…+2.0 %" in page.text


def test_a_model_with_zeros_is_told_without_them():
    result = secateur.prune(NETWORK, rate=0.3, criterion="l1", sparse=True)
    page = Page(secateur.render_report(secateur.ReportFacts(network=NETWORK, result=result)))
    assert "full size with zeros" in page.text
    small = secateur.describe(result.dense).cost.operations
    assert f"The model has {secateur.count_text(small)} operations instead" in page.text


def test_without_estimates_the_order_says_so():
    result = secateur.prune(NETWORK, rate=0.3, criterion="l1")
    page = Page(secateur.render_report(secateur.ReportFacts(network=NETWORK, result=result)))
    assert "does not estimate what they cost" in page.text
    assert "Before and after" not in page.text


def test_the_page_of_an_analysis(analysis):
    task = secateur.find_task(NETWORK, SAMPLES)
    facts = secateur.ReportFacts(network=NETWORK, analysis=analysis, task=task)
    text = secateur.render_report(facts)
    assert faults(text) == []
    words = Page(text).text
    assert "Sensitivity" in words
    for group in analysis.groups:
        losses = " ".join(task.text(point.loss, digits=4) for point in group.points)
        assert f"{group.name} {group.channels} {losses}" in words


def test_many_groups_are_fields(analysis):
    first = analysis.groups[0]
    many = tuple(replace(first, name=f"group {number}") for number in range(30))
    text = secateur.render_report(
        secateur.ReportFacts(network=NETWORK, analysis=replace(analysis, groups=many))
    )
    assert faults(text) == []
    assert "The stronger the colour of a field" in text
    assert text.count("group 29") >= 3  # in both charts and in the table


def test_curves_add_up(analysis):
    facts = secateur.ReportFacts(network=NETWORK, analysis=analysis)
    found = promised(facts, analysis)
    assert found[0] == (0.0, 1.0, 0.0)
    shares = [left for _, left, _ in found]
    assert shares == sorted(shares, reverse=True)
    limit, left, total = found[-1]
    groups = secateur.find_groups(NETWORK)
    units, losses = [], []
    for curve in analysis.groups:
        point = curve.last_within(limit)
        if point is not None:
            group = groups.by_name(curve.name)
            units += [group.units[place] for place in curve.order[: point.removed]]
            losses.append(point.loss)
    assert total == pytest.approx(sum(losses))
    plan = secateur.Plan(
        groups=tuple(
            PlanGroup(
                name=curve.name, layers=curve.layers, channels=curve.channels,
                removed=tuple(sorted(curve.order[: point.removed])),
            )
            for curve in analysis.groups
            if (point := curve.last_within(limit)) is not None
        )
    )  # fmt: skip
    small = secateur.apply_plan(NETWORK, plan, repair="none").network
    before, after = (secateur.describe(n).cost.operations for n in (NETWORK, small))
    assert left == pytest.approx(after / before, abs=1e-6)


def test_infinite_losses_are_drawn(analysis):
    first = analysis.groups[0]
    points = (*first.points[:-1], replace(first.points[-1], loss=math.inf))
    broken = replace(analysis, groups=(replace(first, points=points), *analysis.groups[1:]))
    facts = secateur.ReportFacts(network=NETWORK, analysis=broken)
    assert faults(secateur.render_report(facts)) == []


def test_wilsons_interval():
    low, high = wilson(0.0, 10)
    assert low == 0.0
    assert high == pytest.approx(0.2775, abs=1e-4)  # 3.8415 / 13.8415
    low, high = wilson(0.81, 263)
    assert (low, high) == (pytest.approx(0.7583, abs=1e-3), pytest.approx(0.8526, abs=1e-3))


def test_interval_of_a_change():
    paired = PairedLabels(samples=100, lost=10, gained=4)
    assert paired.change == pytest.approx(-0.06)
    spread = math.sqrt(15 - 36 / 102) / 102
    assert paired.margin == pytest.approx(1.959964 * spread)
    assert PairedLabels(samples=100).margin > 0  # no change seen is no proof of none


def test_lanes_are_shared_where_lines_do_not_meet():
    found, count = lanes([(0, 1), (0, 3), (1, 4), (3, 6), (4, 7)])
    assert count == 2
    assert (0, 1) not in found
    assert found[0, 3] == found[3, 6]
    assert found[0, 3] != found[1, 4]


def test_where_reports_go(tmp_path):
    assert report_path("a.html") == Path("a.html")
    assert report_path("out/") == Path("out/report.html")
    assert report_path(tmp_path) == tmp_path / "report.html"
    assert report_path("out") == Path("out/report.html")
    with pytest.raises(secateur.FormatError, match=r"is an HTML file, not '\.pdf'"):
        secateur.check_report("report.pdf")
    (tmp_path / "file").write_text("")
    with pytest.raises(secateur.FormatError, match="needs a folder"):
        secateur.check_report(tmp_path / "file" / "report.html")
    (tmp_path / "report.html").mkdir()
    with pytest.raises(secateur.FormatError, match="replace a folder"):
        secateur.check_report(tmp_path)


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr("secateur.core.report.render.NEEDED", ("jinja2", "not_installed_at_all"))
    with pytest.raises(secateur.UnsupportedError, match=re.escape("secateur[report]")):
        secateur.check_report("a.html")


def test_a_report_replaces_one_as_a_whole(tmp_path, pruned):
    path = tmp_path / "new" / "a.html"
    assert secateur.save_report(pruned, path) == path
    assert path.read_text(encoding="utf-8") == secateur.render_report(pruned)
    assert [file.name for file in path.parent.iterdir()] == ["a.html"]


def test_examples_come_worst_first(pruned):
    found = pruned.examples
    apart = [example.disagreement for example in found.examples]
    assert apart == sorted(apart, reverse=True)
    assert found.samples == 60
    outputs = []
    for network in (NETWORK, pruned.after):
        session = secateur.Session(network)
        output = secateur.classifier_output(network)
        rows = [session.run(batch.inputs)[output] for batch in SAMPLES]
        outputs.append(np.concatenate(rows).reshape(60, -1))
    labels = np.concatenate([batch.labels for batch in SAMPLES])
    best = [rows.argmax(axis=1) for rows in outputs]
    assert found.changed == int((best[0] != best[1]).sum())
    assert found.paired.lost == int(((best[0] == labels) & (best[1] != labels)).sum())
    assert found.paired.gained == int(((best[0] != labels) & (best[1] == labels)).sum())
