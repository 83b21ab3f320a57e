"""The times of layers before and after, as a report tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..cost.layer_latency import layer_latencies
from ..errors import UnsupportedError
from ..ir.network import Network
from ..ir.windows import restored
from ..progress import Progress, silent
from ..verify.small_input import within_memory

__all__ = ["LayersTimed", "layer_times"]

SECONDS = 2.0
"""So long the runs of a network take, about; its profile needs no more to be steady."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayersTimed:
    """Milliseconds of layers on this machine, one sample.

    Args:
        before: name of a layer → its time in the model before; fused layers count for the main one.
        after: the same of the model after; empty where there is none.
        smaller: whether they were measured on a smaller input than that of the files, since theirs
            would fill the memory.
        missing: why there are none, in words; "" where there are.
    """

    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)
    smaller: bool = False
    missing: str = ""


def layer_times(
    before: Network, after: Network | None = None, *, progress: Progress = silent
) -> LayersTimed:
    """Measure the layers of one model, or of two.

    Args:
        before: the model before.
        after: the model after.
        progress: told about every run.

    Returns:
        the times; or why onnxruntime tells none.
    """
    own = [restored(network) for network in (before, after) if network is not None]
    measured = within_memory(*own)
    try:
        found = [
            layer_latencies(network, seconds=SECONDS, progress=progress) for network in measured
        ]
    except UnsupportedError as error:
        return LayersTimed(missing=error.message)
    return LayersTimed(
        before=found[0],
        after=found[1] if len(found) > 1 else {},
        smaller=measured[0] is not own[0],
    )
