"""Offsets and classes of prior boxes, with the hardest negatives only.

Source: multibox_loss_layer.cpp, bbox_util.cpp of the SSD fork.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...errors import DataError
from ..framework import functional, torch
from .loss import NORMALIZATIONS, Loss
from .smooth_l1 import smooth

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MultiBoxLoss"]

LEAST = 1e-6
"""An overlap up to this is none."""
TOUCHED = -2
"""A prior box that crosses the border and is left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiBoxLoss(Loss):
    """Called with offsets, scores, prior boxes and truths (1×1×T×8: image, label, instance, xmin,
    ymin, xmax, ymax, difficult).

    Args:
        classes: with the background.
        background: the class of nothing.
        squared: squared differences of offsets instead of smooth ones.
        logistic: a sigmoid for each class instead of a softmax.
        place_weight: factor of the loss of offsets.
        shared: a prior box has one box for all classes; else one for each. Such boxes are not
            mined, as the fork does not.
        each: prior boxes match every truth they overlap enough; else only one for each truth.
        overlap: that is enough.
        by_prior: prior boxes are matched, and not predictions.
        difficult: difficult truths count.
        mining: "NONE", "MAX_NEGATIVE" or "HARD_EXAMPLE".
        ratio: negatives for each positive.
        negative_overlap: prior boxes with more overlap are no negatives.
        samples: examples of an image that are kept, for "HARD_EXAMPLE".
        code: "CORNER", "CENTER_SIZE" or "CORNER_SIZE".
        variance_in_target: offsets hold the variances already.
        agnostic: all classes are one.
        inside: prior boxes that cross the border match nothing.
        corners_inside: corners beyond the border get no gradient.
        normalization: see :class:`.loss.Normalized`; VALID divides by matches.
    """

    classes: int
    background: int = 0
    squared: bool = False
    logistic: bool = False
    place_weight: float = 1.0
    shared: bool = True
    each: bool = True
    overlap: float = 0.5
    by_prior: bool = True
    difficult: bool = True
    mining: str = "MAX_NEGATIVE"
    ratio: float = 3.0
    negative_overlap: float = 0.5
    samples: int = 64
    code: str = "CORNER"
    variance_in_target: bool = False
    agnostic: bool = False
    inside: bool = False
    corners_inside: bool = False
    normalization: str = "VALID"

    def __call__(self, *inputs: Tensor, seen: int = 0) -> Tensor:
        """Return the loss."""
        del seen
        offsets, scores = inputs[0].flatten(1), inputs[1].flatten(1)
        images = offsets.shape[0]
        boxes, variances = inputs[2].detach().double().cpu().numpy().reshape(2, -1, 4)
        places = offsets.reshape(images, -1, 1 if self.shared else self.classes, 4)
        classes = scores.reshape(images, -1, self.classes)
        if places.shape[1] != len(boxes) or classes.shape[1] != len(boxes):
            raise DataError(
                f"{places.shape[1]} offsets and {classes.shape[1]} scores for {len(boxes)} prior "
                "boxes"
            )
        truths = self._truths(inputs[3].detach().double().cpu().numpy().reshape(-1, 8))
        matches, near = self._matches(places, boxes, variances, truths)
        labels = self._labels(matches, truths)
        matches, chosen = self._mined(classes, places, boxes, variances, truths, matches, near)
        positive = (matches >= 0).any(1)
        count = int((matches >= 0).sum())
        total = offsets.sum() * 0 + scores.sum() * 0
        if count:
            total = total + self.place_weight * self._place_loss(
                places, boxes, variances, truths, matches
            )
        picked = positive | chosen if self.mining != "NONE" else np.ones_like(positive)
        if picked.any():
            total = (
                total
                + self._class_losses(classes, np.where(matches >= 0, labels, -1))[
                    torch.from_numpy(picked).to(classes.device)
                ].sum()
            )
        return total / self._divisor(images, len(boxes), count)

    def _divisor(self, images: int, priors: int, count: int) -> int:
        assert self.normalization in NORMALIZATIONS
        divisors = {"FULL": images * priors, "VALID": count, "BATCH_SIZE": images, "NONE": 1}
        return max(1, divisors[self.normalization])

    def _truths(self, rows: np.ndarray) -> dict[int, np.ndarray]:
        """Return image → its truths (label, xmin, ymin, xmax, ymax)."""
        found: dict[int, list[np.ndarray]] = {}
        for row in rows:
            if int(row[0]) == -1 or (not self.difficult and row[7]):
                continue
            label = int(row[1])
            if label == self.background or (not 0 <= label < self.classes and not self.agnostic):
                raise DataError(f"label {label} is no class of the {self.classes} that are scored")
            found.setdefault(int(row[0]), []).append(row[[1, 3, 4, 5, 6]])
        return {image: np.array(listed) for image, listed in found.items()}

    def _matches(
        self, places: Tensor, boxes: np.ndarray, variances: np.ndarray,
        truths: dict[int, np.ndarray],
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Return which truths prior boxes match (−1: none), and how far they overlap any.

        Returns:
            images × boxes of a prior box × prior boxes, and images × prior boxes.
        """
        images = places.shape[0]
        matches = np.full((images, places.shape[2], len(boxes)), -1)
        near = np.zeros((images, len(boxes)))
        for image, listed in truths.items():
            if not 0 <= image < images:
                continue
            if not self.by_prior:
                raw = places[image].detach().double().cpu().numpy()
            if self.shared:
                shown = boxes if self.by_prior else self._decoded(raw[:, 0], boxes, variances)
                matches[image, 0], near[image] = self._match(shown, listed[:, 1:])
            elif self.by_prior:
                self._share(self._match(boxes, listed[:, 1:])[0], listed[:, 0], matches[image])
            else:
                for label in self._told(listed[:, 0]):
                    own = np.flatnonzero(listed[:, 0] == label)
                    shown = self._decoded(raw[:, label], boxes, variances)
                    found, _ = self._match(shown, listed[own, 1:])
                    matches[image, label] = np.where(found >= 0, own[found], -1)
        return matches, near

    def _told(self, labels: np.ndarray) -> list[int]:
        """Return the classes of truths that have a box of their own."""
        kinds = np.unique(labels).astype(int).tolist()
        return [label for label in kinds if 0 <= label < self.classes]

    def _share(self, found: np.ndarray, labels: np.ndarray, matches: np.ndarray) -> None:
        """Give each match to the box of the truth's class.

        Args:
            found: the truth that each prior box matches.
            labels: of the truths.
            matches: boxes of a prior box × prior boxes; it is changed.
        """
        for label in self._told(labels):
            own = (found >= 0) & (labels[found] == label)
            matches[label, own] = found[own]

    def _match(self, boxes: np.ndarray, truths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Match each truth with the box that overlaps it most, then other boxes with truths."""
        overlaps = _overlaps(boxes, truths)
        overlaps[overlaps <= LEAST] = 0
        matches = np.full(len(boxes), -1)
        if self.inside:
            crossing = ((boxes < 0) | (boxes > 1)).any(1)
            matches[crossing] = TOUCHED
            overlaps[crossing] = 0
        near = overlaps.max(1, initial=0)
        left = np.where((matches == -1)[:, None], overlaps, 0)
        for _ in range(len(truths)):
            best = int(left.argmax())
            box, truth = divmod(best, left.shape[1])
            if left[box, truth] <= 0:
                break
            matches[box], near[box] = truth, left[box, truth]
            left[box], left[:, truth] = 0, 0
        if self.each:
            free = matches == -1
            enough = free & (overlaps.max(1, initial=0) >= self.overlap) & (near > LEAST)
            matches[enough] = overlaps[enough].argmax(1)
        return matches, near

    def _labels(self, matches: np.ndarray, truths: dict[int, np.ndarray]) -> np.ndarray:
        """Return the classes of the truths that are matched; the background elsewhere."""
        labels = np.full(matches.shape, self.background)
        for image, listed in truths.items():
            if 0 <= image < len(matches):
                own = matches[image] >= 0
                labels[image, own] = listed[matches[image, own], 0].astype(int)
        return np.where(matches >= 0, self.background + 1, labels) if self.agnostic else labels

    def _class_losses(self, classes: Tensor, labels: np.ndarray) -> Tensor:
        """Return the loss of the classes of every prior box.

        Args:
            classes: images × prior boxes × classes.
            labels: images × boxes of a prior box × prior boxes; −1 is the background.
        """
        if not self.logistic:  # of several classes the last one is told
            last = labels.max(1)
            aims = torch.from_numpy(np.where(last < 0, self.background, last)).to(classes.device)
            flat = functional.cross_entropy(
                classes.flatten(0, 1), aims.reshape(-1).long(), reduction="none"
            )
            return flat.reshape(aims.shape)
        targets = torch.zeros_like(classes)
        for own in np.moveaxis(labels, 1, 0):
            # Without mining, no prior box is told the background.
            told = own if self.mining == "NONE" else np.where(own < 0, self.background, own)
            image, prior = np.nonzero(told >= 0)
            where = (image, prior, told[image, prior])
            targets[tuple(torch.from_numpy(each).to(classes.device) for each in where)] = 1.0
        losses = functional.binary_cross_entropy_with_logits(classes, targets, reduction="none")
        return losses.sum(2)

    def _mined(
        self, classes: Tensor, places: Tensor, boxes: np.ndarray, variances: np.ndarray,
        truths: dict[int, np.ndarray], matches: np.ndarray, near: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Return the matches that are kept, and which others are negatives."""
        chosen = np.zeros(near.shape, bool)
        if self.mining == "NONE":
            return matches, chosen
        labels = np.where(matches >= 0, self._labels(matches, truths), -1)
        losses = self._class_losses(classes.detach(), labels).double().cpu().numpy()
        hard = self.mining == "HARD_EXAMPLE"
        if hard and (matches >= 0).any():
            losses = losses + self._place_losses(places, boxes, variances, truths, matches)[:, 0]
        matches = matches.copy()
        for image in truths:
            if not 0 <= image < len(matches):
                continue
            own = matches[image, 0]
            eligible = np.arange(len(own))
            count = self.samples
            if not hard:
                eligible = np.flatnonzero((own == -1) & (near[image] < self.negative_overlap))
                count = int((own >= 0).sum() * self.ratio)
            order = eligible[np.argsort(-losses[image, eligible], kind="stable")][:count]
            kept = np.zeros(len(own), bool)
            kept[order] = True
            chosen[image] = kept & (own == -1)
            if hard:
                own[(own >= 0) & ~kept] = -1
        return matches, chosen

    def _place_losses(
        self, places: Tensor, boxes: np.ndarray, variances: np.ndarray,
        truths: dict[int, np.ndarray], matches: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """Return the loss of the offsets of every box; 0 where it matches nothing."""
        found = np.zeros(matches.shape)
        with torch.no_grad():
            difference = self._differences(places, boxes, variances, truths, matches)
            terms = 0.5 * difference.square() if self.squared else smooth(difference)
        found[matches >= 0] = terms.sum(1).double().cpu().numpy()
        return found

    def _place_loss(
        self, places: Tensor, boxes: np.ndarray, variances: np.ndarray,
        truths: dict[int, np.ndarray], matches: np.ndarray,
    ) -> Tensor:  # fmt: skip
        """Return the loss of all offsets that match something."""
        difference = self._differences(places, boxes, variances, truths, matches)
        return (0.5 * difference.square() if self.squared else smooth(difference)).sum()

    def _differences(
        self, places: Tensor, boxes: np.ndarray, variances: np.ndarray,
        truths: dict[int, np.ndarray], matches: np.ndarray,
    ) -> Tensor:  # fmt: skip
        """Return offsets minus what they should be, for matching boxes × 4."""
        image, kind, prior = np.nonzero(matches >= 0)
        found = matches[image, kind, prior]
        wanted = np.array([truths[int(i)][k, 1:] for i, k in zip(image, found, strict=True)])
        encoded = self._encoded(wanted, boxes[prior], variances[prior])
        where = (torch.from_numpy(each).to(places.device) for each in (image, prior, kind))
        own = places[tuple(where)]
        difference = own - torch.from_numpy(encoded).to(own)
        if self.corners_inside:
            shown = boxes[prior]
            if not self.by_prior:
                raw = own.detach().double().cpu().numpy()
                shown = self._decoded(raw, boxes[prior], variances[prior])
            within = torch.from_numpy((shown >= 0) & (shown <= 1)).to(own.device)
            difference = torch.where(within, difference, torch.zeros_like(difference))
        if self.variance_in_target:
            difference = difference / torch.from_numpy(variances[prior]).to(own)
        return difference

    def _encoded(self, truths: np.ndarray, boxes: np.ndarray, variances: np.ndarray) -> np.ndarray:
        """Return the offsets of truths from prior boxes (xmin, ymin, xmax, ymax)."""
        size = boxes[:, 2:] - boxes[:, :2]
        if self.code == "CORNER":
            found = truths - boxes
        elif self.code == "CORNER_SIZE":
            found = (truths - boxes) / np.tile(size, 2)
        else:
            centre = (truths[:, :2] + truths[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2
            sides = truths[:, 2:] - truths[:, :2]
            found = np.concatenate([centre / size, np.log(sides / size)], 1)
        return found if self.variance_in_target else found / variances

    def _decoded(self, offsets: np.ndarray, boxes: np.ndarray, variances: np.ndarray) -> np.ndarray:
        """Return the boxes that offsets from prior boxes mean."""
        offsets = offsets if self.variance_in_target else offsets * variances
        size = boxes[:, 2:] - boxes[:, :2]
        if self.code == "CORNER":
            return boxes + offsets
        if self.code == "CORNER_SIZE":
            return boxes + offsets * np.tile(size, 2)
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + offsets[:, :2] * size
        half = np.exp(offsets[:, 2:]) * size / 2
        return np.concatenate([centre - half, centre + half], 1)


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return intersection over union of boxes given by their corners, M×T."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [
        np.where((b[:, 2:] < b[:, :2]).any(1), 0, np.prod(b[:, 2:] - b[:, :2], axis=1))
        for b in (boxes, others)
    ]
    union = areas[0][:, None] + areas[1][None] - common
    return np.where(common > 0, common / np.where(union > 0, union, 1), 0)
