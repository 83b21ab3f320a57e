"""Without PyTorch everything works but training, which says what is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.mnist import lenet_project
from support.pipelines import lenet_pipeline
from support.program import ENVIRONMENT

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
DATA = ["--data", str(FIXTURES / "shapes.npz"), "--limit", "12"]

PROGRAM = """\
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":  # as if it was not installed
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, Missing())
sys.argv = ["secateur", *sys.argv[1:]]
from secateur.cli.main import program
program()
"""


def run(*arguments: object, folder: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], capture_output=True, text=True,
        check=False, cwd=folder, env=ENVIRONMENT,
    )  # fmt: skip
    assert result.returncode == code, result.stderr
    return result


@pytest.mark.parametrize(
    "words",
    [
        ["init", *CAFFE, *DATA[:2]],
        ["iterate", *CAFFE, *DATA, "--rates", "0.2", "--criterion", "l1", "-o", "rounds"],
        ["prune", *CAFFE, *DATA, "--rate", "0.2", "--criterion", "l1", "-o", "pruned"],
    ],
    ids=lambda words: words[0],
)
def test_commands_that_train_nothing(tmp_path: Path, words: Sequence[str]) -> None:
    assert "PyTorch" not in run(*words, folder=tmp_path).stderr.replace("with PyTorch", "")


def test_a_pipeline_without_training(shared: Path, tmp_path: Path) -> None:
    file = lenet_pipeline(shared, tmp_path, "valid:\nreport: page/\n")
    assert (
        "Accuracy"
        in run("run", file, "--dry-run", folder=tmp_path).stdout
        + run("run", file, folder=tmp_path).stdout
    )
    assert (tmp_path / "page/report.html").is_file()


def test_a_config_of_the_vendors_pruner(shared: Path, tmp_path: Path) -> None:
    lenet_project(shared, tmp_path, train=40, test=40)
    run("prune", "-config", "config.prototxt", folder=tmp_path)
    assert (tmp_path / "regular/regular_rate_0.4/sparse.caffemodel").is_file()


def test_training_says_what_is_missing(tmp_path: Path) -> None:
    for words in (
        ["finetune", *CAFFE, *DATA, "--steps", "1", "-o", "tuned"],
        ["iterate", *CAFFE, *DATA, "--rates", "0.2", "--finetune", "1steps", "-o", "rounds"],
    ):
        told = run(*words, folder=tmp_path, code=1).stderr.strip().splitlines()[-1]
        assert told == "error: training needs PyTorch (hint: pip install 'secateur[train]')"
