"""Training as Caffe and the two Darknets do it: every golden case, held to its own tolerance."""

from __future__ import annotations

import numpy as np
import pytest

from support.training import cases, difference, folder, need_torch, rates_differ

CAFFE = cases("caffe")


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
        found = difference(got[key], want, tolerance, 1e-3) if key in got else "missing"
        wrong[key] = found
    assert {key: why for key, why in wrong.items() if why} == {}
