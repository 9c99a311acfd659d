"""The figures of one drawn set: realism of picture and region, labels, diversity, and what a net learns from it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.samplers.drawing import DrawnSet
from benchmarks.samplers.material import PairList
from segsmith_evaluator.metrics.fid import fid_figure
from segsmith_evaluator.metrics.figures import Figure
from segsmith_evaluator.metrics.kid import MINIMUM_IMAGES, kid_figure
from segsmith_evaluator.metrics.region import region_crops
from segsmith_shared.plans.segmentation import SegmentationSpec, preset_named
from segsmith_shared.randomness import numpy_generator_for, seed_for
from segsmith_shared.vision.features import FeatureExtractor
from segsmith_worker.segmentation import training
from segsmith_worker.segmentation.arms import Pairs, chosen_pairs, prepare_arm
from segsmith_worker.segmentation.scores import Scores, class_maps, dice_per_image, score

Images = NDArray[np.uint8]
Labels = NDArray[np.bool_]
REGION_SIDE_PX = 64
LARGE_SHARE = 0.25
"""A region over a quarter of the picture is large."""
FEWEST_PAIRS_TO_LEARN_FROM = 8


def segmentation_spec(side_px: int) -> SegmentationSpec:
    """The one network and recipe that every set is judged with."""
    return preset_named("tiny-cpu").with_overrides({"side_px": side_px, "steps": 400, "validate_every_steps": 40})


@dataclass(frozen=True)
class Yardstick:
    """What sets are measured against: held-out pairs with the regions that would be redrawn of them, and a referee.

    The referee is the same small network, trained once on all real training pairs: it says where it sees a lesion.
    """

    held_out: PairList
    held_out_regions: Labels
    extractor: FeatureExtractor
    referee: torch.nn.Module

    @property
    def images(self) -> Images:
        return np.ascontiguousarray(self.held_out.squares[:, :3].transpose(0, 2, 3, 1))

    @property
    def labels(self) -> Labels:
        return np.asarray(self.held_out.squares[:, 3] >= 128)


def figures_of(drawn: DrawnSet, sources: PairList, yardstick: Yardstick, seed: int) -> dict[str, Any]:
    """Everything but Dice, of the accepted samples; None where too few were accepted."""
    kept = drawn.accepted
    images, labels, regions = drawn.images[kept], drawn.labels[kept], drawn.regions[kept]
    source_labels = (sources.squares[:, 3] >= 128)[kept]
    large = regions.mean(axis=(1, 2)) > LARGE_SHARE
    truly_large = yardstick.held_out_regions.mean(axis=(1, 2)) > LARGE_SHARE
    figures = {
        "samples": len(kept),
        "accepted": int(kept.sum()),
        "wall_seconds_per_sample": drawn.wall_seconds / len(kept),
        "cpu_seconds_per_sample": drawn.cpu_seconds / len(kept),
        "kid": _distance(kid_figure, yardstick, yardstick.images, images, seed),
        "fid": _distance(fid_figure, yardstick, yardstick.images, images, seed),
        "region_kid": _region(kid_figure, yardstick, images, regions, np.ones(len(regions), bool), seed),
        "region_fid": _region(fid_figure, yardstick, images, regions, np.ones(len(regions), bool), seed),
        "large_regions": int(large.sum()),
        "large_region_kid": _region(kid_figure, yardstick, images, regions, large, seed, truly_large),
    }
    return figures | (_label_figures(images, labels, source_labels, yardstick) if kept.any() else {})


def grain(images: Images, regions: Labels) -> float:
    """Mean size of the Laplacian in 0..1 brightness, well inside the regions; grain and sharp detail raise it."""
    values = []
    for image, region in zip(images, regions, strict=True):
        inner = ndimage.binary_erosion(region, iterations=3)
        if inner.any():
            values.append(np.abs(ndimage.laplace(image.mean(axis=2) / 255)[inner]).mean())
    return float(np.mean(values)) if values else float("nan")


def diversity(sets: list[DrawnSet]) -> dict[str, float]:
    """How far samples of one source under different seeds lie apart: colour distance in 0..1, and 1 − IoU of labels."""
    colours, shapes = [], []
    for number, first in enumerate(sets):
        for second in sets[number + 1 :]:
            for at in np.flatnonzero(first.accepted & second.accepted):
                region = first.regions[at]
                difference = first.images[at][region].astype(float) - second.images[at][region]
                colours.append(np.abs(difference).mean() / 255)
                both = [one.labels[at] for one in (first, second)]
                shapes.append(1 - (both[0] & both[1]).sum() / max((both[0] | both[1]).sum(), 1))
    if not colours:
        return {}
    return {"colour_distance_of_seeds": float(np.mean(colours)), "label_distance_of_seeds": float(np.mean(shapes))}


def trained_segmentation(pairs: Pairs, side_px: int, seed: int) -> torch.nn.Module:
    """The small network's best weights after the fixed recipe on these pairs alone, a share of which validates."""
    spec = segmentation_spec(side_px)
    names = sorted(set(pairs.sources))
    order = numpy_generator_for(seed, "sampler-study-split").permutation(len(names))
    held_out = {names[place] for place in order[: max(1, round(spec.validation_fraction * len(names)))]}
    taught, validation = (
        chosen_pairs(pairs, [at for at, source in enumerate(pairs.sources) if (source in held_out) == validates])
        for validates in (False, True)
    )
    data, _ = prepare_arm(taught, [], validation, use_real=True, real_limit=None, policy="pool", seed=seed)
    state = training.SegmentationState.new(spec, seed)
    training.train(state, data, spec)
    return training.best_network(state, spec)


