"""Made images: the same for the same seed, with the colours of photographs, of any shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import secateur
from secateur.core.data.naming import is_made
from secateur.core.data.structured import dataset as structured
from secateur.core.data.structured.dataset import STYLES, StructuredDataset
from secateur.core.errors import DataError
from secateur.core.ir.builder import Builder
from secateur.core.ir.network import Network, Preprocess


def taking(preprocess: Preprocess | None = None, **inputs: tuple[int | str, ...]) -> Network:
    b = Builder("net")
    outputs = {f"out_{name}": b.input(name, shape) for name, shape in inputs.items()}
    model = b.finish(outputs)
    return Network(name="net", model=model, preprocess=preprocess or Preprocess())


def images(network: Network, **settings: object) -> np.ndarray:
    dataset = StructuredDataset(network, **settings)  # type: ignore[arg-type]
    return np.concatenate([batch.inputs["x"] for batch in dataset])


@pytest.mark.parametrize("style", STYLES)
def test_a_sample_depends_on_seed_and_number_only(style: str) -> None:
    network = taking(x=("N", 3, 20, 24))
    first = images(network, style=style, samples=6, batch=4)
    assert (first == images(network, style=style, samples=6, batch=1)).all()
    assert (first[:3] == images(network, style=style, samples=3)).all()
    assert (first != images(network, style=style, samples=6, seed=1)).any(axis=(1, 2, 3)).all()
    assert (first[0] != first[2]).any()


@pytest.mark.parametrize("style", STYLES)
def test_pixels_are_whole_and_their_channels_alike(style: str) -> None:
    pixels = images(taking(x=("N", 3, 32, 32)), style=style, samples=24)
    assert (pixels == np.rint(pixels)).all()
    assert 0 <= pixels.min() <= pixels.max() <= 255
    assert 80 < pixels.mean() < 150
    assert 30 < pixels.std() < 75
    assert np.corrcoef(pixels[:, 0].ravel(), pixels[:, 2].ravel())[0, 1] > 0.7
    across = np.corrcoef(pixels[..., 1:].ravel(), pixels[..., :-1].ravel())[0, 1]
    assert across > 0.6, "neighbours in photographs are alike"


def test_inputs_have_the_mean_and_scale_of_the_preprocessing() -> None:
    signed = Preprocess(mean=(100.0, 120.0, 140.0), scale=1 / 64)
    inputs = images(taking(signed, x=("N", 3, 32, 32)), samples=32)
    assert np.abs(inputs.mean(axis=(0, 2, 3))).max() < 0.4
    assert 0.5 < inputs.std() < 1.2
    image = np.tile(np.linspace(40, 200, 32, dtype=np.float32), (1, 32, 1))
    grey = images(taking(Preprocess(mean_image=image), x=("N", 1, 32, 32)), samples=32)
    assert np.abs(grey.mean()) < 20
    dark = images(taking(Preprocess(mean=(0.5,)), x=("N", 1, 32, 32)), samples=8)
    assert dark.mean() > 60, "a mean of pixels from 0 to 1 makes no black images"


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 9, 31), (5, 40, 8), (3, 224, 224)])
def test_any_number_of_channels_and_any_size(shape: tuple[int, ...]) -> None:
    found = images(taking(x=("N", *shape)), samples=4)
    assert found.shape == (4, *shape)
    assert np.isfinite(found).all()
    assert all(one.std() > 5 for one in found)


def test_what_is_not_kept_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    network = taking(x=("N", 3, 16, 16))
    kept = StructuredDataset(network, samples=6)
    monkeypatch.setattr(structured, "KEPT_BYTES", 2 * 3 * 16 * 16)
    some = StructuredDataset(network, samples=6)
    for _ in range(2):
        for one, other in zip(kept, some, strict=True):
            assert (one.inputs["x"] == other.inputs["x"]).all()
    assert len(some._kept) == 2


def test_every_pass_gives_the_same_whatever_inputs_a_network_has() -> None:
    network = taking(x=("N", 3, 16, 16), twin=("N", 3, 16, 16), y=("N", 7))
    dataset = StructuredDataset(network, samples=5, batch=2)
    for one, other in zip(list(dataset), list(dataset), strict=True):
        assert one.inputs.keys() == other.inputs.keys() == {"x", "twin", "y"}
        for name, rows in one.inputs.items():
            assert (rows == other.inputs[name]).all(), name
        assert (one.inputs["x"] != one.inputs["twin"]).any(axis=(1, 2, 3)).all()


def test_inputs_that_are_no_images() -> None:
    beside = StructuredDataset(taking(x=("N", 3, 16, 16), y=("N", 7)), samples=2)
    (batch,) = beside
    assert batch.inputs["y"].max() <= 1
    for shape in (("N", 12), ("N", 64, 1, 1), ("N", 3, 4, 4)):
        with pytest.raises(DataError, match="takes no images"):
            StructuredDataset(taking(x=shape))
    with pytest.raises(DataError, match="too large to make images"):
        StructuredDataset(taking(x=("N", 3, 60000, 60000)))


def test_names_of_made_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network = taking(x=("N", 3, 16, 16))
    assert secateur.open_dataset("synthetic", network, limit=3).samples == 3
    usual, leaves = (
        next(iter(secateur.open_dataset(name, network, limit=2))).inputs["x"]
        for name in ("synthetic:structured", "synthetic:leaves")
    )
    assert (usual != leaves).any()
    with pytest.raises(DataError, match="there is no data") as info:
        secateur.open_dataset("synthetic:leafs", network)
    assert info.value.hint == "did you mean synthetic:leaves?"
    (tmp_path / "synthetic").mkdir()
    assert not is_made("synthetic"), "a folder of that name is read"
    with pytest.raises(DataError, match="no images"):
        secateur.open_dataset("synthetic", network)
