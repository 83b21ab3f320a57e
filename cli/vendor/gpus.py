"""The GPUs that command lines and configs of the vendor name: the devices that networks run on."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..device import teller

if TYPE_CHECKING:
    from ..terminal import Terminal

__all__ = ["idle_gpus", "use_gpus"]

TRAINING = "finetune takes a GPU where PyTorch sees one"


def use_gpus(terminal: Terminal, written: str, numbers: str, held: ExitStack) -> None:
    """Run networks on GPUs from here on, where ONNX Runtime can; else say why not.

    Args:
        terminal: what is told of them.
        written: the option as it stands there, for notes: `-gpus 0,1`.
        numbers: its value.
        held: what leaves them.
    """
    import secateur

    try:
        device = secateur.gpu_device(numbers)
    except secateur.PlanError:
        terminal.note(f"note: {written} is not used: it is no list of numbers like 0,1; {TRAINING}")
        return
    if device is None:
        terminal.note(
            f"note: {written} is not used: this ONNX Runtime has no provider for GPUs "
            f"(pip install 'secateur[gpu]'); {TRAINING}"
        )
        return
    chosen = held.enter_context(secateur.using_device(device, tell=teller(terminal)))
    if chosen.places:
        terminal.note(f"note: {written}: networks run on {chosen.text}")


def idle_gpus(terminal: Terminal, written: str) -> None:
    """Say that GPUs have nothing to do: no network runs."""
    terminal.note(f"note: {written} is not used: no network runs here")
