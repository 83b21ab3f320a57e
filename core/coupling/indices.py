"""Types of labels, units and positions, so that a type checker tells them apart.

Channels are named in several ways at once:

- a *label* is one channel that a node produces;
- a *unit* is a set of labels that can only be removed together, and `Groups.units` maps label to
  unit;
- a *position* is the place of a unit in its group, `group.units[position]`.

At run time all of them are integers, and a mask over units looks like a mask over labels.
"""

from __future__ import annotations

from typing import NewType

import numpy as np
import numpy.typing as npt

__all__ = ["LabelMask", "LabelVector", "Position", "Unit", "UnitMask", "UnitVector"]

LabelVector = npt.NDArray[np.int64]
"""Labels, in an array of any shape."""

LabelMask = NewType("LabelMask", npt.NDArray[np.bool_])
"""One truth for each label, [labels]."""

UnitVector = NewType("UnitVector", npt.NDArray[np.int64])
"""Units, in an array of any shape."""

UnitMask = NewType("UnitMask", npt.NDArray[np.bool_])
"""One truth for each unit, [units]."""

Unit = NewType("Unit", int)
"""An index into a :data:`UnitMask`."""

Position = NewType("Position", int)
"""An index into the units of a group."""
