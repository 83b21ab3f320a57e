"""Snapshots of a solver: `.solverstate`, binary or HDF5.

Source: caffe.proto `SolverState`, sgd_solver.cpp `SnapshotSolverStateToBinaryProto`,
`SnapshotSolverStateToHDF5`, `RestoreSolverStateFrom…` (BVLC 9b89154). The history holds one blob a
learnable parameter of the net in its order; Adam and AdaDelta have a second run of them behind.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from ...core.errors import FormatError, UnsupportedError, located
from ...core.training.solvers.solver import Progress
from ...proto.caffe import message_class

__all__ = ["SolverState", "read_solverstate", "solverstate_bytes"]

MOST_BYTES = 1 << 32
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class SolverState:
    """A snapshot.

    Args:
        progress: how far the solver has come.
        learned_net: name of the file with the weights of the same moment.
    """

    progress: Progress
    learned_net: str = ""


def read_solverstate(path: Path) -> SolverState:
    """Read a snapshot of either form.

    Raises:
        FormatError: the file cannot be read, or is no snapshot.
        UnsupportedError: it is in HDF5, and h5py is not installed.
    """
    with located(file=str(path)):
        try:
            if path.stat().st_size > MOST_BYTES:
                raise FormatError("too large for a solver's state")
            data = path.read_bytes()
        except OSError as error:
            raise FormatError(f"cannot be read: {error.strerror or error}") from error
        if data.startswith(_HDF5):
            return _from_hdf5(data)
        state: Any = message_class("SolverState")()
        try:
            state.ParseFromString(data)
        except DecodeError as error:
            raise FormatError("this is no solver's state (.solverstate)") from error
        if not state.HasField("iter"):
            raise FormatError("this is no solver's state: it holds no iteration")
        progress = Progress(
            updates=state.iter,
            step=state.current_step,
            history=tuple(_array(blob, place) for place, blob in enumerate(state.history)),
        )
        return SolverState(progress=progress, learned_net=state.learned_net)


def _array(blob: Any, place: int) -> np.ndarray:
    values = np.array(blob.data or blob.double_data, np.float32)
    legacy = (blob.num, blob.channels, blob.height, blob.width)
    shape = (
        legacy
        if any(map(blob.HasField, ("num", "channels", "height", "width")))
        else tuple(blob.shape.dim)
    )
    if any(dim < 0 for dim in shape) or math.prod(shape) != values.size:
        stored = "×".join(map(str, shape))
        raise FormatError(
            f"blob {place} of the history is {stored}, but holds {values.size} values"
        )
    return values.reshape(shape)


def solverstate_bytes(state: SolverState, *, hdf5: bool = False) -> bytes:
    """Return the file of a snapshot.

    Raises:
        UnsupportedError: `hdf5` is asked for, and h5py is not installed.
    """
    if hdf5:
        return _to_hdf5(state)
    message: Any = message_class("SolverState")()
    message.iter = state.progress.updates
    message.learned_net = state.learned_net
    for array in state.progress.history:
        blob = message.history.add()
        blob.shape.dim.extend(array.shape)
        blob.data.extend(np.asarray(array, np.float32).reshape(-1).tolist())
    message.current_step = state.progress.step
    return bytes(message.SerializeToString())


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise UnsupportedError(
            "a solver's state in HDF5 needs h5py", hint="pip install 'secateur[hdf5]'"
        ) from None
    return h5py


def _from_hdf5(data: bytes) -> SolverState:
    h5py = _h5py()
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            net = file["learned_net"][()] if "learned_net" in file else b""
            group = file["history"]
            progress = Progress(
                updates=int(np.asarray(file["iter"][()]).reshape(-1)[0]),
                step=int(np.asarray(file["current_step"][()]).reshape(-1)[0]),
                history=tuple(
                    np.asarray(group[str(place)][()], np.float32) for place in range(len(group))
                ),
            )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, IndexError) as error:
        detail = " ".join(str(error).split())
        raise FormatError(f"the HDF5 file is no solver's state: {detail}") from error
    return SolverState(
        progress=progress, learned_net=net.decode("utf-8", "replace") if isinstance(net, bytes)
        else str(net),
    )  # fmt: skip


def _to_hdf5(state: SolverState) -> bytes:
    h5py = _h5py()
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["iter"] = np.array([state.progress.updates], np.int32)
        file["learned_net"] = np.bytes_(state.learned_net.encode())
        file["current_step"] = np.array([state.progress.step], np.int32)
        history = file.create_group("history")
        for place, array in enumerate(state.progress.history):
            history[str(place)] = np.asarray(array, np.float32)
    return buffer.getvalue()
