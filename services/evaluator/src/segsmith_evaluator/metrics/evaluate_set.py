"""Every intrinsic figure of one synthetic set against real pairs, in one value that JSON can hold (science §6)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from segsmith_evaluator.metrics.copies import Memorisation
from segsmith_evaluator.metrics.fid import fid_figure, fid_figure_of_all, rank_note
from segsmith_evaluator.metrics.figures import Figure, OnCount
from segsmith_evaluator.metrics.kid import MINIMUM_IMAGES, kid_figure
from segsmith_evaluator.metrics.moments import Moments
from segsmith_evaluator.metrics.ms_ssim import ENLARGED_SIDE_PX, ms_ssim_figure
from segsmith_evaluator.metrics.region import region_crops
from segsmith_shared.problems import InvalidInput
from segsmith_shared.randomness import numpy_generator_for, seed_for
from segsmith_shared.vision.features import FeatureExtractor, Features

Images = NDArray[np.uint8]
Regions = NDArray[np.bool_]
OnStage = Callable[[str, int, int], bool | None]


class SetTooSmall(InvalidInput):
    """Distances between sets need a few images on each side."""

    title = "Too few images to evaluate"


class MetricOptions(BaseModel):
    """How exactly to measure; `ms_ssim_pairs` None takes all pairs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ms_ssim_pairs: int | None = 2000
    bootstrap_samples: int = 200
    kid_subsets: int = 100
    region_side_px: int = 128


class SetMetrics(BaseModel):
    """The figures of one synthetic set. `stand_in`: the features compare with no published figure.

    `memorisation` is the copy check, which the evaluate job adds; None where it was not made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    extractor: str
    extractor_digest: str
    stand_in: bool
    n_real: int
    n_synthetic: int
    fid: Figure
    kid: Figure
    ms_ssim_real: Figure
    ms_ssim_synthetic: Figure
    region_fid: Figure | None = None
    region_kid: Figure | None = None
    floor_fid: Figure | None = None
    memorisation: Memorisation | None = None
    notes: list[str]


FLOOR_OF_HALVES = "Floor: FID between two halves of the real pictures"


@dataclass(frozen=True)
class WholeSets:
    """The moments of the features of all pictures of both sides, and of their redrawn regions where there are any.

    `real_halves` are those of two halves of the real pictures, whose distance is the floor where none are held out.
    """

    real: Moments
    synthetic: Moments
    real_regions: Moments | None = None
    synthetic_regions: Moments | None = None
    real_halves: tuple[Moments, Moments] | None = None


@dataclass(frozen=True)
class _Measuring:
    """What every stage needs; progress goes out under the stage's name."""

    extractor: FeatureExtractor
    seed: int
    options: MetricOptions
    on_stage: OnStage | None

    def progress(self, stage: str) -> OnCount | None:
        if self.on_stage is None:
            return None
        on_stage = self.on_stage
        return lambda done, total: on_stage(stage, done, total)

    def features(self, images: Images, what: str) -> Features:
        return self.extractor.features(images, self.progress(f"features of {what}"))

    def fid(self, first: Features, second: Features, what: str) -> Figure:
        return fid_figure(
            first,
            second,
            seed=seed_for(self.seed, what),
            samples=self.options.bootstrap_samples,
            on_step=self.progress(what),
        )

    def kid(self, first: Features, second: Features, what: str) -> Figure:
        return kid_figure(
            first, second, seed=seed_for(self.seed, what), subsets=self.options.kid_subsets, on_step=self.progress(what)
        )

    def ms_ssim(self, images: Images, what: str) -> Figure:
        return ms_ssim_figure(
            images, seed=seed_for(self.seed, what), pairs=self.options.ms_ssim_pairs, on_step=self.progress(what)
        )


def evaluate_set(
    real: Images,
    synthetic: Images,
    extractor: FeatureExtractor,
    *,
    seed: int,
    real_regions: Regions | None = None,
    synthetic_regions: Regions | None = None,
    held_out: Images | None = None,
    options: MetricOptions | None = None,
    on_step: OnStage | None = None,
) -> SetMetrics:
    """FID, KID, MS-SSIM of uint8 (n, H, W, 3) against (m, H, W, 3), the floor, and FID and KID of the redrawn regions.

    Regions are bool (n, H, W) and (m, H, W), for the real pictures what would be redrawn of them. The floor is FID
    between real and `held_out`, or between two halves of real. `on_step(stage, done, total)` returning True raises
    Interrupted. Raises SetTooSmall under four pictures on a side.
    """
    _check_size(real, synthetic)
    measuring = _Measuring(extractor, seed, options or MetricOptions(), on_step)
    real_features = measuring.features(real, "real pictures")
    synthetic_features = measuring.features(synthetic, "synthetic pictures")
    floor, floor_notes = _floor(measuring, real_features, held_out)
    region_fid, region_kid, region_notes = _region(measuring, real, real_regions, synthetic, synthetic_regions)
    metrics = SetMetrics(
        extractor=extractor.name,
        extractor_digest=extractor.digest,
        stand_in=extractor.stand_in,
        n_real=len(real),
        n_synthetic=len(synthetic),
        fid=measuring.fid(real_features, synthetic_features, "FID"),
        kid=measuring.kid(real_features, synthetic_features, "KID"),
        ms_ssim_real=measuring.ms_ssim(real, "MS-SSIM of real pictures"),
        ms_ssim_synthetic=measuring.ms_ssim(synthetic, "MS-SSIM of synthetic pictures"),
        region_fid=region_fid,
        region_kid=region_kid,
        floor_fid=floor,
        notes=[],
    )
    return metrics.model_copy(update={"notes": [*_notes(metrics, extractor), *floor_notes, *region_notes]})


