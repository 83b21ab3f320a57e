"""Options of opening data: how it is read, and how images become inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from ..errors import DataError, nearest_hint
from .usual import USUAL

if TYPE_CHECKING:  # options load without what reads data
    from ..ir.network import Preprocess

__all__ = ["AUTOMATIC", "CHANNELS", "LIKE", "DataOptions"]

CHANNELS = ("bgr", "rgb", "gray")
"""Orders of the channels of an image."""

AUTOMATIC = "auto"
"""Tries the usual preprocessing on labelled data."""

LIKE = "like="
"""Begins the name of a file that says how images become inputs."""


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How data is read and made into inputs. What is not given is as the network's files say.

    Raises:
        DataError: an option is out of range.
    """

    mean: Sequence[float] | None = None
    """Images: subtract this value from every pixel; one for all channels, or one per channel."""

    mean_file: str | PathLike[str] | None = None
    """Images: subtract this mean image (.binaryproto or .npy)."""

    scale: float | None = None
    """Images: multiply by this, after the mean is subtracted."""

    channels: str | None = None
    """Images: order of the channels."""

    letterbox: bool | None = None
    """Images: keep the aspect ratio and pad with grey, or stretch to the size of the input."""

    resize: Sequence[int] | None = None
    """Images: resize the short side to this, or to height and width, then cut out the centre."""

    crop: bool = False
    """Images: cut out the centre without resizing."""

    preprocessing: str | None = None
    """Images: what the flags above change parts of: as a file says (like=FILE, a train_val or a
    plan), as is usual (raw, unit, signed, imagenet, mobilenet), or auto: as fits labelled data
    best."""

    root: str | PathLike[str] | None = None
    """Folder that relative paths in lists and annotations start from."""

    names: str | PathLike[str] | None = None
    """File with the names of the classes in their order, one per line."""

    ignore_label: int | None = None
    """Maps of classes: pixels of this class do not count. Those of class 255 never do."""

    batch: int | None = None
    """Samples per batch. If not given, it is chosen automatically."""

    limit: int | None = None
    """Use only this many samples, from the start."""

    def __post_init__(self) -> None:
        self._check_preprocessing()
        if self.channels is not None and self.channels not in CHANNELS:
            raise DataError(
                f"channels must be {', '.join(CHANNELS[:-1])} or {CHANNELS[-1]}", option="channels"
            )
        if self.resize is not None and not (
            len(self.resize) in (1, 2) and all(size > 0 for size in self.resize)
        ):
            raise DataError("sizes are one or two positive numbers", option="resize")
        if self.letterbox and (self.crop or self.resize is not None):
            raise DataError(
                "letterbox keeps the whole image, crop and resize cut it: give one of them",
                option="letterbox",
            )
        if self.ignore_label is not None and self.ignore_label < 0:
            raise DataError(f"classes count from 0, got {self.ignore_label}", option="ignore_label")
        if self.batch is not None and self.batch < 1:
            raise DataError(
                f"a batch must hold at least one sample, not {self.batch}", option="batch"
            )
        if self.limit is not None and self.limit < 1:
            raise DataError(
                f"the limit must be at least one sample, not {self.limit}", option="limit"
            )

    def _check_preprocessing(self) -> None:
        """Raise if the preprocessing is neither a file nor a name."""
        asked = self.preprocessing
        if asked is None or asked.removeprefix(LIKE) != asked != LIKE:
            return
        names = (AUTOMATIC, *USUAL)
        if asked not in names:
            raise DataError(
                f"there is no preprocessing '{asked}'",
                hint=nearest_hint(asked, names, f"like=FILE, or one of {', '.join(names)}"),
                option="preprocessing",
            )

    def changed(self, preprocess: Preprocess) -> Preprocess:
        """Return preprocessing with the changes that these options ask for."""
        changes: dict[str, Any] = {}
        usual = USUAL.get(self.preprocessing or "")
        if usual is not None:
            means = usual.means(self.channels or preprocess.channels)
            changes.update(mean=means, scale=usual.scale, mean_file="", mean_image=None)
        if self.mean is not None:
            changes.update(mean=tuple(self.mean), mean_file="", mean_image=None)
        if self.mean_file is not None:
            changes.update(mean_file=str(self.mean_file), mean_image=None)
        if self.scale is not None:
            changes["scale"] = self.scale
        if self.channels is not None:
            changes["channels"] = self.channels
        if self.letterbox is not None:
            changes.update(letterbox=self.letterbox, crop=False, resize=())
        if self.crop:
            changes.update(crop=True, letterbox=False, resize=())
        if self.resize is not None:
            changes.update(crop=True, letterbox=False, resize=tuple(self.resize))
        if usual is not None or self.arithmetic:
            changes.update(origin=preprocess.origin or "options", remark="")
        return replace(preprocess, **changes) if changes else preprocess

    @property
    def arithmetic(self) -> bool:
        """Whether the user says what is subtracted or multiplied."""
        return any(one is not None for one in (self.mean, self.mean_file, self.scale))
