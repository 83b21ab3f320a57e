"""Hints guess only where few slips lead from what was written to what is known."""

from __future__ import annotations

import pytest

import secateur
from secateur.core.criteria import CRITERIA
from secateur.core.errors import nearest_hint
from secateur.core.nearness import near_names
from secateur.formats.caffe.layer import LAYERS
from secateur.formats.darknet.section import SECTIONS


@pytest.mark.parametrize(
    ("written", "known", "found"),
    [
        ("convolution", ("Convolution", "Deconvolution"), ("Convolution",)),
        ("INNER_PRODUCT", ("InnerProduct",), ("InnerProduct",)),
        ("round_to", ("round-to",), ("round-to",)),
        ("--rat", ("--rate", "--repair"), ("--rate",)),
        ("Convolutoin", ("Convolution",), ("Convolution",)),
        ("uniforn", ("uniform", "global"), ("uniform",)),
        ("conv", ("conv", "cons"), ("conv",)),
        ("rats", ("rate", "rath", "other"), ("rate", "rath")),
        ("Proposal", ("Pooling", "Dropout", "Upsample"), ()),
        ("Filter", ("Flatten", "Tile", "Interp"), ()),
        ("--overwrite", ("--layer-rate",), ()),
        ("FixedNeuron", ("Reduction",), ()),
        ("RNN", ("LRN", "ReLU"), ()),
        ("", ("a", "b"), ()),
        ("a", ("b", "c"), ()),
        ("---", ("--rate",), ()),
        ("x" * 5000, ("x" * 5001,), ()),
        ("abcde", ("abcd1", "abcd2", "abcd3", "abcd4"), ()),
    ],
)
def test_near_names(written: str, known: tuple[str, ...], found: tuple[str, ...]) -> None:
    assert near_names(written, known) == found


def test_a_hint_names_all_that_are_equally_near() -> None:
    assert nearest_hint("rats", ["rate", "rath"], "x") == "did you mean rate or rath?"
    assert nearest_hint("nothing", ["rate", "rath"], "known are …") == "known are …"
    assert nearest_hint("nothing", ["rate", "rath"], None) is None


@pytest.mark.parametrize("name", ["Proposal", "Filter", "MatMul", "Transpose", "RegionLoss"])
def test_layer_types_of_forks_resemble_no_other(name: str) -> None:
    hint = "nothing" if name in LAYERS else nearest_hint(name, LAYERS, "nothing")
    assert hint == "nothing"


def test_every_known_name_is_near_to_itself_without_case() -> None:
    for registry in (LAYERS, SECTIONS, CRITERIA):
        for name in registry:
            assert name in near_names(name.swapcase(), registry)


def test_obs_is_among_the_criteria_of_a_hint() -> None:
    network = secateur.load(*_SHAPES)
    with pytest.raises(secateur.PlanError) as caught:
        secateur.prune(network, rate=0.3, criterion="nonsense")
    assert caught.value.hint is not None
    assert {"auto", "obs", "l1"} <= set(caught.value.hint.removeprefix("known are ").split(", "))


def test_names_of_layers_and_groups_are_guessed() -> None:
    network = secateur.load(*_SHAPES)
    name = network.layers[1].name
    for settings in ({"exclude": [f"{name}x"]}, {"overrides": _override(f"{name}x")}):
        with pytest.raises(secateur.PlanError, match=f"did you mean {name}"):
            secateur.prune(network, rate=0.3, **settings)


def _override(name: str) -> dict[str, secateur.Override]:
    return {name: secateur.Override(rate=0.5)}


def _shapes() -> list[str]:
    from pathlib import Path

    folder = Path(__file__).resolve().parents[2] / "fixtures" / "shapes_caffe"
    return [str(folder / f"shapes.{end}") for end in ("prototxt", "caffemodel")]


_SHAPES = _shapes()
