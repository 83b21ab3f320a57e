"""Which residual blocks can leave at what cost: measured, with closed-form adaptors."""

from .choose import Choice, choose_blocks
from .measure import BlockLoss, FeatureMeter, measure_blocks, shares_of

__all__ = ["BlockLoss", "Choice", "FeatureMeter", "choose_blocks", "measure_blocks", "shares_of"]
