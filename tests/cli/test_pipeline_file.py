"""The pipeline file: what it says, what is wrong with it, and its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import secateur
from secateur.cli.pipeline_file import sections
from secateur.cli.pipeline_schema import pipeline_schema
from secateur.cli.usage import UsageError

ROOT = Path(__file__).resolve().parents[2]

TEXT = """\
model: {files: [net.cfg, net.weights], flavour: alexeyab}
data:
  calibration: {path: images, limit: 40}
  test: test.npz
  limit: 60
prune:
  rate: 0.3
  criterion: l1
  layers:
    conv1: {rate: 0.2}
valid:
"""


def load(folder: Path, text: str = TEXT, *settings: str) -> secateur.Pipeline:
    (folder / "secateur.yaml").write_text(text)
    return secateur.load_pipeline(folder, settings=settings)


def test_keys_are_fields(tmp_path):
    found = load(tmp_path)
    assert [Path(path) for path in found.model] == [tmp_path / "net.cfg", tmp_path / "net.weights"]
    assert found.loading.flavour == "alexeyab"
    assert found.data["calibration"].path == tmp_path / "images"
    assert found.data["calibration"].options.limit == 40
    assert found.data["test"].options.limit == 60
    assert found.prune.rate == 0.3
    assert found.prune.overrides["conv1"].rate == 0.2
    assert found.steps == ("prune", "valid")
    assert found.output == tmp_path / "secateur-out"
    assert found.source("validation") is None
    assert found.source("training").path == tmp_path / "images"


def test_settings_take_the_place_of_values(tmp_path):
    found = load(
        tmp_path, TEXT, "prune.rate=0.5", "data.test.limit=7", "valid=false",
        "finetune={time: 5m, freeze: conv1}", "preprocess.mean=[1, 2, 3]", "prune.layers=null",
        "prune.max_drop=1.5", "data.validation=val", "output=there",
    )  # fmt: skip
    assert (found.prune.rate, found.prune.max_drop) == (0.5, 1.5)
    assert found.prune.overrides == {}
    assert found.data["test"].path == tmp_path / "test.npz"
    assert found.data["test"].options.limit == 7
    assert found.data["validation"].path == tmp_path / "val"
    assert found.steps == ("prune", "finetune")
    assert (found.finetune.options.time, found.finetune.options.freeze) == (300.0, ("conv1",))
    assert found.data["calibration"].options.mean == found.preprocess.mean == (1.0, 2.0, 3.0)
    assert found.output == tmp_path / "there"


def test_paths_start_from_the_folder_of_the_file(tmp_path):
    plan = "groups: []\nversion: 1\n"
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/plan.yaml").write_text(plan)
    with pytest.raises(secateur.SecateurError) as told:  # read, from there
        load(tmp_path, TEXT.replace("rate: 0.3", "keep: sub/plan.yaml"))
    assert "cannot be read" not in str(told.value)
    found = load(
        tmp_path, TEXT + "preprocess: {mean-file: mean.npy}\nfinetune: {solver: s.prototxt}\n",
        "data.names=n.txt",
    )  # fmt: skip
    options = found.data["test"].options
    assert (options.mean_file, options.names) == (
        str(tmp_path / "mean.npy"), str(tmp_path / "n.txt"),
    )  # fmt: skip
    assert found.finetune.solver == str(tmp_path / "s.prototxt")


WRONG: list[tuple[str, str]] = [
    ("model: [a.cfg, a.weights", ":1: not valid YAML"),
    ("[" * 5000, "nested too deeply"),
    ("[1]", ":1: a pipeline must be a mapping"),
    ("", "a pipeline needs a model"),
    ("model: a.onnx", "a pipeline needs a step"),
    (TEXT.replace("rate: 0.3", "rat: 0.3"), ":7: there is no key 'rat' here (hint: did you mean"),
    (TEXT.replace("prune:", "prone:"), ":6: there is no key 'prone' in a pipeline (hint: did you"),
    (TEXT.replace("limit: 60", "limt: 60"), ":5: there is no key 'limt' here (hint: did you mean"),
    (TEXT.replace("test:", "tset:"), ":4: there is no key 'tset' here (hint: did you mean test"),
    (TEXT.replace("limit: 40", "limits: 40"), ":3: there is no key 'limits' here"),
    (TEXT.replace("flavour", "flavor"), ":1: there is no key 'flavor' here (hint: did you mean"),
    (TEXT.replace("rate: 0.3", "rate: x"), ":7: rate: 'x' is no number"),
    (TEXT.replace("rate: 0.3", "rate: 3"), ":7: rate: the rate must be from 0 to below 1"),
    (TEXT.replace("rate: 0.3", "rate: {a: 1}"), ":7: rate takes one value"),
    (TEXT.replace("rate: 0.3", "rate:"), ":7: rate takes a value, got None"),
    (TEXT.replace("  rate: 0.3\n", ""), ":6: rate: give one of a rate, a threshold,"),
    (TEXT.replace("limit: 40", "limit: 0"), ":3: limit: the limit must be at least one sample"),
    (TEXT.replace("alexeyab", "alex"), ":1: flavour: unknown flavour 'alex'"),
    (TEXT.replace("{rate: 0.2}", "2"), ":10: layer 'conv1': its value must be a mapping"),
    (TEXT.replace("path: images, ", ""), ":3: calibration: its path is missing"),
    (TEXT + "prune: {rate: 0.1}\n", ":12: 'prune' stands there twice"),
    (TEXT + "transform:\n", ":12: there is nothing to remove: the model has no zeros"),
    (TEXT + "transform: {force: 3}\n", ":12: force must be true or false, got 3"),
    (TEXT + "finetune: {epochs: 1, steps: 2}\n", ":12: epochs: give one of epochs, steps"),
    (TEXT + "preprocess: {letterbox: true, crop: true}\n", ":12: letterbox: letterbox keeps"),
    (TEXT.replace("  test: test.npz\n", ""), ":10: valid needs data (hint: data: test"),
    (TEXT + "reports: out\n", ":12: there is no key 'reports' in a pipeline"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told"), WRONG)
def test_what_is_wrong_is_one_line_with_its_place(tmp_path, text, told):
    with pytest.raises(secateur.SecateurError) as error:
        load(tmp_path, text)
    line = str(error.value)
    assert line.startswith(f"{tmp_path / 'secateur.yaml'}:")
    assert told in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("prune.rat=0.4", "--set prune.rat: there is no key 'rat' here (hint: did you mean rate?)"),
        ("prun.rate=0.4", "--set prun.rate: there is no key 'prun' in a pipeline (hint: did you"),
        ("prune.rate=x", "--set prune.rate: 'x' is no number"),
        ("prune.rate=30", "--set prune.rate: the rate must be from 0 to below 1, got 30"),
        ("prune.rate=[1, 2]", "--set prune.rate: rate takes one value"),
        ("prune", "--set: 'prune' is not KEY=VALUE (hint: prune.rate=0.4)"),
        ("prune..rate=1", "--set: 'prune..rate=1' is not KEY=VALUE"),
        ("prune.rate=[", "--set prune.rate: '[' is no value"),
        ("data.tset=x", "--set data.tset: there is no key 'tset' here (hint: did you mean test?)"),
        ("prune={rat: 1}", "--set prune: there is no key 'rat' here (hint: did you mean rate?)"),
        ("transform={}", "--set transform: there is nothing to remove"),
        ("finetune.augment=x", "--set finetune.augment: it is auto, usual or none, not x"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, setting, told):
    with pytest.raises(UsageError) as error:
        load(tmp_path, TEXT, setting)
    assert str(error.value).startswith(told)


def test_a_missing_file_is_told_with_what_writes_one(tmp_path):
    with pytest.raises(secateur.FormatError, match=r"no such file .*secateur init"):
        secateur.load_pipeline(tmp_path / "none.yaml")


def test_many_aliases_take_no_memory(tmp_path):
    """Each list holds the one before it ten times: written out, the last one has 10¹⁰ entries."""
    bomb = "x0: &x0 [1]\n" + "".join(
        f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]\n" for n in range(1, 11)
    )
    with pytest.raises(secateur.FormatError, match="there is no key 'x0'"):
        load(tmp_path, bomb)
    inner = ", ".join(
        ["&x0 [1]", *(f"&x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 11))]
    )
    with pytest.raises(secateur.FormatError, match=r"exclude takes a value, got \[\[1\], ") as told:
        load(tmp_path, TEXT.replace("criterion: l1", f"exclude: [[{inner}]]"))
    assert len(told.value.message) < 300


def test_the_published_schema_is_current():
    """`secateur schema > docs/secateur.schema.json` writes it anew."""
    published = json.loads((ROOT / "docs/secateur.schema.json").read_text(encoding="utf-8"))
    assert published == pipeline_schema()


def test_the_schema_knows_what_the_reader_takes():
    properties = pipeline_schema()["properties"]
    for name, section in sections().items():
        found: Any = properties[name]
        keys = (found["anyOf"][-1] if "anyOf" in found else found)["properties"]
        assert set(section.slots) <= set(keys)
        extra = {"files", "companions", "layers", *secateur.ROLES}
        assert set(keys) - set(section.slots) <= extra
    assert properties["prune"]["properties"]["mode"]["enum"] == ["dense", "sparse"]
    assert properties["prune"]["properties"]["rate"]["type"] == "number"
    assert "obs" in properties["prune"]["properties"]["criterion"]["examples"]
    assert properties["finetune"]["properties"]["time"]["anyOf"] == [
        {"type": "number"}, {"type": "string"},
    ]  # fmt: skip
