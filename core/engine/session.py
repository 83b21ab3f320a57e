"""Running a network with onnxruntime, on the devices in use (:mod:`.placement`).

NOTE for developers: large weights never go through protobuf. An initializer above
:data:`INLINE_BYTES` is declared as external data in a file that does not exist, and its array is
passed with `SessionOptions.add_external_initializers`, which uses the memory without a copy. That
memory (often a mapped file) must outlive the session, so the session keeps it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from ..brief import brief
from ..errors import DataError, UnsupportedError
from ..ir.dims import sample_fits, shape_text
from ..ir.network import Network
from ..ir.subgraphs import captured
from .device import CPU_PROVIDER
from .placed import ERRORS, FATAL, OnDevices, reason_of, session_of
from .placement import PROCESSOR, devices
from .threads import cores

__all__ = [
    "INLINE_BYTES",
    "Arrays",
    "Session",
    "optimized",
    "raw_runner",
]

INLINE_BYTES = 4096
"""Initializers up to this many bytes are written into the model handed to onnxruntime."""

Arrays = dict[str, np.ndarray]


class Session:
    """A network made ready to run.

    It runs on the devices that are in use where it is made, the processor if nobody says otherwise
    (:func:`.choosing.using_device`). It holds threads and memory, so keep it no longer than it is
    used.

    Args:
        network: the network to run. Its arrays are not copied and must not change meanwhile.
        threads: threads of one run; None for all cores this process may use.
        profile: beginning of the path of a file for the times of all operators, on the processor.
        fetch: names of the values that a run returns, in this order: outputs, inner values and
            inputs alike; None for all outputs.
        arena: whether the memory of a run is kept for the next one.

    Raises:
        DataError: `fetch` names a value that the network does not compute.
        UnsupportedError: onnxruntime does not accept the graph.
    """

    def __init__(
        self,
        network: Network,
        threads: int | None = None,
        profile: Path | None = None,
        *,
        fetch: Sequence[str] | None = None,
        arena: bool = True,
    ):
        self.network = network
        self._inputs = network.inputs
        inner = _inner_values(network, fetch or ())
        self._dtypes = {str(value.name): _numpy_type(value) for value in network.graph.inputs}
        self._fetched = list(network.outputs if fetch is None else dict.fromkeys(fetch))
        self._computed = [n for n in self._fetched if n in network.outputs or n not in self._inputs]
        options = _options(threads or cores())
        options.enable_cpu_mem_arena = arena
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        model, arrays = _split(network.model, inner)
        self._weights = [onnxruntime.OrtValue.ortvalue_from_numpy(a) for a in arrays.values()]
        make = partial(session_of, model.SerializeToString(), options)
        chosen = PROCESSOR if profile is not None else devices()
        self.on_processor = not chosen.places
        self._session: onnxruntime.InferenceSession | OnDevices
        try:
            if arrays:
                options.add_external_initializers(list(arrays), self._weights)
            self._session = (
                make([CPU_PROVIDER]) if self.on_processor
                else OnDevices(chosen, make, network.name)
            )  # fmt: skip
        except ERRORS as error:
            raise UnsupportedError(
                f"onnxruntime does not accept network '{network.name}': {reason_of(error)}"
            ) from error

    def __repr__(self) -> str:
        """Return a short text."""
        return brief(self, repr(self.network.name))

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Compute all outputs, or the values that the session was made to fetch.

        A network whose batch is fixed runs once a slice; its outputs are joined along axis 0.

        Args:
            feeds: every input by its name, as `Network.inputs` describes them (N×C×H×W). Other
                types of numbers are converted to float32.

        Returns:
            every output by its name, in the order of the network; or every value to fetch, in the
            order asked for.

        Raises:
            DataError: an input is missing, unknown, of another shape or not numeric.
            UnsupportedError: onnxruntime failed at this network.
        """
        return self.prepare(feeds)()

    def prepare(self, feeds: Mapping[str, np.ndarray]) -> Callable[[], Arrays]:
        """Check inputs once, and return a function that runs on them as often as it is called.

        It is meant for timing. For arguments and errors see :meth:`run`.
        """
        arrays = self._checked(feeds)
        count = self._slices(arrays)
        slices = [
            {
                name: array[i * len(array) // count : (i + 1) * len(array) // count]
                if array.ndim
                else array
                for name, array in arrays.items()
            }
            for i in range(count)
        ]
        if count == 1:
            return lambda: self._execute(slices[0])
        return lambda: _joined([self._execute(part) for part in slices])

    def end_profile(self) -> Path:
        """Write the profile (JSON, Chrome's trace format) and return the path of its file."""
        assert not isinstance(self._session, OnDevices), "profiles are of the processor"
        return Path(self._session.end_profiling())

    def _execute(self, arrays: Arrays) -> Arrays:
        try:  # an empty list would ask onnxruntime for everything
            results = self._session.run(self._computed, arrays) if self._computed else []
        except ERRORS as error:
            raise UnsupportedError(
                f"onnxruntime failed at network '{self.network.name}': {reason_of(error)}"
            ) from error
        found = dict(zip(self._computed, results, strict=True))
        return {name: found[name] if name in found else arrays[name] for name in self._fetched}

    def _checked(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Return the inputs in the network's order and types."""
        name = self.network.name
        expected = ", ".join(f"'{i}' ({shape_text(s)})" for i, s in self._inputs.items())
        if missing := [i for i in self._inputs if i not in feeds]:
            raise DataError(
                f"input '{missing[0]}' of network '{name}' is missing", hint=f"it takes {expected}"
            )
        if unknown := [i for i in feeds if i not in self._inputs]:
            raise DataError(
                f"network '{name}' has no input '{unknown[0]}'", hint=f"it takes {expected}"
            )
        return {i: self._fitted(i, feeds[i]) for i in self._inputs}

    def _fitted(self, name: str, data: np.ndarray) -> np.ndarray:
        wanted = self._inputs[name]
        array = np.asarray(data)
        if array.dtype.kind not in "biuf":
            raise DataError(f"input '{name}' holds {array.dtype}, not numbers")
        if not sample_fits(array.shape, wanted):
            raise DataError(
                f"input '{name}' must be {shape_text(wanted)}, but is {shape_text(array.shape)}"
            )
        if array.size == 0:
            raise DataError(f"input '{name}' is empty ({shape_text(array.shape)})")
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(array, dtype=self._dtypes[name])

    def _slices(self, arrays: Arrays) -> int:
        """Return how many runs the data takes: one, unless the network fixes a smaller batch."""
        batches = {name: shape[0] for name, shape in self._inputs.items() if shape}
        fixed = {name: batch for name, batch in batches.items() if isinstance(batch, int)}
        for name, batch in fixed.items():
            if len(arrays[name]) % batch:
                raise DataError(
                    f"network '{self.network.name}' takes batches of {batch}, but input '{name}' "
                    f"has {len(arrays[name])} samples",
                    hint=f"give a multiple of {batch} samples",
                )
        counts = {name: len(arrays[name]) // batch for name, batch in fixed.items()}
        free = {n: len(a) for n, a in arrays.items() if n not in fixed and a.ndim}
        if len(set(counts.values())) > 1 or len(set(free.values())) > 1:
            sizes = ", ".join(f"'{name}' has {len(a)}" for name, a in arrays.items() if a.ndim)
            raise DataError(f"the inputs have different numbers of samples: {sizes}")
        count = next(iter(counts.values()), 1)
        for name, samples in free.items():
            if samples % count:
                raise DataError(f"the {samples} samples of input '{name}' do not divide by {count}")
        return count


def optimized(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a small model as onnxruntime optimizes it for this machine: fused, in its layouts."""
    options = _options(1)
    with tempfile.TemporaryDirectory(prefix="secateur-") as folder:
        path = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[CPU_PROVIDER])
        return onnx.load(path)


def raw_runner(model: onnx.ModelProto, threads: int | None = None) -> Callable[[], object]:
    """Return what runs a small model once, on noise of the sizes of its inputs, which are fixed.

    Args:
        model: the model.
        threads: threads of a run; None for all cores of this process.
    """
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), _options(threads or cores()), providers=[CPU_PROVIDER]
    )
    random = np.random.default_rng(0)
    feeds = {value.name: random.random(value.shape, np.float32) for value in session.get_inputs()}
    return lambda: session.run(None, feeds)


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    # Two sessions often take turns. Threads of one that spin while they wait take the cores from
    # the other: times of equal networks then differed up to tenfold, otherwise by a few percent.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _inner_values(network: Network, names: Sequence[str]) -> list[ir.Value]:
    """Return those of some values that are neither inputs nor outputs.

    Raises:
        DataError: no node makes a value of that name.
    """
    made = {str(value.name): value for node in network.graph for value in node.outputs}
    inner = []
    for name in dict.fromkeys(names):
        if name in network.inputs or name in network.outputs:
            continue
        if name not in made:
            raise DataError(f"network '{network.name}' computes no value '{name}'")
        inner.append(made[name])
    return inner


def _split(model: ir.Model, inner: Sequence[ir.Value] = ()) -> tuple[onnx.ModelProto, Arrays]:
    """Return the model with its large initializers declared external, and these arrays.

    Args:
        model: the model.
        inner: inner values that become outputs as well.
    """
    source = model.graph
    proto = onnx.ModelProto(ir_version=model.ir_version, producer_name="secateur")
    for domain, version in source.opset_imports.items():
        proto.opset_import.add(domain=domain, version=version)
    graph = proto.graph
    graph.name = source.name or "graph"
    graph.node.extend(_without_blanks(ir.serde.serialize_node(node)) for node in source)
    graph.input.extend(ir.serde.serialize_value(value) for value in source.inputs)
    graph.output.extend(ir.serde.serialize_value(value) for value in (*source.outputs, *inner))
    arrays: Arrays = {}
    read = {value.name for value in source.outputs}
    for node in source:
        read.update(value.name for value in node.inputs if value is not None)
        read.update(captured(node))
    for name, value in source.initializers.items():
        tensor = value.const_value
        assert tensor is not None, f"initializer {name} has no data"
        if name not in read:
            continue  # onnxruntime drops it, and would then miss the external data declared for it
        # Integers are sizes and axes, which shape inference must be able to read.
        if tensor.nbytes <= INLINE_BYTES or not tensor.dtype.is_floating_point():
            graph.initializer.append(onnx.numpy_helper.from_array(tensor.numpy(), name))
            continue
        array = np.require(tensor.numpy(), requirements=["C", "A"])
        arrays[name] = array
        declared = graph.initializer.add(name=name, dims=array.shape, data_type=tensor.dtype.value)
        declared.data_location = onnx.TensorProto.EXTERNAL
        declared.external_data.add(key="location", value="in-memory")
    return proto, arrays


def _without_blanks(node: onnx.NodeProto) -> onnx.NodeProto:
    """Return a node without the empty names of optional inputs at the end of its list.

    Such names mean nothing, but onnxruntime does not fuse a node that has them or compute it in its
    blocked layout. Measured: small detectors run up to twice as fast without (docs/data.md).
    """
    while node.input and not node.input[-1]:
        del node.input[-1]
    return node


def _numpy_type(value: ir.Value) -> np.dtype:
    return (value.dtype or ir.DataType.FLOAT).numpy()


def _joined(parts: list[Arrays]) -> Arrays:
    return {
        name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]
    }
