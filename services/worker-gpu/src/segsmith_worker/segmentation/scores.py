"""Dice and IoU, each under the name of what it averages: published tables mix them (science §7).

Three rules hold everywhere. Pixels labelled IGNORE count on neither side. A picture without a lesion scores 1 where
nothing is predicted and 0 otherwise; such pictures are counted, with the share of them that got a false positive. A
picture whose lesion vanished when the label was reduced to the scored side is left out, and counted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from segsmith_shared.pairs.pair import IGNORE
from segsmith_shared.problems import InvalidInput

Probabilities = NDArray[np.float32]
ClassMaps = NDArray[np.uint8]
Labels = NDArray[np.bool_]
PerImage = NDArray[np.float64]
Flags = NDArray[np.bool_]
Measure = Callable[[Labels, Labels], PerImage]
"""Of predictions and labels of one class, bool (n, H, W): a value of each image."""

_FIGURES = ("dice", "iou", "dice_dataset", "iou_dataset", "dice_soft_paper")


class NothingToScore(InvalidInput):
    """No picture of a test set can be scored."""

    title = "The test set cannot be scored"


@dataclass(frozen=True)
class Negatives:
    """Of pictures without a lesion: how many there are, and the share in which a lesion is predicted all the same.

    `dice` and `iou` are the means over the other pictures, None where there are none.
    """

    count: int
    false_positive_share: float
    dice: float | None
    iou: float | None


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
    negatives: Negatives | None = None
    vanished: int = 0

    def figures(self) -> dict[str, float]:
        """The averages alone, by name; Dice and IoU of a class as `dice[name]` and `iou[name]`.

        Where there are pictures without a lesion, also their number, the share of false positives among them, and
        `dice_lesion` and `iou_lesion` over the others, if there are any. `vanished` where lesions were too small for
        the scored side.
        """
        figures = {name: float(getattr(self, name)) for name in _FIGURES}
        for name, scores in self.of_class.items():
            figures |= {f"dice[{name}]": scores.dice, f"iou[{name}]": scores.iou}
        if self.negatives is not None:
            of_lesions = {"dice_lesion": self.negatives.dice, "iou_lesion": self.negatives.iou}
            figures |= {
                "negatives": float(self.negatives.count),
                "false_positives": self.negatives.false_positive_share,
                **{name: value for name, value in of_lesions.items() if value is not None},
            }
        return figures | ({"vanished": float(self.vanished)} if self.vanished else {})


def score(
    probabilities: Probabilities,
    labels: ClassMaps,
    class_names: Sequence[str] = (),
    *,
    had_lesion: Flags | None = None,
) -> Scores:
    """All scores of probabilities of the classes (n, F, H, W) in 0…1 against class maps uint8 (n, H, W).

    `had_lesion` (n,) says which labels held a lesion in their own size: those that hold none here are left out. Of one
    class every other image counts. Of several, each class is scored on the images that hold it or are predicted to.
    Raises NothingToScore.
    """
    has_lesion = lesions_in(labels)
    scored = has_lesion | ~had_lesion if had_lesion is not None else np.ones_like(has_lesion)
    if not scored.any():
        side_px = labels.shape[1]
        raise NothingToScore(
            f"None of {len(labels)} pictures holds a lesion that is left at {side_px} × {side_px} px.",
            hint="Choose a segmentation preset of a larger side.",
        )
    labels, has_lesion = labels[scored], has_lesion[scored]
    probabilities = np.where((labels == IGNORE)[:, None], np.float32(0), probabilities[scored])
    scores = _scored(probabilities, labels, class_names)
    return replace(scores, negatives=_negatives(scores, probabilities, has_lesion), vanished=int((~scored).sum()))


def lesions_in(labels: ClassMaps) -> Flags:
    """Which class maps (n, H, W) show any class: (n,)."""
    return np.asarray(((labels > 0) & (labels != IGNORE)).any(axis=(1, 2)))


def where_known(predictions: ClassMaps, labels: ClassMaps) -> ClassMaps:
    """The predictions (n, H, W) with background where the label is unknown, so that neither side counts there."""
    return np.where(labels == IGNORE, np.uint8(0), predictions)


def _negatives(scores: Scores, probabilities: Probabilities, has_lesion: Flags) -> Negatives | None:
    """None where every picture has a lesion."""
    if has_lesion.all():
        return None
    predicted = lesions_in(class_maps(probabilities))
    of_lesions = [
        float(values[has_lesion].mean()) if has_lesion.any() else None
        for values in (scores.per_image_dice, scores.per_image_iou)
    ]
    return Negatives(int((~has_lesion).sum()), float(predicted[~has_lesion].mean()), *of_lesions)


def _scored(probabilities: Probabilities, labels: ClassMaps, class_names: Sequence[str]) -> Scores:
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
        dice=means["dice"],
        iou=means["iou"],
        dice_dataset=means["dice_dataset"],
        iou_dataset=means["iou_dataset"],
        dice_soft_paper=means["dice_soft_paper"],
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
