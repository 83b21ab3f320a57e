"""Devices by the names that users write, and what ONNX Runtime is asked for to run on them.

ONNX Runtime is loaded only for names that nobody knows here: they are read before anything runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ..errors import PlanError, names_hint

__all__ = [
    "AUTO",
    "CPU_PROVIDER",
    "PROVIDERS",
    "Device",
    "DeviceOptions",
    "Place",
    "Provider",
    "offered",
    "provider_of",
]

AUTO = "auto"
"""The device that is the first accelerator of the machine."""

CPU_PROVIDER = "CPUExecutionProvider"

SUFFIX = "ExecutionProvider"
"""Ends the names of ONNX Runtime's providers."""

FORM = re.compile(r"([a-z0-9_]+)(?::([0-9]+(?:,[0-9]+)*))?")
"""A name, and numbers of devices behind a colon."""

LARGEST = 1 << 16
"""Numbers of devices are smaller: a longer one is a mistake that a library might wrap around."""

NVIDIA = "pip install 'secateur[gpu]', for NVIDIA"

CUDA: Mapping[str, str] = {
    # Products in TF32 have 10 bits of a float32's 23: a thousandth instead of a ten-millionth.
    "use_tf32": "0",
    # The usual search times algorithms anew for every size, and takes another one from run to run.
    "cudnn_conv_algo_search": "HEURISTIC",
    # Many small sessions exist at once. The usual arena doubles what it holds.
    "arena_extend_strategy": "kSameAsRequested",
}
"""Source: ONNX Runtime's documentation of the CUDA execution provider."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """An execution provider of ONNX Runtime.

    Args:
        official: its name there.
        options: what it is told, beside the number of the device.
        number: the option that takes the number of the device; "" where it has no numbers.
        form: how the number is written in it.
        package: what brings it, for people.
        rank: place in the order in which `auto` asks for it, the lowest first; 0 for never.
        beside: official names of providers that take what it leaves, before the processor.
        alone: whether a session of it must not run in two threads at once.
    """

    official: str
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    number: str = ""
    form: str = "{}"
    package: str = "an ONNX Runtime that was built with it"
    rank: int = 0
    beside: tuple[str, ...] = ()
    alone: bool = False

    @property
    def name(self) -> str:
        """The name that users write."""
        return self.official.removesuffix(SUFFIX).lower()

    def told(self, number: int | None) -> dict[str, str]:
        """Return what it is told for a device; None for the one that it takes by itself."""
        chosen = {self.number: self.form.format(number)} if number is not None else {}
        return {**self.options, **chosen}


PROVIDERS: Mapping[str, Provider] = {
    one.name: one
    for one in (
        Provider(
            official="CUDAExecutionProvider", number="device_id", options=CUDA, rank=1,
            package=NVIDIA,
        ),
        Provider(
            official="ROCMExecutionProvider", number="device_id", rank=1,
            package="pip install onnxruntime-rocm, for AMD",
        ),
        Provider(
            official="MIGraphXExecutionProvider", number="device_id", rank=2,
            package="pip install onnxruntime-migraphx, for AMD",
        ),
        Provider(
            official="DmlExecutionProvider", number="device_id", rank=1, alone=True,
            package="pip install onnxruntime-directml, on Windows",
        ),
        Provider(
            # The form of neural networks computes in 16 bits, and so does the neural engine.
            official="CoreMLExecutionProvider", rank=2,
            options={"ModelFormat": "MLProgram", "MLComputeUnits": "CPUAndGPU"},
            package="onnxruntime on macOS",
        ),
        Provider(
            # GPUs of Intel compute in 16 bits where nobody says otherwise.
            official="OpenVINOExecutionProvider", number="device_type", form="GPU.{}", rank=2,
            options={"device_type": "GPU", "precision": "FP32"},
            package="pip install onnxruntime-openvino, for Intel",
        ),
        Provider(
            # Its usual mode computes in 16 bits.
            official="CANNExecutionProvider", number="device_id", rank=2,
            options={"precision_mode": "must_keep_origin_dtype"},
            package="pip install onnxruntime-cann, for Ascend",
        ),
        Provider(official="WebGpuExecutionProvider", rank=2),
        Provider(
            # It is listed wherever CUDA is, and builds an engine for every network for minutes.
            official="TensorrtExecutionProvider", number="device_id", rank=3,
            beside=("CUDAExecutionProvider",), package=f"{NVIDIA}, and TensorRT",
        ),
        Provider(
            official="NvTensorRTRTXExecutionProvider", number="device_id", rank=3,
            beside=("CUDAExecutionProvider",),
        ),
        Provider(official="QNNExecutionProvider", package="pip install onnxruntime-qnn"),
        # These are other ways of computing on the processor.
        Provider(official="DnnlExecutionProvider"),
        Provider(official="XnnpackExecutionProvider"),
        Provider(official="ACLExecutionProvider"),
        Provider(official="ArmNNExecutionProvider"),
    )
}  # fmt: skip
"""What users write → the provider. Source of the options: ONNX Runtime's documentation of each.

