"""The copy check within the evaluate job: stored pairs in; findings by name and a sheet of the closest pairs out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

from segsmith_evaluator.memorisation import (
    FALSE_ALARM_SHARE,
    LIKENESS_CAP,
    LIKENESS_FLOOR,
    CopyCheck,
    OnStage,
    Pictures,
    check_copies,
)
from segsmith_evaluator.metrics.copies import ClosePair, Memorisation
from segsmith_evaluator.metrics.figures import share_figure
from segsmith_evaluator.metrics.likeness import COMPARED_SIDE_PX, SHIFT_PX
from segsmith_evaluator.metrics.region import region_crops
from segsmith_shared.database.tables import Pair, Sample
from segsmith_shared.pairs.contact_sheet import enlarged, overlay, sheet
from segsmith_shared.pairs.pair import BoolArray, ByteArray
from segsmith_shared.plans.presets import REFERENCE_SIDE_PX, SamplingSpec
from segsmith_shared.storage.pair_arrays import images_of, labels_of
from segsmith_shared.vision.features import FeatureExtractor

CLOSEST = 12
CELL_PX = 160
HEADINGS = ("sample, its region", "nearest training picture", "region of the sample", "there, in the training one")


@dataclass(frozen=True)
class CheckedSet:
    """The findings, and the rows of the samples that are near-copies."""

    findings: Memorisation
    sheet: bytes
    near_copies: list[UUID]


@dataclass(frozen=True)
class CopyCheckInputs:
    """Squares uint8 (n, 4, H, H) of stored pairs, as every evaluation reads them, with the rows they come from."""

    samples: Sequence[Sample]
    sample_squares: ByteArray
    sample_regions: BoolArray
    training: Sequence[Pair]
    training_squares: ByteArray
    sampling: SamplingSpec


def name_of_sheet(label: str) -> str:
    """The artifact that shows a set's closest pairs."""
    return f"closest-{label}.png"


def checked_set(
    inputs: CopyCheckInputs, label: str, extractor: FeatureExtractor, *, dropped: bool, on_step: OnStage | None
) -> CheckedSet:
    """Check the samples of one set against the training pairs. Raises Interrupted."""
    samples = Pictures(images_of(inputs.sample_squares), inputs.sample_regions)
    training = _real_pictures(inputs.training_squares, inputs.sampling)
    place_of = {pair.id: place for place, pair in enumerate(inputs.training)}
    check = check_copies(
        samples,
        np.array([place_of.get(sample.source_pair_id, -1) for sample in inputs.samples]),
        training,
        extractor,
        groups=[pair.near_duplicate_group for pair in inputs.training],
        on_step=on_step,
    )
    training_names = [pair.name for pair in inputs.training]
    source_names = {pair.id: pair.name for pair in inputs.training}
    names = [f"{source_names.get(s.source_pair_id, s.source_pair_id)}~{s.sample_index}" for s in inputs.samples]
    findings = findings_of(
        check, names, training_names, stand_in=extractor.stand_in, sheet_name=name_of_sheet(label), dropped=dropped
    )
    near_copies = [inputs.samples[place].id for place in np.flatnonzero(check.near_copies).tolist()]
    return CheckedSet(findings, closest_sheet(check, findings, samples, training), near_copies)


def would_be_redrawn(labels: BoolArray, sampling: SamplingSpec) -> BoolArray:
    """What sampling would redraw of real pairs with these labels (n, H, H), to within a pixel at its edge."""
    if sampling.redraw == "full":
        return np.ones_like(labels)
    radius_px = sampling.dilation_px * labels.shape[-1] / REFERENCE_SIDE_PX
    grown = np.zeros_like(labels)
    for region, label in zip(grown, labels, strict=True):
        if label.any():
            region[:] = distance_transform_edt(~label) <= radius_px
    return ~grown if sampling.redraw == "background" else grown


def findings_of(
    check: CopyCheck,
    sample_names: Sequence[str],
    training_names: Sequence[str],
    *,
    stand_in: bool,
    sheet_name: str | None = None,
    dropped: bool = False,
) -> Memorisation:
    """The check as figures and named pairs; names in the order of the samples and of the training pictures."""
    order, flagged, limits = check.in_order(), check.near_copies, check.limits
    pairs = {place: _close_pair(check, place, sample_names, training_names) for place in order}
    return Memorisation(
        n=len(flagged),
        regions_compared=check.regions_compared,
        compared_side_px=COMPARED_SIDE_PX,
        shift_px=SHIFT_PX,
        stand_in=stand_in,
        calibration=_calibration(check),
        whole_threshold=limits.whole,
        region_threshold=limits.region,
        near_copies=share_figure(flagged),
        copies_of_own_source=share_figure(check.of_own_source),
        copies_of_others=share_figure(check.whole_copies | (check.region_copies & ~check.of_own_source)),
        false_alarms=check.false_alarms,
        authentic=check.authentic,
        authentic_region=check.authentic_region,
        flagged=tuple(pairs[place] for place in order if flagged[place]),
        closest=tuple(pairs[place] for place in order[:CLOSEST]),
        sheet=sheet_name,
        dropped=dropped,
        notes=tuple(_notes(check, stand_in=stand_in, dropped=dropped)),
    )


