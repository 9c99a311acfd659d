"""Dice and IoU, each under the name of what it averages: published tables mix them (science §7)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float32]
Labels = NDArray[np.bool_]
PerImage = NDArray[np.float64]

THRESHOLD = 0.5


@dataclass(frozen=True)
class Scores:
    """Scores of one model on one test set of `images` images; `per_image_*` (n,) are what intervals are made from."""

    images: int
    dice: float
    iou: float
    dice_dataset: float
    iou_dataset: float
    dice_soft_paper: float
    per_image_dice: PerImage
    per_image_iou: PerImage

    def figures(self) -> dict[str, float]:
        """The averages alone, by name."""
        names = ("dice", "iou", "dice_dataset", "iou_dataset", "dice_soft_paper")
        return {name: float(getattr(self, name)) for name in names}


def score(probabilities: Probabilities, labels: Labels) -> Scores:
    """All scores of lesion probabilities (n, H, W) in 0…1 against labels bool (n, H, W)."""
    predictions = binarise(probabilities)
    return Scores(
        images=len(labels),
        dice=dice(predictions, labels),
        iou=iou(predictions, labels),
        dice_dataset=dice_dataset(predictions, labels),
        iou_dataset=iou_dataset(predictions, labels),
        dice_soft_paper=dice_soft_paper(probabilities, labels),
        per_image_dice=dice_per_image(predictions, labels),
        per_image_iou=iou_per_image(predictions, labels),
    )


def binarise(probabilities: Probabilities) -> Labels:
    """Lesion where the probability reaches one half: bool (n, H, W)."""
    predictions: Labels = probabilities >= THRESHOLD
    return predictions


def dice(predictions: Labels, labels: Labels) -> float:
    """Hard Dice, mean over images (n, H, W); empty prediction of an empty label counts as 1."""
    return float(dice_per_image(predictions, labels).mean())


def iou(predictions: Labels, labels: Labels) -> float:
    """Hard intersection over union, mean over images (n, H, W); empty prediction of an empty label counts as 1."""
    return float(iou_per_image(predictions, labels).mean())


def dice_dataset(predictions: Labels, labels: Labels) -> float:
    """Hard Dice of all pixels of all images together: large lesions weigh more."""
    return dice(predictions.reshape(1, -1), labels.reshape(1, -1))


def iou_dataset(predictions: Labels, labels: Labels) -> float:
    """Hard intersection over union of all pixels of all images together."""
    return iou(predictions.reshape(1, -1), labels.reshape(1, -1))


def dice_soft_paper(probabilities: Probabilities, labels: Labels) -> float:
    """The paper's "Dice score": (2 Σpg + 1)/(Σp + Σg + 1) on probabilities, mean over images."""
    overlap = _sum(probabilities.astype(np.float64) * labels)
    total = _sum(probabilities.astype(np.float64)) + _sum(labels)
    return float(((2 * overlap + 1) / (total + 1)).mean())


def dice_per_image(predictions: Labels, labels: Labels) -> PerImage:
    """Hard Dice of each image: (n,)."""
    return _ratio(2 * _sum(predictions & labels), _sum(predictions) + _sum(labels))


def iou_per_image(predictions: Labels, labels: Labels) -> PerImage:
    """Hard intersection over union of each image: (n,)."""
    return _ratio(_sum(predictions & labels), _sum(predictions | labels))


def _sum(values: NDArray[np.float64] | Labels) -> PerImage:
    sums: PerImage = values.reshape(len(values), -1).sum(axis=1, dtype=np.float64)
    return sums


def _ratio(overlap: PerImage, total: PerImage) -> PerImage:
    return np.divide(overlap, total, out=np.ones_like(overlap), where=total > 0)
