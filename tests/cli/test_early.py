"""What can be known to be wrong is told before the work begins, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import secateur
from secateur.cli.main import main

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
NETWORK = secateur.load(*CAFFE)
COUNT = 12


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A list of images whose last but one label is no class."""
    lines = []
    for number in range(COUNT):
        name = f"{number:02}.png"
        assert cv2.imwrite(str(tmp_path / name), np.full((28, 28), 20 * number, np.uint8))
        lines.append(f"{name} {10 if number == COUNT - 2 else number % 10}")
    path = tmp_path / "list.txt"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return what runs the program in this process: the one line that it fails with."""

    def run(*arguments: object, code: int = 1) -> str:
        monkeypatch.setattr("sys.argv", ["secateur", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert ended.value.code == code, captured.err
        assert captured.out == ""
        (line,) = captured.err.splitlines()
        return line

    return run


def unwanted(label: str, done: int, total: int) -> None:
    raise AssertionError(f"work began: {label} {done}/{total}")


def works(plan: secateur.Plan, output: Path) -> dict[str, Callable[[secateur.Dataset], object]]:
    """Every long work, by name."""
    quiet = {"progress": unwanted}
    return {
        "prune": lambda data: secateur.prune(NETWORK, rate=0.3, data=data, **quiet),
        "prune with a plan": lambda data: secateur.prune(NETWORK, plan=plan, data=data, **quiet),
        "densify": lambda data: secateur.densify(NETWORK, plan, data=data, **quiet),
        "iterate": lambda data: secateur.iterate(NETWORK, data, output, rates=[0.1], **quiet),
        "analyze": lambda data: secateur.analyze(NETWORK, data, rates=[0.5], **quiet),
        "evaluate": lambda data: secateur.evaluate(NETWORK, data, **quiet),
        "check_drop": lambda data: secateur.check_drop(NETWORK, NETWORK, data, 1.0, **quiet),
        "summarize": lambda data: secateur.summarize(NETWORK, NETWORK, data=data, **quiet),
    }


def test_labels_that_were_asked_for_end_every_work_before_it_begins(
    data: Path, tmp_path: Path
) -> None:
    plan = secateur.prune(NETWORK, rate=0.2, repair=False).plan
    for name, work in works(plan, tmp_path / "rounds").items():
        dataset = secateur.open_dataset(data, NETWORK)
        with pytest.raises(secateur.DataError) as caught:
            work(dataset)
        assert f"list.txt:{COUNT - 1}: the label is 10, but the network tells 10" in str(
            caught.value
        ), name
    assert not (tmp_path / "rounds").exists()


COMMANDS = {
    "prune": ["--rate", 0.3],
    "iterate": ["--rates", "0.1,0.2"],
    "ana": ["--rates", "0.5"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_tell_wrong_labels_and_write_nothing(
    command: str, data: Path, tmp_path: Path, said: Callable[..., str]
) -> None:
    output = tmp_path / "out"
    line = said(command, *CAFFE, *COMMANDS[command], "--data", data, "-o", output)
    assert f"list.txt:{COUNT - 1}: the label is 10" in line
    assert not output.exists()


def test_restarting_an_analysis_with_wrong_labels_keeps_the_old_one(
    data: Path, tmp_path: Path, said: Callable[..., str]
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / secateur.ANALYSIS_FILE).write_text("mine")
    said("ana", *CAFFE, "--data", data, "-o", output, "--restart")
    assert (output / secateur.ANALYSIS_FILE).read_text() == "mine"


def test_the_second_model_is_looked_at_before_the_first_is_measured(
    data: Path, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secateur, "evaluate", unwanted)
    assert "the label is 10" in said("valid", *CAFFE, *CAFFE, "--data", data)


def test_a_limit_without_labels_is_told_at_once(
    data: Path, tmp_path: Path, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secateur, "prune", unwanted)
    for more in ([], ["--data", data.with_name("00.png")]):
        line = said("prune", *CAFFE, "--rate", 0.3, "--max-drop", 1, *more, "--scale", 1,
                    "-o", tmp_path / "out")  # fmt: skip
        assert "a limit on the accuracy drop needs labelled data" in line


def targets(folder: Path) -> dict[str, tuple[list[object], str]]:
    """What cannot be written → what is said."""
    (folder / "file").write_text("x")
    (folder / "taken" / "shapes.caffemodel").mkdir(parents=True)
    (folder / "plan" / "plan.yaml").mkdir(parents=True)
    (folder / "other.prototxt").write_text(
        'layer { name: "conv1" type: "InnerProduct" bottom: "a" top: "b" '
        "inner_product_param { num_output: 3 } }"
    )
    return {
        "a file": ([folder / "file"], "file: cannot be written: "),
        "below a file": ([folder / "file" / "x"], "cannot be written: "),
        "the inputs": ([Path(CAFFE[0]).parent], "would overwrite the input shapes.prototxt"),
        "another format": ([folder / "net.cfg"], "cannot be written as .cfg"),
        "a name that is a folder": ([folder / "taken"], "a folder has this name"),
        "a plan that is a folder": ([folder / "plan"], "plan.yaml: cannot be written: a folder"),
        "a companion of another net": (
            [folder / "new", "--companion", folder / "other.prototxt"], "other.prototxt"),
        "a companion that is not there": (
            [folder / "new", "--companion", folder / "none.prototxt"], "none.prototxt"),
    }  # fmt: skip


def test_a_target_that_cannot_be_written_is_told_at_once(
    tmp_path: Path, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secateur, "prune", unwanted)
    monkeypatch.setattr(secateur, "densify", unwanted)
    plan = tmp_path / "a.yaml"
    plan.write_text("version: 1\ngroups: []\n")
    for name, (output, message) in targets(tmp_path).items():
        for command in (["prune", *CAFFE, "--rate", 0.3], ["transform", *CAFFE, "--plan", plan]):
            assert message in said(*command, "-o", *output), name
    assert not (tmp_path / "new").exists()


def test_looking_at_a_target_leaves_nothing_behind(tmp_path: Path) -> None:
    secateur.check_target(NETWORK, tmp_path / "a" / "b")
    secateur.check_target(NETWORK, tmp_path / "c" / "net.onnx")
    (tmp_path / "there").mkdir()
    secateur.check_target(NETWORK, tmp_path / "there")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["there"]


@pytest.mark.parametrize(
    ("text", "arguments", "line"),
    [
        ("rates: [0.5]\nrising: true\n", ["ana"], "2: rising: rising goes with a threshold only"),
        ("threshold: 0.1\nrate: 0.2\n", ["prune"], "2: rate: give one of a rate, a threshold"),
        ("rate: 0.2\nletterbox: true\ncrop: true\n", ["prune"], "2: letterbox: letterbox keeps"),
        ("rate: 0.2\nno-repair: true\nrepair: bias\n", ["prune"], "3: 'repair' stands there twice"),
        (
            "rate: 0.2\noverwrite: true\n",
            ["prune"],
            "2: there is no option 'overwrite' (hint: k",
        ),
        ("rate: 0.2\nroundto: 4\n", ["prune"], "2: there is no option 'roundto' (hint: did you"),
    ],
)
def test_contradictions_in_a_file_name_its_line(
    text: str, arguments: list[str], line: str, tmp_path: Path, said: Callable[..., str]
) -> None:
    path = tmp_path / "options.yaml"
    path.write_text(text)
    data = ["--data", FIXTURES / "shapes.npz"]
    said_line = said(*arguments, *CAFFE, *data, "-o", tmp_path / "out", "--config", path)
    assert said_line.startswith(f"error: {path}:{line}")


def test_a_switch_of_the_command_line_is_no_line_of_a_file(
    tmp_path: Path, said: Callable[..., str]
) -> None:
    path = tmp_path / "options.yaml"
    path.write_text("rates: [0.5]\n")
    line = said("ana", *CAFFE, "--data", FIXTURES / "shapes.npz", "--rising",
                "--config", path, "-o", tmp_path / "out", code=2)  # fmt: skip
    assert line == "error: --rising: rising goes with a threshold only"