def closest_sheet(check: CopyCheck, findings: Memorisation, samples: Pictures, training: Pictures) -> bytes:
    """A PNG: sample and nearest training picture, laid over it as they match best, and the region of both."""
    rows, captions = [], []
    for place, pair in zip(check.in_order(), findings.closest, strict=False):
        _, nearest, _ = check.deciding(place)
        image, region = samples.images[place], samples.regions[place]
        scale = max(1.0, image.shape[0] / COMPARED_SIDE_PX)
        known = _laid_over(training.images[nearest.place[place]], pair, scale)
        rows.append([*(_outlined(picture, region) for picture in (image, known)), *_crops(image, known, region)])
        captions.append(_caption(pair))
    return sheet(rows, captions, HEADINGS, cell_px=CELL_PX)


def _real_pictures(squares: ByteArray, sampling: SamplingSpec) -> Pictures:
    return Pictures(images_of(squares), would_be_redrawn(labels_of(squares), sampling))


def _close_pair(check: CopyCheck, place: int, sample_names: Sequence[str], training_names: Sequence[str]) -> ClosePair:
    comparison, nearest, threshold = check.deciding(place)
    way, by_features = nearest.alignments[place], int(check.nearest_features[place])
    return ClosePair(
        sample=sample_names[place],
        training=training_names[int(nearest.place[place])],
        comparison=comparison,
        likeness=min(1.0, float(nearest.likeness[place])),  # rounding may exceed 1
        threshold=threshold.value,
        near_copy=bool(check.near_copies[place]),
        of_own_source=bool(check.of_own_source[place]) and comparison == "region",
        mirrored=way.mirrored,
        down_px=way.down_px,
        right_px=way.right_px,
        nearest_features=None if by_features < 0 else training_names[by_features],
    )


def _calibration(check: CopyCheck) -> str:
    whole, region = check.limits.whole, check.limits.region
    kept = 100 * (1 - FALSE_ALARM_SHARE)
    text = (
        f"Each threshold is what {kept:.0f} % of real pictures stay under, at least {LIKENESS_FLOOR} and at most "
        f"{LIKENESS_CAP}: {whole.n_training} training pictures, each against the others less its near-duplicates "
        f"({region.n_training} by region)"
    )
    return f"{text}."


def _notes(check: CopyCheck, *, stand_in: bool, dropped: bool) -> Iterator[str]:
    count = len(check.near_copies)
    yield (
        "What a sample shares with its own source outside the redrawn region is not counted: it is there by "
        "construction, and every sample stays derived from its source, whatever these figures say."
    )
    yield (
        f"Copies moved by more than {SHIFT_PX} px of {COMPARED_SIDE_PX}, turned, or scaled are not looked for: no "
        "near-copy found does not mean that nothing of a training picture was kept."
    )
    if check.regions_compared < count:
        yield f"The regions of {count - check.regions_compared} samples are too small to compare."
    for what, limit in (("whole pictures", check.limits.whole), ("regions", check.limits.region)):
        if limit.training_quantile is not None and limit.training_quantile > LIKENESS_CAP:
            yield (
                f"Real {what} resemble each other up to {limit.training_quantile:.2f}, but the threshold is held at "
                f"{LIKENESS_CAP} so that copies are found: more of what is flagged is chance. "
                "Are near-duplicates among the pairs?"
            )
    if stand_in:
        yield "AuthPct rests on stand-in features. Likeness, thresholds and near-copies need no features."
    if dropped:
        yield "The other figures of this set are of all its samples, before its near-copies were left out."


def _caption(pair: ClosePair) -> str:
    whose = "own source" if pair.of_own_source else pair.training
    verdict = "NEAR-COPY of" if pair.near_copy else "most like"
    how = "by its region" if pair.comparison == "region" else "as a whole"
    moved = ", mirrored" if pair.mirrored else ""
    return f"{pair.sample}: {verdict} {whose} {how}, {pair.likeness:.2f} (threshold {pair.threshold:.2f}){moved}"


def _laid_over(known: ByteArray, pair: ClosePair, scale: float) -> ByteArray:
    """The training picture mirrored and moved as it matches the sample best; edges are repeated."""
    picture = known[:, ::-1] if pair.mirrored else known
    down_px, right_px = round(pair.down_px * scale), round(pair.right_px * scale)
    margin_px = max(abs(down_px), abs(right_px))
    padded = np.pad(picture, ((margin_px, margin_px), (margin_px, margin_px), (0, 0)), mode="edge")
    top, left, side_px = margin_px - down_px, margin_px - right_px, picture.shape[0]
    return np.ascontiguousarray(padded[top : top + side_px, left : left + side_px])


def _outlined(picture: ByteArray, region: BoolArray) -> Image.Image:
    """Enlarged first, so that the outline is thinner than the picture's pixels."""
    image = Image.fromarray(picture)
    large = enlarged(image, CELL_PX) if max(image.size) < CELL_PX else image
    return overlay(large, np.zeros_like(region), region)


def _crops(image: ByteArray, known: ByteArray, region: BoolArray) -> list[Image.Image]:
    crops = region_crops(np.stack([image, known]), np.stack([region, region]), CELL_PX)
    return [Image.fromarray(crop) for crop in crops]
