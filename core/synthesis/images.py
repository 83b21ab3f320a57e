"""Images whose values before batch normalisations have the statistics that these stored.

Source: ZeroQ (Cai et al. 2020), which fits noise by Adam to the mean and deviation at every batch
normalisation, and DeepInversion (Yin et al. 2020), which adds total variation. Fitting begins at
structured random images instead of noise: fewer steps do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..brief import brief
from ..data import Batch
from ..data.base import BATCH_SIZE, batch_size
from ..data.structured.colour import CONTRAST
from ..data.structured.dataset import StructuredDataset, affordable_images
from ..errors import UnsupportedError
from ..ir.footprint import multiply_adds, value_bytes
from ..ir.network import Network, Preprocess
from ..progress import Progress, silent
from ..statistics.normalizations import Stored, stored_statistics
from ..training.framework import check_installed, torch
from ..training.module import TrainingModule
from .targets import mean_mismatch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RATE", "STEPS", "Fit", "Pixels", "StatisticsDataset", "fitted_images"]

STEPS = 100
"""Steps for a batch. ZeroQ takes 500 from noise."""

LEAST_STEPS = 20
"""Steps for a batch however much work each is."""

WORK = 20_000_000_000_000
"""Multiplications of all steps for all images: some minutes of two cores."""

TIMES = 3
"""Passes that a step costs: one forward, two back."""

RATE = 0.1
"""Rate of Adam, in standard deviations of a pixel. ZeroQ takes 0.5, DeepInversion 0.2 to 0.25."""

VARIATION = 1e-4
"""Weight of the total variation; DeepInversion's."""

SIZE = 1e-5
"""Weight of the squared pixels; DeepInversion's."""

FITTED = 32
"""Images whose statistics are fitted together; ZeroQ's batch. A network that fixes its batch, or
whose values fill the memory, takes fewer."""

