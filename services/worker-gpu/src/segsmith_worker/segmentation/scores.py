"""Dice and IoU, each under the name of what it averages: published tables mix them (science §7)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float32]
ClassMaps = NDArray[np.uint8]
Labels = NDArray[np.bool_]
PerImage = NDArray[np.float64]
Measure = Callable[[Labels, Labels], PerImage]
"""Of predictions and labels of one class, bool (n, H, W): a value of each image."""

_FIGURES = ("dice", "iou", "dice_dataset", "iou_dataset", "dice_soft_paper")


@dataclass(frozen=True)
class Scores:
    """Scores of one model on one test set of `images` images; `per_image_*` (n,) are what intervals are made from.

    Of several classes, every figure is the mean over classes, and `of_class` has each one's by name; a class that no
    image holds and none is predicted to hold is left out.
    """

    images: int
    dice: float
    iou: float
    dice_dataset: float
    iou_dataset: float
    dice_soft_paper: float
    per_image_dice: PerImage
    per_image_iou: PerImage
    of_class: Mapping[str, "Scores"] = field(default_factory=dict)

    def figures(self) -> dict[str, float]:
        """The averages alone, by name; Dice and IoU of a class as `dice[name]` and `iou[name]`."""
        figures = {name: float(getattr(self, name)) for name in _FIGURES}
        for name, scores in self.of_class.items():
            figures |= {f"dice[{name}]": scores.dice, f"iou[{name}]": scores.iou}
        return figures


def score(probabilities: Probabilities, labels: ClassMaps, class_names: Sequence[str] = ()) -> Scores:
    """All scores of probabilities of the classes (n, F, H, W) in 0…1 against class maps uint8 (n, H, W).

    Of one class every image counts. Of several, each class is scored on the images that hold it or are predicted to.
    """
    predictions, classes = class_maps(probabilities), probabilities.shape[1]
    if classes == 1:
        return _score_of_class(probabilities[:, 0], predictions == 1, labels == 1)
    of_class = {}
    for number, name in enumerate(class_names, start=1):
        predicted, truth = predictions == number, labels == number
        if (shown := (predicted | truth).any(axis=(1, 2))).any():
            of_class[name] = _score_of_class(probabilities[shown, number - 1], predicted[shown], truth[shown])
    means = {
        name: float(np.mean([getattr(scores, name) for scores in of_class.values()])) if of_class else 1.0
        for name in _FIGURES
    }
    return Scores(
        images=len(labels),
        **means,
        per_image_dice=over_classes(dice_per_image, predictions, labels, classes),
        per_image_iou=over_classes(iou_per_image, predictions, labels, classes),
        of_class=of_class,
    )


def _score_of_class(probabilities: Probabilities, predictions: Labels, labels: Labels) -> Scores:
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


def class_maps(probabilities: Probabilities) -> ClassMaps:
    """The likeliest class of each pixel, uint8 (n, H, W): 0, background, where that is likelier than any.

    Of one class: 1 where its probability reaches one half.
    """
    likeliest = probabilities.max(axis=1) >= 1 - probabilities.sum(axis=1)
    return np.where(likeliest, probabilities.argmax(axis=1) + 1, 0).astype(np.uint8)


def mean_iou(predictions: ClassMaps, labels: ClassMaps, classes: int) -> float:
    """Hard intersection over union as `score` has it: the mean over classes, of one class over all images."""
    if classes == 1:
        return iou(predictions == 1, labels == 1)
    values = []
    for number in range(1, classes + 1):
        predicted, truth = predictions == number, labels == number
        if (shown := (predicted | truth).any(axis=(1, 2))).any():
            values.append(iou(predicted[shown], truth[shown]))
    return float(np.mean(values)) if values else 1.0


def over_classes(measure: Measure, predictions: ClassMaps, labels: ClassMaps, classes: int) -> PerImage:
    """Of each image (n,), the mean over the classes that it holds or is predicted to; 1 where there is none."""
    total, count = np.zeros(len(labels)), np.zeros(len(labels))
    for number in range(1, classes + 1):
        predicted, truth = predictions == number, labels == number
        shown = (predicted | truth).any(axis=(1, 2))
        total += np.where(shown, measure(predicted, truth), 0)
        count += shown
    return np.divide(total, count, out=np.ones_like(total), where=count > 0)


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
