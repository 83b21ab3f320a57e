"""A file that is no plan, or a plan with a typing error, is refused with its line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

import secateur
from secateur.core.plan.schema import PLAN_KEYS
from support.program import inside as run
from support.program import one_line

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
IMAGES = str(FIXTURES / "calibration.npz")
CONFIG = "rate: 0.3\ncriterion: l1\n"

BOTH = pytest.mark.parametrize(
    "command", [("prune", "--keep"), ("transform", "--plan")], ids=["prune", "transform"]
)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of a plan."""
    folder = tmp_path_factory.mktemp("plan")
    run("prune", *CAFFE, "--rate", 0.3, "--criterion", "l1", "-o", folder)
    return (folder / "plan.yaml").read_text()


def carried_out(command: Sequence[str], text: str, folder: Path, *, code: int = 1) -> str:
    """Carry out a plan with some text; return what is said, and check that nothing is written."""
    path = folder / "a.yaml"
    path.write_text(text)
    result = run(command[0], *CAFFE, command[1], path, "-o", folder / "out", code=code)
    assert (folder / "out").exists() is (code == 0)
    return one_line(result) if code else result.stderr


@BOTH
@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("criterion:", "critereon:", "criterion:",
         "a plan has no key 'critereon' (hint: did you mean criterion?)"),
        ("  removed:", "  remvoed:", "  removed:",
         "a group has no key 'remvoed' (hint: did you mean removed?)"),
        ("- name: conv1\n", "- name: conv1\n  name: conv1\n", "- name: conv1",
         "'name' stands there twice"),
        ("version: 1\n", "version: 1\nversion: 1\n", "version: 1", "'version' stands there twice"),
        ("version: 1\n", "version: 3\n", "version: 1", "version must be 1, got 3"),
    ],
)  # fmt: skip
def test_a_typing_error_is_told_with_its_line(
    command: Sequence[str], old: str, new: str, line: str, message: str, plan: str, tmp_path: Path
) -> None:
    assert old in plan
    broken = plan.replace(old, new, 1)
    said = carried_out(command, broken, tmp_path)
    assert message in said
    place = next(n for n, text in enumerate(plan.splitlines(), 1) if text.startswith(line))
    place += "stands there twice" in message
    assert f"a.yaml:{place}: " in said


@BOTH
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CONFIG, "a plan is a mapping with a list of groups"),
        ("just words", "a plan is a mapping with a list of groups"),
        ("", "a plan is a mapping with a list of groups"),
        ("version: 1\ngroups: {}\n", "a plan is a mapping with a list of groups"),
        ("version: 1\ngroups: []\n", "the plan removes no channel"),
        ("version: 1\n? [a, b]\n: 1\ngroups: []\n", "not valid YAML"),
        ("version: 1\nwhen: 2020-99-99\ngroups: []\n", "not valid YAML"),
        ("version: 1\ngroups: " + "[" * 5000, "not valid YAML"),
    ],
)
def test_what_is_no_plan_is_refused(
    command: Sequence[str], text: str, message: str, tmp_path: Path
) -> None:
    assert message in carried_out(command, text, tmp_path)


@BOTH
def test_a_plan_that_removes_nothing_says_so(
    command: Sequence[str], plan: str, tmp_path: Path
) -> None:
    content = yaml.safe_load(plan)
    for group in content["groups"]:
        group.update(removed=[], kept=group["channels"])
    assert "a.yaml: the plan removes no channel (hint: a group loses" in carried_out(
        command, yaml.safe_dump(content), tmp_path
    )


def test_numbers_that_leave_every_channel_remove_nothing(plan: str, tmp_path: Path) -> None:
    content = yaml.safe_load(plan)
    for group in content["groups"]:
        del group["removed"], group["kept"]
        group["rate"] = 0.0
    text = yaml.safe_dump(content)
    assert "the plan removes no channel" in carried_out(("prune", "--keep"), text, tmp_path)


@pytest.mark.parametrize(
    "more",
    [
        ("--rate", 0.3, "--exclude", "conv1", "--layer-rate", "conv4=0.4", "--round-to", 2),
        ("--rate", 0.97, "--as-far-as-possible"),
        ("--rate", 0.1, "--criterion", "l1", "--data", IMAGES, "--limit", 8),
    ],
    ids=["layers", "far", "data"],
)
def test_what_the_program_writes_it_reads_again(more: Sequence[object], tmp_path: Path) -> None:
    run("prune", *CAFFE, *more, "-o", tmp_path)
    text = (tmp_path / "plan.yaml").read_text()
    secateur.Plan.from_yaml(text).check_removes()
    assert set(yaml.safe_load(text)) <= set(PLAN_KEYS)
