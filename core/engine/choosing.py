"""Choosing devices: what is asked for, what ONNX Runtime offers, and what of that works."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata

from .device import AUTO, PROVIDERS, Device, Place, Provider, offered, provider_of
from .placement import PROCESSOR, Devices, Tell, devices, here

__all__ = ["ELSEWHERE", "device_names", "found", "gpu_device", "using_device"]

GPUS = ("cuda", "rocm", "migraphx", "dml")
"""Names of the providers whose devices are GPUs by their numbers, in the order of preference."""

ELSEWHERE = "networks run on the processor"
"""What notes say of a device that is not there."""


@contextmanager
def using_device(device: str | Device | None, *, tell: Tell | None = None) -> Iterator[Devices]:
    """Run networks on a device within a block.

    It holds for the thread that enters the block, and for the work that secateur itself gives to
    other threads and processes. A device that is not there or does not work is told of, and
    networks run on the processor. Latencies and verifications stay on the processor. Results
    differ from those of the processor by rounding (docs/devices.md).

    Args:
        device: `cpu`, `auto`, or the name of a provider of ONNX Runtime with numbers of its
            devices: `cuda`, `cuda:1`, `cuda:0,1`. None changes nothing.
        tell: called with what users should know, each once; None for Python's warnings.

    Raises:
        PlanError: there is no such device anywhere.
    """
    if device is None:
        yield devices()
        return
    asked = Device.parse(device) if isinstance(device, str) else device
    chosen = PROCESSOR if asked.is_processor else found(asked, tell)
    with here(chosen):
        yield chosen


def found(asked: Device, tell: Tell | None = None, first: int = 0) -> Devices:
    """Return the devices that are asked for and work; the processor where none does.

    Args:
        asked: what is asked for; not the processor.
        tell: told of what is not there.
        first: as for :class:`Devices`.

    Raises:
        PlanError: there is no such device anywhere.
    """
    told = Devices((), tell)
    there = offered()
    if asked.name == AUTO:
        working = _first_that_works(there, told)
    else:
        working = _asked_for(asked, there, told)
    if not working:
        return told
    chosen = Devices(working, tell, first % len(working))
    chosen.notes.extend(told.notes)
    if asked.name == AUTO:
        chosen.note(f"device auto: networks run on {chosen.text}")
    return chosen


def gpu_device(numbers: str) -> str | None:
    """Return the device that GPUs by their numbers are, for :func:`using_device`.

    Args:
        numbers: of GPUs, as in "0,1"; "" for the usual one.

    Returns:
        None where the ONNX Runtime that is installed runs on no GPU.

    Raises:
        PlanError: these are no numbers.
    """
    listed = ",".join(part.strip() for part in numbers.split(",") if part.strip())
    Device.parse(f"{GPUS[0]}:{listed}" if listed else GPUS[0])
    there = offered()
    for name in GPUS:
        if PROVIDERS[name].official in there:
            return f"{name}:{listed}" if listed else name
    return None


def device_names() -> Iterator[tuple[str, str]]:
    """Yield the names of devices beside the processor, those that are here first, and what each is.

    It does not tell whether they work.
    """
    there = offered()
    for row in sorted(PROVIDERS.values(), key=lambda one: one.official not in there):
        numbered = f"; {row.name}:1 for the second one" if row.number else ""
        if row.official in there:
            yield row.name, f"{row.official}{numbered}"
        else:
            yield row.name, f"{row.official}, which is not here: {row.package}"


def _first_that_works(there: Sequence[str], told: Devices) -> tuple[Place, ...]:
    """Return the first accelerator that is offered and works; () where there is none."""
    rows = [one for one in PROVIDERS.values() if one.rank and one.official in there]
    failed: list[str] = []
    for row in sorted(rows, key=lambda one: (one.rank, there.index(one.official))):
        places, faults = _working(Device(row.name).places(row))
        failed.extend(faults)
        if places:
            for text in failed:
                told.note(f"{text}; {places[0].label} is taken")
            return places
    reason = "; ".join(failed) or "this ONNX Runtime offers no accelerator"
    told.note(f"device auto: {reason}; {ELSEWHERE}")
    return ()


def _asked_for(asked: Device, there: Sequence[str], told: Devices) -> tuple[Place, ...]:
    """Return the devices of a provider that work; () where it is not there or none does."""
    row = provider_of(asked.name)
    if row.official not in there:
        told.note(
            f"device {asked.text}: this ONNX Runtime has no {row.official}; {ELSEWHERE} "
            f"({_advice(row)})"
        )
        return ()
    working, faults = _working(asked.places(row))
    then = "it is left out" if working else ELSEWHERE
    for text in faults if working else ["; ".join(faults)]:
        told.note(f"{text}; {then}")
    return working


def _advice(row: Provider) -> str:
    """Return how the provider is got."""
    if row.official in ("CUDAExecutionProvider", "TensorrtExecutionProvider"):
        try:
            metadata.distribution("onnxruntime-gpu")
        except metadata.PackageNotFoundError:
            return row.package
        # Both packages have the same folder: the one that was installed last counts.
        return "pip install --force-reinstall --no-deps onnxruntime-gpu: onnxruntime lies over it"
    return row.package


def _working(places: Sequence[Place]) -> tuple[tuple[Place, ...], list[str]]:
    """Return the devices that compute a tiny network right, and why each other one does not."""
    from .trial import fault  # ONNX Runtime takes a moment to load

    working, faults = [], []
    for place in places:
        reason = fault(place)
        if reason:
            faults.append(f"device {place.label} does not work: {reason.rstrip('.')}")
        else:
            working.append(place)
    return tuple(working), faults
