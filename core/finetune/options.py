"""Options of fine-tuning. Each is spelled, documented and checked here alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import DataError, percent_hint

__all__ = ["BATCH", "EPOCHS", "MATCHES", "METHODS", "PRECISIONS", "TRAINED", "FinetuneOptions"]

BATCH = 32
"""Samples of an update where nobody says otherwise."""

EPOCHS = 10
"""Passes over the data where nobody says otherwise."""

METHODS = ("adam", "sgd")
"""Solvers that can be asked for where no solver file is given."""

MATCHES = ("auto", "layers", "features", "outputs", "both")
"""What is compared with the teacher."""

TRAINED = ("auto", "all", "vectors")
"""What is trained: everything, or biases and factors of normalisations alone."""

AUGMENTATIONS = ("auto", "usual", "none")
"""What is done to training images: as the files say, what is usual, or nothing."""

NORMS = ("auto", "batch", "stored")
"""Which statistics batch normalisations use in training."""

PRECISIONS = ("float32", "bfloat16", "float16")
"""Types that the network is computed in."""


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """How a network is trained further: how long, against what, and how fast.

    Without `epochs`, `steps` and `time`, training takes 10 epochs, or as many as the solver file
    says.

    Raises:
        DataError: an option is out of range, or contradicts another.
    """

    epochs: float | None = None
    """Passes over the training data."""

    steps: int | None = None
    """Updates of the weights, instead of epochs."""

    time: float | None = None
    """Seconds of training, instead of epochs. The steps that fit are measured at the start."""

    batch_size: int | None = None
    """Samples per update. If not given: 32, or what the solver file says."""

    learning_rate: float | None = None
    """Highest learning rate. If not given, a short test finds it."""

    method: str = "adam"
    """Solver: adam or sgd."""

    own_solver: bool = False
    """Train by the schedule that the model's own files name, from the images seen on."""

    momentum: float = 0.9
    """Momentum of the solver sgd."""

    weight_decay: float = 0.0
    """Weight decay; biases and normalisations have none."""

    distill: float | None = None
    """With labels and a teacher: share of the teacher in the loss, 0 to 1. If not given, 0.5."""

    match: str = "auto"
    """What is compared with the teacher: layers (what each makes), features (what the last ones
    read), outputs, or both of these. auto: features, then both."""

    temperature: float = 2.0
    """Temperature of the softmax that compares classes with the teacher's."""

    train: str = "auto"
    """What is trained: all, or vectors alone (biases, factors of normalisations). auto: with a
    teacher alone vectors first, else all."""

    freeze: Sequence[str] = ()
    """Layers whose weights stay as they are."""

    hold_zeros: bool = False
    """Keep weights at 0 that are 0, those of single kernels and taps too. Biases and factors of
    normalisations are trained all the same."""

    normalize: str = "auto"
    """Statistics that batch normalisations use in training: those of the batch, or the stored ones.
    auto: those of the batch from 16 samples on."""

    sync_norm: bool = False
    """With several processes (torchrun): batch normalisations take the statistics of all of them,
    and not each those of its own part of the batch."""

    augment: str = "auto"
    """What is done to training images at random: the usual, or none. auto: what the files say, else
    the usual."""

    rewind_rate: bool = False
    """With an early model: keep the weights, and take from it only the moment at which the learning
    rate of the files' schedule starts."""

    reinitialize: bool = False
    """Begin with fresh weights, to see what those that were kept are worth."""

    patience: int | None = None
    """Stop after this many measurements without a better one."""

    measurements: int = 10
    """How often the network is measured during training, evenly spread."""

    checkpoint: float = 300.0
    """Seconds between checkpoints."""

    seed: int = 0
    """Decides everything that is drawn at random."""

    device: str = "auto"
    """Where to train, with PyTorch: cpu, cuda, cuda:1 and so on. auto: cuda where there is one, and
    the one that networks run on."""

    precision: str = "float32"
    """Type that the network is computed in: float32, bfloat16 or float16. Weights stay float32.
    Updates whose gradients are too large for float16 are left out, and counted in the log."""

    def __post_init__(self) -> None:
        if [self.epochs, self.steps, self.time].count(None) < 2:
            raise DataError("give one of epochs, steps and a time", option="epochs")
        for name in ("epochs", "steps", "time", "batch_size", "learning_rate", "patience"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise DataError(f"it must be over 0, got {value:g}", option=name)
        for name in ("temperature", "checkpoint", "measurements"):
            if not getattr(self, name) > 0:
                raise DataError(f"it must be over 0, got {getattr(self, name):g}", option=name)
        for name in ("weight_decay", "momentum"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise DataError(
                    f"it must be from 0 to below 1, got {getattr(self, name):g}",
                    hint=percent_hint(getattr(self, name)),
                    option=name,
                )
        if self.reinitialize and self.rewind_rate:
            raise DataError(
                "fresh weights have no earlier moment to go back to", option="reinitialize"
            )
        if self.distill is not None and not 0.0 <= self.distill <= 1.0:
            raise DataError(
                f"a share is from 0 to 1, got {self.distill:g}",
                hint=percent_hint(self.distill),
                option="distill",
            )
        for name, choices in (
            ("method", METHODS), ("match", MATCHES), ("train", TRAINED),
            ("augment", AUGMENTATIONS), ("normalize", NORMS), ("precision", PRECISIONS),
        ):  # fmt: skip
            if getattr(self, name) not in choices:
                raise DataError(
                    f"it is {', '.join(choices[:-1])} or {choices[-1]}, not {getattr(self, name)}",
                    option=name,
                )

    def plain(self) -> dict[str, Any]:
        """Return all options as plain values, for checkpoints and provenance."""
        return {**asdict(self), "freeze": list(self.freeze)}