MOST_BYTES = 1 << 28
"""Bytes of images that are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pixels:
    """What is fitted.

    Args:
        bounds: input that is an image → the inputs of black and of white, which broadcast.
        unit: standard deviation of an input.
    """

    bounds: Mapping[str, tuple[np.ndarray, np.ndarray]]
    unit: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """What fitting a batch came to.

    Args:
        images: input → its rows.
        before: mismatch of the statistics before.
        after: and after.
    """

    images: dict[str, np.ndarray]
    before: float
    after: float


class StatisticsDataset:
    """Images fitted to the statistics of a network's batch normalisations.

    They are made when they are first read, batch by batch, and kept.

    Args:
        network: the network.
        samples: how many; None for as many as are affordable.
        batch: number of samples of a batch.
        seed: of the images that fitting begins at.
        preprocess: preprocessing instead of the network's own.

    Raises:
        UnsupportedError: PyTorch is not installed, or there is no batch normalisation.
        DataError: the network takes no images.
    """

    name = "made images (statistics)"
    labelled = False
    problems: tuple[str, ...] = ()

    def __init__(
        self,
        network: Network,
        *,
        samples: int | None = None,
        batch: int = BATCH_SIZE,
        seed: int = 0,
        preprocess: Preprocess | None = None,
    ):
        self._stored = stored_statistics(network)
        if not self._stored:
            raise UnsupportedError(
                f"network '{network.name}' has no batch normalisation whose statistics tell of "
                "images",
                hint="--data synthetic makes images without any",
            )
        check_installed()
        together = batch_size(network, FITTED)
        count = affordable_images(network) if samples is None else samples
        self._start = StructuredDataset(
            network, samples=count, batch=together, seed=seed, preprocess=preprocess
        )
        size = int(sum(map(value_bytes, network.graph.inputs)))
        most = max(together, MOST_BYTES // size // together * together)
        if self._start.samples > most:
            self._start = StructuredDataset(
                network, samples=most, batch=together, seed=seed, preprocess=preprocess
            )
        self.samples = self._start.samples
        self._network, self._batch, self._together = network, batch_size(network, batch), together
        self._made: list[Fit] = []

    def __repr__(self) -> str:
        """Return a short text."""
        return brief(self, repr(self.name), f"{self.samples} samples")

    @property
    def preprocess(self) -> Preprocess:
        """How pixels become inputs."""
        return self._start.preprocess

    def __iter__(self) -> Iterator[Batch]:
        """Yield the images in batches."""
        for fit in self._fits(silent):
            whole = Batch(inputs=fit.images)
            for start in range(0, whole.size, self._batch):
                yield Batch(inputs=whole.part(start, min(start + self._batch, whole.size)))

    def make(self, progress: Progress = silent) -> tuple[Fit, ...]:
        """Make all images now, and return what became of each batch.

        Args:
            progress: told how far that is.
        """
        return tuple(self._fits(progress))

    def _fits(self, progress: Progress) -> Iterator[Fit]:
        """Yield the images that were fitted together; those that are not there yet are made."""
        batches = -(-self.samples // self._together)
        if len(self._made) == batches:
            yield from self._made
            return
        module, targets = _frozen(self._network), self._stored
        pixels = Pixels(bounds=self._start.bounds, unit=CONTRAST * abs(self.preprocess.scale))
        steps = affordable_steps(self._network, self.samples)
        for number, start in enumerate(self._start):

            def tell(step: int, done: int = number * steps) -> None:
                progress("making images", done + step, batches * steps)

            if number == len(self._made):
                found = fitted_images(module, targets, start, pixels, steps=steps, tell=tell)
                self._made.append(found)
            yield self._made[number]


def affordable_steps(network: Network, samples: int) -> int:
    """Return how many steps to fit a batch for: fewer where each is much work."""
    each = TIMES * samples * max(1, multiply_adds(network))
    return max(LEAST_STEPS, min(STEPS, WORK // each))


def fitted_images(
    module: TrainingModule,
    targets: Sequence[Stored],
    start: Batch,
    pixels: Pixels,
    *,
    steps: int,
    tell: Callable[[int], None] = lambda step: None,  # noqa: ARG005
) -> Fit:
    """Return a batch of images fitted to statistics.

    Args:
        module: the network in evaluation, its parameters without gradients.
        targets: the statistics.
        start: the images to begin at, and all other inputs.
        pixels: the inputs that are images, and their range.
        steps: how many.
        tell: called with the number of each step that is done.
    """
    fixed = {name: torch.from_numpy(np.array(rows)) for name, rows in start.inputs.items()}
    unit = pixels.unit
    free = {name: (fixed[name] / unit).requires_grad_() for name in pixels.bounds}
    limits = {
        name: tuple(torch.from_numpy(np.array(bound)) / unit for bound in bounds)
        for name, bounds in pixels.bounds.items()
    }
    solver = torch.optim.Adam(list(free.values()), lr=RATE)
    wanted = tuple(target.value for target in targets)

    def off() -> Tensor:
        feeds = {**fixed, **{name: image * unit for name, image in free.items()}}
        values = module(feeds, wanted)
        return mean_mismatch([values[name] for name in wanted], targets)

    before = 0.0
    for step in range(steps):
        loss = off()
        if step == 0:
            before = loss.item()
        for image in free.values():
            loss = loss + VARIATION * _variation(image) + SIZE * image.flatten(1).norm(dim=1).mean()
        solver.zero_grad()
        loss.backward()
        solver.step()
        with torch.no_grad():
            for name, image in free.items():
                torch.clamp(image, *limits[name], out=image)
        tell(step + 1)
    with torch.no_grad():
        after = off().item()
        images = {name: (image * unit).numpy() for name, image in free.items()}
    return Fit(images={**start.inputs, **images}, before=before, after=after)


def _variation(image: Tensor) -> Tensor:
    """Return the total variation of images, as DeepInversion takes it: norms of differences."""
    down, across = image[..., 1:, :] - image[..., :-1, :], image[..., 1:] - image[..., :-1]
    falling = image[..., 1:, 1:] - image[..., :-1, :-1]
    rising = image[..., 1:, :-1] - image[..., :-1, 1:]
    return down.norm() + across.norm() + falling.norm() + rising.norm()


def _frozen(network: Network) -> TrainingModule:
    """Return a network in evaluation, whose parameters get no gradients."""
    module = TrainingModule(network, frozen=list(network.graph.initializers))
    module.eval()
    return module
