"""What tests of fine-tuning share: PyTorch on one thread, and a small classifier."""

from __future__ import annotations

from pathlib import Path

import pytest

import secateur
from support.training import need_torch

SHAPES = Path(__file__).resolve().parents[3] / "fixtures/shapes_caffe"


@pytest.fixture(scope="module")
def one_thread() -> None:
    """PyTorch on one thread; tests are skipped where it is not installed."""
    need_torch()


@pytest.fixture(scope="module")
def network() -> secateur.Network:
    return secateur.load(*(SHAPES / f"shapes.{end}" for end in ("prototxt", "caffemodel")))
