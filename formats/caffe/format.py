"""Caffe as a file format: prototxt and caffemodel."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.foreign import HDF5, Foreign
from ...core.ir.network import Network, Preprocess
from ..registry import FORMATS, Format, first_line, is_text

if TYPE_CHECKING:
    from ...core.evaluation.task import Task
    from ...core.training.recipe import Start
    from ...core.training.solvers.solver import Progress
    from ..emission import Emission

__all__ = ["CAFFE"]


def _begin(
    paths: Mapping[str, Path], solver: Path | None, *, all_layers: bool = False,
    like: Network | None = None, **settings: Any,
) -> Start:  # fmt: skip
    """Read a net in phase TRAIN, with its losses; `all_layers` is for formats with idle ones."""
    from ...core.training.recipe import Start
    from .augmentation import stated_augmentation
    from .reader import load
    from .solver import read_solver
    from .source import CaffeSource
    from .training import recipe

    del all_layers
    if like is not None:
        assert isinstance(like.source, CaffeSource), "read from Caffe's files"
        network = like.source.reread(paths, training=True)
    else:
        settings["phase"] = "TRAIN"
        network = load(paths[".prototxt"], paths[".caffemodel"], training=True, **settings)
    file = read_solver(solver) if solver is not None else None
    assert isinstance(network.source, CaffeSource), "read from Caffe's files"
    augmentation = stated_augmentation(network.source)
    return Start(network=network, recipe=recipe(network, file), augmentation=augmentation)


def _read_state(path: Path) -> Progress:
    from .solverstate import read_solverstate

    return read_solverstate(path).progress


def _write_state(progress: Progress, weights: str) -> bytes:
    from .solverstate import SolverState, solverstate_bytes

    return solverstate_bytes(SolverState(progress=progress, learned_net=weights))


def _emit(network: Network, solver: Path | None, data: Path | None) -> Emission:
    from .emission import emission

    return emission(network, solver, data)


def _sniff(head: bytes) -> str | None:
    """Return the suffix of a prototxt or caffemodel by its first bytes; None for other files.

    The first field of a caffemodel (NetParameter) is name (1), layers (2), input (3) or layer
    (100).
    """
    if is_text(head):
        line = first_line(head)
        return ".prototxt" if line and line[:1] not in (b"<", b"[") else None
    if head[:8] == HDF5 or head[:1] in (b"\x0a", b"\x12", b"\x1a") or head[:2] == b"\xa2\x06":
        return ".caffemodel"
    return None


_NUMBER = rb"[\x80-\xff]{0,4}[\x00-\x7f]"
"""A varint of 32 bits."""

_BLOB = re.compile(rb"\x08" + _NUMBER + rb"\x10" + _NUMBER + rb"\x18|\x2a", re.DOTALL)
"""How a BlobProto begins: num, channels, height; or the data, in newer files."""

_STATE = re.compile(rb"\x08" + _NUMBER + rb"\x12.{1,400}?\.(?:caffemodel|h5)", re.DOTALL)
"""How a SolverState begins: the iteration, and the name of the weights."""

_SOLVER = re.compile(
    rb"^\s*(?:net|train_net|test_net|base_lr|lr_policy|solver_mode|solver_type|max_iter|test_iter"
    rb"|snapshot_prefix|weight_decay)\s*:",
    re.MULTILINE,
)
_LAYERS = re.compile(rb"^\s*layers?\s*:?\s*\{", re.MULTILINE)


def _relative(head: bytes) -> Foreign | None:
    """Return which other file of Caffe begins so (caffe.proto); None for others."""
    if not is_text(head):
        if _BLOB.match(head):
            return Foreign("a mean image of Caffe (.binaryproto)", "give it to --mean-file")
        if _STATE.match(head):
            return Foreign("the state of a solver (.solverstate)",
                           "give the .caffemodel of the same iteration")  # fmt: skip
        return None
    if len(_SOLVER.findall(head)) > 1 and not _LAYERS.search(head):
        named = re.search(rb"^\s*(?:train_|test_)?net\s*:\s*[\"']([^\"'\n]+)", head, re.MULTILINE)
        name = named[1].decode(errors="replace")[:200] if named else "its net"
        return Foreign("a solver, which trains a net", f"give the net that it names: {name}")
    if re.match(rb"(?:\s|#[^\n]*\n)*item\s*\{", head):
        return Foreign("a map of labels", "give the .prototxt of the net")
    return None


def _read(paths: Mapping[str, Path], **settings: Any) -> Network:
    from .reader import load

    return load(paths[".prototxt"], paths[".caffemodel"], **settings)


def _read_text(path: Path, **settings: Any) -> Network:
    from .text_reader import load_text

    return load_text(path, **settings)


def _register_datasets() -> None:
    importlib.import_module(".data.kinds", __package__)


def _read_mean(path: Path) -> np.ndarray:
    from .data.mean import read_mean

    return read_mean(path)


def _stated(path: Path, network: Network) -> Preprocess:
    from .beside import stated

    return stated(path, network)


def _beside(network: Network) -> Mapping[Path, Preprocess]:
    from .beside import stated_beside

    return stated_beside(network)


def _named_accuracy(network: Network, top: str) -> tuple[Network, Task]:
    from .data.accuracy import named_accuracy

    return named_accuracy(network, top)


CAFFE = FORMATS.add(
    "caffe",
    entry=Format(
        name="caffe",
        suffixes=(".prototxt", ".caffemodel"),
        rank=30,
        sniff=_sniff,
        relative=_relative,
        missing={
            ".prototxt": "a .caffemodel with its weights",
            ".caffemodel": "its .prototxt",
        },
        read=_read,
        settings=("phase", "stages", "level", "input_shapes", "batch_norm", "opaque"),
        begin=_begin,
        read_state=_read_state,
        write_state=_write_state,
        emit=_emit,
        companions=True,
        register_datasets=_register_datasets,
        read_mean=_read_mean,
        stated=_stated,
        beside=_beside,
        named_accuracy=_named_accuracy,
        read_text=_read_text,
    ),
)
