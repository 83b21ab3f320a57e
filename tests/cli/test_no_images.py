"""Without images nothing is said of quality but that it is unknown."""

from __future__ import annotations

from pathlib import Path

from support.program import inside as run

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
IMAGES = str(FIXTURES / "calibration.npz")

UNKNOWN = (
    "warning: accuracy is unknown, and probably low: channels left by l1, not repaired, since "
    "there were no images (a hundred as --data, labelled or not, change that)"
)


def test_pruning_without_images_tells_no_figure_of_noise(tmp_path: Path) -> None:
    common = ("--rate", 0.3, "--criterion", "l1", "--no-repair", "-q")
    result = run("prune", *CAFFE, *common, "-o", tmp_path / "out")
    assert result.stderr.strip() == UNKNOWN
    for figure in ("greement", "cosine", "noise", "ccuracy"):
        assert figure not in result.stdout
    assert "Operations" in result.stdout
    result = run("transform", *CAFFE, "--plan", tmp_path / "out/plan.yaml", "-o", tmp_path / "t")
    assert "greement" not in result.stdout
    assert "cosine" not in result.stdout
    assert "accuracy was not measured: no --data was given" in result.stderr


def test_made_images_that_stand_in_are_not_measured_on(tmp_path: Path) -> None:
    result = run("prune", *CAFFE, "--rate", 0.3, "--limit", 32, "-q", "-o", tmp_path / "out")
    assert "accuracy is unknown, no real image was seen: channels left by obs" in result.stderr
    for figure in ("greement", "cosine", "ccuracy"):
        assert figure not in result.stdout


def test_a_hundred_unlabelled_images_change_that(tmp_path: Path) -> None:
    result = run("prune", *CAFFE, "--rate", 0.3, "--data", IMAGES, "-o", tmp_path / "out", "-q")
    assert "unknown" not in result.stderr
    assert "Top-1 agreement" in result.stdout
