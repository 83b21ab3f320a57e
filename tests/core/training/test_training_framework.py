"""PyTorch is an extra: nothing imports it before it is needed."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from secateur.core.errors import UnsupportedError
from secateur.core.training import framework


def test_reading_what_files_say_needs_no_pytorch():
    code = (
        "import sys\n"
        "import secateur, secateur.formats.training\n"
        "import secateur.formats.caffe.training, secateur.formats.darknet.recipe\n"
        "import secateur.formats.caffe.solverstate\n"
        "from secateur.core.training.solvers import adaptive, schedule, sgd, solver\n"
        "from secateur.formats.caffe.layer import LAYERS\n"
        "from secateur.formats.darknet.section import SECTIONS\n"
        "assert list(LAYERS) and list(SECTIONS)\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_missing_pytorch_is_said_with_what_to_install(monkeypatch):
    def refuse(name: str) -> None:
        raise ImportError(name)

    lazy = framework._Lazy("torch")
    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(UnsupportedError, match="training needs PyTorch") as info:
        _ = lazy.nn
    assert "secateur[train]" in str(info.value)
