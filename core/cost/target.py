"""A target: the engine that a pruned network is for, and what it makes of numbers of channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import PlanError

__all__ = ["LARGEST_BLOCK", "Target"]

LARGEST_BLOCK = 4096
"""Largest number of channels that an engine may compute together. No known one has over 128."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """An engine with its blocks of channels. A layer costs ⌈inputs / ICP⌉ · ⌈outputs / OCP⌉ blocks.

    Args:
        name: name for users.
        summary: what it is, in one line.
        inputs: ICP, the input channels that are computed together; 1 where no block is documented.
        outputs: OCP, the output channels that are computed together; 1 where no block is
            documented.
        readers: format → the tool and its releases that read it.
        refuses: format → types of layers that this tool cannot read.
        sources: where the numbers and the rest come from.
        missing: what is not documented, in words.

    Raises:
        PlanError: a block is out of range.
    """

    name: str
    summary: str = ""
    inputs: int = 1
    outputs: int = 1
    readers: Mapping[str, str] = field(default_factory=dict)
    refuses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, block in (("inputs", self.inputs), ("outputs", self.outputs)):
            if not 1 <= block <= LARGEST_BLOCK:
                raise PlanError(
                    f"a block of {what} has 1 to {LARGEST_BLOCK} channels, not {block}",
                    hint="what the engine computes at once: 8 or 16, say",
                )

    @property
    def blocks(self) -> tuple[int, int]:
        """Channels computed together, of inputs and of outputs."""
        return self.inputs, self.outputs

    def to_data(self) -> dict[str, Any]:
        """Return plain values for YAML and JSON; those that are empty are left out."""
        found = {
            "name": self.name,
            "summary": self.summary,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "readers": dict(self.readers),
            "refuses": {key: list(types) for key, types in self.refuses.items()},
            "sources": list(self.sources),
            "missing": list(self.missing),
        }
        return {key: value for key, value in found.items() if value}

    def recorded(self) -> dict[str, Any]:
        """Return what decides a choice of channels, for plans."""
        return {"name": self.name, "inputs": self.inputs, "outputs": self.outputs}
