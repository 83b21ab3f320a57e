"""Training as Caffe and the two Darknets do it: every golden case, held to its own tolerance."""

from __future__ import annotations

import numpy as np
import pytest

from support.training import cases, difference, folder, need_torch, rates_differ

CAFFE = cases("caffe")
DARKNET = cases("darknet")


@pytest.mark.parametrize("case", CAFFE, ids=lambda case: case["name"])
def test_golden_train_caffe(case, tmp_path):
    need_torch()
    from support.training_caffe import CaffeRun

    path = folder("caffe", case)
    io = dict(np.load(path / "io.npz"))
    run = CaffeRun(path, io, tmp_path)
    wrong = {"lr": rates_differ(run.settings.schedule.rates(len(io["lr"])), io["lr"])}
    got = run.train()
    wider = case.get("tol_of", {})
    for key, want in io.items():
        if key.split(":")[0] in ("in", "mask", "lr"):
            continue
        tolerance = wider.get(key, wider.get(key.split(":")[0], case["tol"]))
        wrong[key] = difference(got[key], want, tolerance, 1e-3) if key in got else "missing"
    assert {key: why for key, why in wrong.items() if why} == {}


def recorded(key, case, io):
    """Whether an array without a twin by the rules of the GPU code is the same by both rules.

    Of inner outputs and deltas, only those of the first convolution and of the heads with their
    inputs have such twins.
    """
    if case["cudnn"] is not True:
        return False  # only the rates follow no rule of the CPU there
    if not any(name.startswith("cudnn:") for name in io):
        return True
    kind, _, layer = key.partition(":")
    ends = {place for head in case["heads"] for place in (head, head - 1)}
    if kind == "delta_input":
        return False
    if kind.startswith("v1."):
        return f"cudnn:g1{key[2:]}" not in io
    if kind == "out":
        return int(layer) in ends
    if kind == "delta" and f"cudnn:head_delta:{layer}" in io:
        return False
    return kind != "delta" or int(layer) in ends | {0}


@pytest.mark.parametrize("case", DARKNET, ids=lambda case: case["name"])
def test_golden_train_darknet(case, tmp_path):
    need_torch()
    from support.training_darknet import DarknetRun

    path = folder("darknet", case)
    io = dict(np.load(path / "io.npz"))
    run = DarknetRun(path, case["engine"], io, tmp_path)
    wrong = {"lr": rates_differ(run.settings.schedule.rates(len(io["lr"])), io["lr"])}
    got = run.train()
    wrong["lr_used"] = rates_differ(got["lr_used"], io["lr_used"])
    for key, want in io.items():
        if key.startswith(("cudnn:", "lr")) or key in ("X", "truth"):
            continue
        if f"cudnn:{key}" not in io and not recorded(key, case, io):
            continue
        wanted = io.get(f"cudnn:{key}", want)
        found = got.get(key)
        if found is not None and key.startswith(("out", "head_delta", "delta")):
            found = found.reshape(wanted.shape)  # the engine has no axes, only their product
        wrong[key] = "missing" if found is None else difference(found, wanted, case["tol"], 1e-2)
    assert {key: why for key, why in wrong.items() if why} == {}
