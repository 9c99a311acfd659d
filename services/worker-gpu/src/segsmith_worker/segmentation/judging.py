"""Judges of the quality gate: models of real pairs, each asked only about pictures whose source it never saw."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from segsmith_shared.pairs.splits import Member, split_by_fractions
from segsmith_shared.plans.segmentation import SegmentationSpec
from segsmith_worker.segmentation import scores, training
from segsmith_worker.segmentation.arms import (
    Images,
    Labels,
    Pairs,
    SegmentationData,
    TooFewSources,
    chosen_pairs,
    prepare_arm,
)


@dataclass(frozen=True)
class Agreement:
    """What a judge drew in n pictures, class maps uint8 (n, H, W), and how that agrees: hard Dice, IoU (n,).

    Of several classes, each picture has the mean over those that its label holds or the judge drew.
    """

    predictions: Labels
    dice: scores.PerImage
    iou: scores.PerImage


def folds_of(members: Sequence[Member], folds: int, seed: int) -> dict[str, int]:
    """The fold, from 0, of each pair by name; folds of about equal size, groups never torn apart.

    Raises SplitNotPossible where there are fewer groups than folds.
    """
    division = split_by_fractions(members, {str(fold): 1 / folds for fold in range(folds)}, seed)
    return {name: int(part) for part, names in division.parts.items() for name in names}


def judge_data(
    real: Pairs, members: Sequence[Member], fold_of: dict[str, int], fold: int, spec: SegmentationSpec, seed: int
) -> tuple[SegmentationData, dict[str, Any]]:
    """The pairs outside `fold` to train on and to validate with, near-duplicates on one side, and their manifest.

    `members` are the pairs of `real`, in its order. Raises TooFewSources where the other folds hold one group only.
    """
    others = [members[place] for place, name in enumerate(real.names) if fold_of[name] != fold]
    groups = {member.group if member.group is not None else member.name for member in others}
    if len(groups) < 2:
        raise TooFewSources(
            f"The other folds hold {len(others)} pairs in one group; a judge needs two, to train and to validate with.",
            hint="Give more pairs, or fewer folds.",
        )
    share = spec.validation_fraction
    division = split_by_fractions(others, {"train": 1 - share, "validation": share}, seed)
    place_of = {name: place for place, name in enumerate(real.names)}
    taught, validation = (
        chosen_pairs(real, [place_of[name] for name in division.parts[part]]) for part in ("train", "validation")
    )
    return prepare_arm(taught, [], validation, use_real=True, real_limit=None, policy="pool", seed=seed)


def agreement_of(
    network: torch.nn.Module,
    images: Images,
    labels: Labels,
    spec: SegmentationSpec,
    on_step: Callable[[int, int], bool | None] | None = None,
) -> Agreement:
    """How the network's segmentation of uint8 (n, H, W, 3) agrees with class maps (n, H, W). Raises Interrupted."""
    probabilities = training.predict(network, images, spec, on_step)
    drawn, classes = scores.class_maps(probabilities), probabilities.shape[1]
    counted = scores.where_known(drawn, labels)
    dice, iou = (
        scores.over_classes(measure, counted, labels, classes)
        for measure in (scores.dice_per_image, scores.iou_per_image)
    )
    return Agreement(drawn, dice, iou)
