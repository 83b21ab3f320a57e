"""The arithmetic with which networks are usually trained: means of channels, and a scale.

Sources: BVLC's model zoo (104, 117, 123); its MobileNet (103.94, 116.78,
123.68 and 0.017); MobileNet-SSD (127.5 and 0.007843); Keras, LeNet and many detectors (0 to 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["USUAL", "Arithmetic"]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What is done to 8-bit pixels.

    Args:
        mean: of blue, green and red; one number for all; empty for none.
        scale: multiplied afterwards.
    """

    mean: tuple[float, ...] = ()
    scale: float = 1.0

    def means(self, channels: str) -> tuple[float, ...]:
        """Return the means in an order of channels: "bgr", "rgb" or "gray"."""
        if len(self.mean) < 3:
            return self.mean
        if channels == "gray":
            return (round(sum(self.mean) / len(self.mean), 3),)
        return self.mean[::-1] if channels == "rgb" else self.mean


USUAL: Mapping[str, Arithmetic] = {
    "raw": Arithmetic(),
    "unit": Arithmetic(scale=1 / 255),
    "signed": Arithmetic(mean=(127.5,), scale=1 / 127.5),
    "imagenet": Arithmetic(mean=(104.0, 117.0, 123.0)),
    "mobilenet": Arithmetic(mean=(103.94, 116.78, 123.68), scale=0.017),
}
"""Name → what is done; `--preprocess` takes these names, and `auto` tries them in this order."""