def of_all_pictures(drawn: SetMetrics, whole: WholeSets) -> SetMetrics:
    """The metrics of sets of which `drawn` holds those of some pictures: FID of all, the rest as it was measured."""
    dimension, n = len(whole.real.mean), min(whole.real.count, whole.synthetic.count)
    floor, floor_note = drawn.floor_fid, "the floor, "
    if whole.real_halves is not None and floor is not None:
        floor, floor_note = fid_figure_of_all(floor, *whole.real_halves), ""
    note = (
        f"FID is of all {whole.real.count:,} real and {whole.synthetic.count:,} synthetic pictures. What compares "
        f"pictures with each other (KID, MS-SSIM, {floor_note}the spread of FID, the copy check) is of "
        f"{drawn.n_real:,} and {drawn.n_synthetic:,} of them, drawn by the seed."
    )
    of_drawn = [rank_note(min(drawn.n_real, drawn.n_synthetic), dimension)]
    if not floor_note:
        of_drawn += [each for each in drawn.notes if each.startswith(FLOOR_OF_HALVES)]
    notes = [
        note,
        rank_note(n, dimension),
        *(each for each in drawn.notes if each not in of_drawn),
        None if floor_note or floor is None else f"{FLOOR_OF_HALVES}, at n = {floor.n:,}, so higher than at full n.",
    ]
    return drawn.model_copy(
        update={
            "n_real": whole.real.count,
            "n_synthetic": whole.synthetic.count,
            "fid": fid_figure_of_all(drawn.fid, whole.real, whole.synthetic),
            "region_fid": _region_fid_of_all(drawn.region_fid, whole),
            "floor_fid": floor,
            "notes": [each for each in notes if each],
        }
    )


def _region_fid_of_all(drawn: Figure | None, whole: WholeSets) -> Figure | None:
    if drawn is None or whole.real_regions is None or whole.synthetic_regions is None:
        return drawn
    return fid_figure_of_all(drawn, whole.real_regions, whole.synthetic_regions)


def _check_size(real: Images, synthetic: Images) -> None:
    smallest = min(len(real), len(synthetic))
    if smallest < MINIMUM_IMAGES:
        raise SetTooSmall(
            f"There are {len(real)} real and {len(synthetic)} synthetic pictures; each side needs {MINIMUM_IMAGES}.",
            hint="Generate more samples, or look at why so many were rejected.",
        )


def _floor(measuring: _Measuring, real_features: Features, held_out: Images | None) -> tuple[Figure | None, list[str]]:
    """FID of real pictures against other real ones: what a perfect generator would get at about this n."""
    if held_out is not None and len(held_out) >= MINIMUM_IMAGES:
        figure = measuring.fid(real_features, measuring.features(held_out, "held-out pictures"), "FID floor")
        return figure, [f"Floor: FID between the real pictures and {len(held_out)} held-out real ones."]
    order = numpy_generator_for(measuring.seed, "floor-halves").permutation(len(real_features))
    half = len(order) // 2
    figure = measuring.fid(real_features[order[:half]], real_features[order[half:]], "FID floor")
    return figure, [f"{FLOOR_OF_HALVES}, at n = {half}, so higher than at full n."]


def _region(
    measuring: _Measuring,
    real: Images,
    real_regions: Regions | None,
    synthetic: Images,
    synthetic_regions: Regions | None,
) -> tuple[Figure | None, Figure | None, list[str]]:
    if real_regions is None or synthetic_regions is None:
        return None, None, []
    side_px = measuring.options.region_side_px
    crops = region_crops(real, real_regions, side_px), region_crops(synthetic, synthetic_regions, side_px)
    if min(map(len, crops)) < MINIMUM_IMAGES:
        return None, None, ["Too few pictures have a redrawn region to measure it alone."]
    first, second = (
        measuring.features(each, f"{what} regions") for each, what in zip(crops, ("real", "synthetic"), strict=True)
    )
    return measuring.fid(first, second, "FID of the region"), measuring.kid(first, second, "KID of the region"), []


def _notes(metrics: SetMetrics, extractor: FeatureExtractor) -> list[str]:
    notes = [rank_note(min(metrics.n_real, metrics.n_synthetic), extractor.dimension)]
    if metrics.stand_in:
        notes.append(
            f"Features come from the stand-in {extractor.name!r}, not from FID-Inception: FID and KID compare sets "
            "of this installation with each other, and with nothing published."
        )
    enlarged_from_px = metrics.ms_ssim_synthetic.detail.get("enlarged_from_px")
    if enlarged_from_px is not None:
        notes.append(
            f"MS-SSIM needs sides over 160 px: all pictures of {enlarged_from_px} px were first enlarged to "
            f"{ENLARGED_SIDE_PX} px (bicubic), real and synthetic alike."
        )
    return [note for note in notes if note]