One that is not here can be asked for as well, where the ONNX Runtime that is installed has it: it
is told nothing, and has no numbers.
"""


def offered() -> tuple[str, ...]:
    """Return the official names of the providers that the ONNX Runtime that is installed has."""
    import onnxruntime  # most commands run on the processor, and need not know

    return tuple(onnxruntime.get_available_providers())


def provider_of(name: str) -> Provider:
    """Return the provider of a name: of the table, or of the ONNX Runtime that is installed.

    Raises:
        PlanError: there is none.
    """
    if name in PROVIDERS:
        return PROVIDERS[name]
    here = {official.removesuffix(SUFFIX).lower(): official for official in offered()}
    if name in here:
        return Provider(official=here[name])
    known = dict.fromkeys((AUTO, "cpu", *PROVIDERS, *here))
    raise _refused(f"there is no device '{name}'", names_hint(name, list(known)))


@dataclass(frozen=True, slots=True)
class Place:
    """One device: what sessions on it are made with.

    Args:
        name: of its provider, as users write it.
        number: of the device; None for the one that the provider takes by itself.
        provider: official name of its provider.
        providers: all that ONNX Runtime is asked for, in order, each with what it is told.
        alone: whether a session must not run in two threads at once.
    """

    name: str
    number: int | None
    provider: str
    providers: tuple[tuple[str, Mapping[str, str]], ...]
    alone: bool = False

    @property
    def label(self) -> str:
        """What it is called: cuda:1."""
        return self.name if self.number is None else f"{self.name}:{self.number}"

    def asked(self) -> list[tuple[str, dict[str, str]]]:
        """Return what ONNX Runtime is asked for, in its form."""
        return [(name, dict(told)) for name, told in self.providers]


@dataclass(frozen=True, slots=True)
class Device:
    """Where networks run, as users ask for it.

    Args:
        name: cpu, auto, or the name of a provider.
        numbers: of its devices; () for the one that the provider takes by itself.
    """

    name: str = "cpu"
    numbers: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Device:
        """Return what a text like `cpu`, `auto`, `cuda`, `cuda:1` or `cuda:0,1` asks for.

        Raises:
            PlanError: it is none of these, or no provider is called so.
        """
        written = text.strip().lower()
        found = FORM.fullmatch(written)
        if found is None:
            raise _refused(f"'{text}' is no device", "auto, cpu, cuda, cuda:1 or cuda:0,1")
        name, numbers = found[1].removesuffix(SUFFIX.lower()), found[2]
        listed = tuple(int(number) for number in numbers.split(",")) if numbers else ()
        if listed and (name in ("cpu", AUTO) or not provider_of(name).number):
            raise _refused(f"{name} has no numbers, got '{text}'", name)
        if len(set(listed)) < len(listed):
            raise _refused(f"'{text}' names a device twice", "each once")
        if any(number >= LARGEST for number in listed):
            raise _refused(f"there is no device {max(listed)}", "numbers start from 0")
        if name not in ("cpu", AUTO):
            provider_of(name)
        return cls(name, listed)

    @property
    def text(self) -> str:
        """What users write for it."""
        return self.name + (f":{','.join(map(str, self.numbers))}" if self.numbers else "")

    @property
    def is_processor(self) -> bool:
        """Whether it is the processor, as ONNX Runtime runs on it by itself."""
        return self.name == "cpu"

    def places(self, provider: Provider) -> tuple[Place, ...]:
        """Return its devices, each with what ONNX Runtime is asked for."""
        chosen: tuple[int | None, ...] = self.numbers or (None,)
        return tuple(_place(provider, number) for number in chosen)


def _place(provider: Provider, number: int | None) -> Place:
    """Return one device of a provider."""
    helpers = [PROVIDERS[name.removesuffix(SUFFIX).lower()] for name in provider.beside]
    asked = [(one.official, one.told(number)) for one in (provider, *helpers)]
    told = (*asked, (CPU_PROVIDER, {}))
    return Place(provider.name, number, provider.official, told, provider.alone)


def _refused(message: str, hint: str) -> PlanError:
    return PlanError(message, hint=hint, option="device")


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Where a command runs networks.

    Raises:
        PlanError: there is no such device anywhere.
    """

    device: str = "cpu"
    """Where networks run, with ONNX Runtime: cpu, cuda, cuda:1, cuda:0,1 and so on, by the names of
    its providers. auto: the first accelerator that it offers."""

    def __post_init__(self) -> None:
        Device.parse(self.device)
