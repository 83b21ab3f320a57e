"""What pruning gives: the network, the plan that made it, and everything a report needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..brief import brief
from ..coupling.indices import Unit
from ..ir.network import Network
from ..markup import notebook
from ..plan.plan import Plan, plan_table
from ..plan.state import RemovedStep
from ..repair.sequence import RepairRecord, repairs_table

__all__ = ["Inexact", "PruneResult", "Verification"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """A numeric test that masked = dense.

    Args:
        difference: largest relative difference of any output.
        inputs: name of the data, or "noise".
        samples: how many samples.
    """

    difference: float
    inputs: str
    samples: int

    def to_data(self) -> dict[str, Any]:
        """Return plain values, as a plan stores them."""
        return {
            "masked_equals_dense": self.difference,
            "inputs": self.inputs,
            "samples": self.samples,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Inexact:
    """How much it changes that sums over neighbouring channels close up over removed ones.

    The dense network is compared with the full-size one in which removed channels are zero in their
    places, as they would be if nothing summed over neighbours.

    Args:
        through: the layers that sum.
        value: the output, or the input of a softmax and its like, that differs most.
        difference: largest difference of that, relative to its largest value.
        inputs: name of the data, or "noise".
        samples: how many samples.
    """

    through: tuple[str, ...]
    value: str
    difference: float
    inputs: str
    samples: int

    @property
    def note(self) -> str:
        """What users should know, in words."""
        names = ", ".join(f"'{name}'" for name in self.through)
        return (
            f"not exact through {names}: channels have other neighbours there, which changes "
            f"'{self.value}' by up to {self.difference:.1e} of its largest value ({self.samples} "
            f"samples of {self.inputs})"
        )

    def to_data(self) -> dict[str, Any]:
        """Return plain values, as a plan stores them."""
        return {
            "through": list(self.through),
            "value": self.value,
            "difference": self.difference,
            "inputs": self.inputs,
            "samples": self.samples,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class PruneResult:
    """A pruned network and how it came about.

    Args:
        network: the dense network; at full size with zeros where that was asked for.
        plan: which channels were removed, with provenance.
        verification: that the dense network computes what the masked one does.
        repairs: the repairs that were tried, in their order.
        history: the steps in the order in which they were removed, with their estimated losses.
        notes: what the user should know.
        dense: where `network` has its full size, the network without its zeros.
    """

    network: Network
    plan: Plan
    verification: Verification
    repairs: tuple[RepairRecord, ...] = ()
    history: tuple[RemovedStep, ...] = ()
    notes: tuple[str, ...] = ()
    dense: Network | None = None

    def __repr__(self) -> str:
        """Return a short text."""
        return brief(self, self.plan, f"{len(self.history)} steps", f"{len(self.notes)} notes")

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        found = self.verification
        about = (
            f"Pruned network '{self.network.name}': masked = dense within {found.difference:.1e} "
            f"on {found.samples} samples of {found.inputs}"
        )
        repairs = [repairs_table(self.repairs)] if self.repairs else []
        return notebook(plan_table(self.plan), *repairs, about=" · ".join((about, *self.notes)))

    def to_data(self) -> dict[str, Any]:
        """Return all but networks and plan as plain values, for :meth:`from_data`."""
        return {
            "verification": self.verification.to_data(),
            "repairs": [record.to_data() for record in self.repairs],
            "history": [
                [list(map(int, step.units)), None if step.loss is None else float(step.loss)]
                for step in self.history
            ],
            "notes": list(self.notes),
        }

    @classmethod
    def from_data(
        cls, content: Mapping[str, Any], network: Network, plan: Plan, dense: Network | None = None
    ) -> PruneResult:
        """Return a result that was kept.

        Args:
            content: what :meth:`to_data` gave.
            network: as it was written.
            plan: likewise.
            dense: the network without its zeros, where it was written with them.

        Raises:
            KeyError, TypeError, ValueError: the content is of another kind.
        """
        found = content["verification"]
        return cls(
            network=network,
            plan=plan,
            verification=Verification(
                difference=float(found["masked_equals_dense"]), inputs=found["inputs"],
                samples=int(found["samples"]),
            ),
            repairs=tuple(map(RepairRecord.from_data, content["repairs"])),
            history=tuple(
                RemovedStep(tuple(map(Unit, units)), loss) for units, loss in content["history"]
            ),
            notes=tuple(content["notes"]),
            dense=dense,
        )  # fmt: skip