def scores_on(network: torch.nn.Module, images: Images, labels: Labels) -> Scores:
    """What a network scores on pairs."""
    return score(training.predict(network, images, segmentation_spec(images.shape[1])), labels.astype(np.uint8))


def dice_of_learner(drawn: DrawnSet, sources: PairList, yardstick: Yardstick, seed: int) -> dict[str, float] | None:
    """Scores on the held-out pairs of the network that learned from the accepted samples alone."""
    kept = np.flatnonzero(drawn.accepted)
    if len(kept) < FEWEST_PAIRS_TO_LEARN_FROM:
        return None
    names = [sources.names[at] for at in kept]
    pairs = Pairs(drawn.images[kept], drawn.labels[kept].astype(np.uint8), names, names)
    network = trained_segmentation(pairs, drawn.images.shape[1], seed)
    return scores_on(network, yardstick.images, yardstick.labels).figures()


def _label_figures(images: Images, labels: Labels, source_labels: Labels, yardstick: Yardstick) -> dict[str, Any]:
    seen = class_maps(training.predict(yardstick.referee, images, segmentation_spec(images.shape[1]))) > 0
    union = (labels | source_labels).sum(axis=(1, 2))
    areas = labels.sum(axis=(1, 2)) / np.maximum(source_labels.sum(axis=(1, 2)), 1)
    return {
        "referee_dice": float(dice_per_image(seen, labels).mean()),
        "source_iou_median": float(np.median((labels & source_labels).sum(axis=(1, 2)) / np.maximum(union, 1))),
        "area_ratio_mean": float(areas.mean()),
        "area_ratio_deviation": float(areas.std()),
        "grain": grain(images, labels),
        "grain_of_held_out": grain(yardstick.images, yardstick.labels),
    }


def _distance(
    measure: Callable[..., Figure], yardstick: Yardstick, real: Images, made: Images, seed: int
) -> dict[str, Any] | None:
    if min(len(real), len(made)) < MINIMUM_IMAGES:
        return None
    features = [yardstick.extractor.features(each) for each in (real, made)]
    return measure(features[0], features[1], seed=seed_for(seed, "sampler-study")).model_dump(mode="json")


def _region(
    measure: Callable[..., Figure],
    yardstick: Yardstick,
    images: Images,
    regions: Labels,
    chosen: Labels,
    seed: int,
    real: Labels | None = None,
) -> dict[str, Any] | None:
    truth = slice(None) if real is None else real
    crops = (
        region_crops(yardstick.images[truth], yardstick.held_out_regions[truth], REGION_SIDE_PX),
        region_crops(images[chosen], regions[chosen], REGION_SIDE_PX),
    )
    return _distance(measure, yardstick, *crops, seed)
