"""Outputs computed by the two Darknets, and files that are broken."""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SHARED

from secateur.core.errors import SecateurError
from secateur.core.ir.rebuild import expose
from secateur.formats.darknet.reader import load
from support.darknet import difference, index, run, unpack

GOLDEN = SHARED / "golden/darknet"
CASES = index(SHARED)["cases"] if GOLDEN.is_dir() else []
MALFORMED = sorted(p.name for p in (GOLDEN / "malformed").iterdir()) if GOLDEN.is_dir() else []

REFUSED = {
    "conv_1x1_stride_y", "conv_xnor", "partial_boundary", "rnn_pjreddie", "rnn_alexeyab",
    "gru_alexeyab", "gru_pjreddie", "lstm_alexeyab", "lstm_pjreddie", "crnn",
}  # fmt: skip
ALTERNATIVE = {"act_relu6", "act_section_swish", "conv_1x1_stride2_pjreddie"}
AUTO_TAKES_THE_OTHER = {
    "act_relu6_pjreddie", "bn_tinyvar_alexeyab", "bn_dontloadscales_alexeyab",
    "conn_bn_tinyvar_alexeyab", "region_softmax0_pjreddie", "region_softmax1_pjreddie",
    "net_yolov2_tiny_pjreddie",
}  # fmt: skip
"""Files of one Darknet that nothing tells from the other's: "auto" takes AlexeyAB's arithmetic,
but pjreddie's epsilon."""


@pytest.fixture(scope="module")
def results() -> Iterator[Counter[str]]:
    counts: Counter[str] = Counter()
    yield counts
    print(f"\ngolden cases: {counts.total()} run, {dict(counts)}")


def compare(case: dict[str, Any], flavour: str) -> str:
    folder = GOLDEN / case["name"]
    files = folder / "model.cfg", folder / "model.weights"
    try:
        network = load(*files, flavour=flavour)
    except SecateurError as error:
        return "refuse" if str(folder) in str(error) and "layer" in str(error) else "unlocated"
    assert {f"layer_{i}" for i in case["outputs"]} <= set(network.outputs)
    assert len(network.layers) == len(case["layers"])
    assert all(shape[0] == "N" for shape in network.outputs.values())
    rendered = network.source.render(network) if network.source else {}
    assert rendered == {path.suffix: path.read_bytes() for path in files}
    wanted = np.load(folder / "io.npz")
    # A batch of two: nothing may take the batch for 1.
    got = run(expose(network), np.stack([wanted["in"], wanted["in"]]))
    answer = "match"
    for name in wanted.files:
        kind, _, layer = name.partition(":")
        if kind not in ("out", "mid"):
            continue
        value = got[f"layer:{layer}"]
        assert np.allclose(value[0], value[-1], rtol=1e-4, atol=1e-5, equal_nan=True)
        if difference(value[0], wanted[name]) <= case["tol"]:
            continue
        alternative = f"alt:{layer}"
        assert alternative in wanted.files, f"{name}: {difference(value[0], wanted[name])}"
        assert difference(value[0], wanted[alternative]) <= case["tol"], name
        answer = "alt"
    return answer


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_golden(case: dict[str, Any], results: Counter[str]) -> None:
    name = case["name"]
    own = ["alexeyab", "pjreddie"] if case["flavour"] == "both" else [case["flavour"]]
    if name not in AUTO_TAKES_THE_OTHER:
        own.append("auto")
    answers = {compare(case, flavour) for flavour in own}
    assert len(answers) == 1
    (answer,) = answers
    results[answer] += 1
    assert answer in case["accept"]
    expected = "refuse" if name in REFUSED else "alt" if name in ALTERNATIVE else "match"
    assert answer == expected


def test_all_cases_are_there(shared: Path) -> None:
    assert len(CASES) == 179
    assert len(MALFORMED) == 25


def test_partial_file(shared: Path) -> None:
    folder = GOLDEN / "partial_boundary"
    network = load(folder / "model.cfg", folder / "model.weights", partial=True)
    assert any("the weights end after layer 1" in note for note in network.notes)
    wanted = np.load(folder / "io.npz")
    got = run(expose(network), wanted["in"][None])
    assert difference(got["layer:1"][0], wanted["mid:1"]) < 1e-5
    assert network.source is not None
    rendered = network.source.render(network)
    assert rendered[".weights"] == (folder / "model.weights").read_bytes()


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name: str, tmp_path: Path) -> None:
    expected = json.loads((GOLDEN / "malformed" / name / "expected.json").read_text())
    cfg, weights = unpack(GOLDEN / "malformed" / name, tmp_path)
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        network = load(cfg, weights)
    except SecateurError as error:
        message = str(error)
        print(message)
        assert str(cfg) in message or str(weights) in message
        assert len(message) < 1000
    else:
        assert expected["expect"] != "refuse"
        assert expected["expect"] == "any" or network.notes
    assert time.process_time() - start < 5
    unit = 1 if sys.platform == "darwin" else 1024
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
    assert grown < 500e6


VALUES = (
    "0", "-1", "2", "3", "1000000", "2147483647", "-2147483648", "99999999999", "", "x", "1.5",
    "nan", "0,1,2", "-1,-2", "relu", "softmax", "per_channel",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_mutilated_files_never_crash(seed: int, tmp_path: Path) -> None:
    if not CASES:
        pytest.skip("no golden cases")
    chosen = random.Random(seed)
    loaded = 0
    for _ in range(150):
        folder = GOLDEN / chosen.choice(CASES)["name"]
        lines = (folder / "model.cfg").read_bytes().split(b"\n")
        weights = (folder / "model.weights").read_bytes()
        for _ in range(chosen.randint(1, 3)):
            place = chosen.randrange(len(lines))
            if b"=" in lines[place]:
                value = chosen.choice(VALUES).encode()
                lines[place] = lines[place].partition(b"=")[0] + b"=" + value
            elif chosen.random() < 0.5:
                lines.insert(place, chosen.choice(lines))
            else:
                lines[place] = chosen.randbytes(6)
        if chosen.random() < 0.2:
            weights = weights[: chosen.randrange(len(weights))]
        paths = tmp_path / "model.cfg", tmp_path / "model.weights"
        paths[0].write_bytes(b"\n".join(lines))
        paths[1].write_bytes(weights)
        flavour = chosen.choice(["auto", "alexeyab", "pjreddie"])
        try:
            network = load(*paths, flavour=flavour, partial=chosen.random() < 0.5)
        except SecateurError as error:
            message = str(error)
        else:
            message = str(tmp_path)
            loaded += 1
            assert network.source is not None
            rendered = network.source.render(network)
            assert rendered == {path.suffix: path.read_bytes() for path in paths}
        assert str(tmp_path) in message
    assert loaded
