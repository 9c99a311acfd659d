"""Which pictures a report shows, and what is measured on a set's labels: the only room that reads stored objects."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segsmith_evaluator.report.facts import LabelFacts
from segsmith_evaluator.report.gather import are_drawn, sets_of
from segsmith_evaluator.report.pictures import (
    BoolArray,
    ByteArray,
    ClusterPictures,
    Pictures,
    SampleGroup,
    SetPictures,
)
from segsmith_evaluator.report.rows import Rows
from segsmith_evaluator.report.sheets import jpeg_bytes
from segsmith_evaluator.report.views import LOSSLESS_UP_TO_PX
from segsmith_shared.database.tables import Artifact, Clustering, Pair, Sample
from segsmith_shared.pairs.classes import classes_of
from segsmith_shared.pairs.drawn import recover_lesion
from segsmith_shared.randomness import numpy_generator_for
from segsmith_shared.storage.objects import ObjectStore
from segsmith_shared.storage.pair_arrays import read_label, read_region

PICTURE_BUDGET_BYTES = 3_500_000
"""Of sample pictures on the page; base64 adds a third, clusters and plots about 1 MB."""
GROUPS_AT_MOST, GROUPS_AT_LEAST, REJECTED_AT_MOST = 24, 4, 8
THUMBNAILS_BUDGET, THUMBNAILS_AT_MOST = 240, 24
COPY_SHEETS_BUDGET_BYTES, AGREEMENT_SHEETS_BUDGET_BYTES = 1_200_000, 400_000
MEASURED_AT_MOST = 500

Progress = Callable[[int, int], None]


def pictures_of(rows: Rows, objects: ObjectStore) -> Pictures:
    """Picked by the pipeline's seed. Sets that share sources show the same ones, so that they can be compared."""
    sets = list(sets_of(rows))
    names = {pair.id: pair.name for pair in rows.training.pairs}
    order = _seeded_order(rows)
    sides_px = [generation.spec["preset"]["network"]["side_px"] for generation in rows.generations]
    limit = groups_per_set(max(sides_px, default=64), len(sets))
    return Pictures(
        sets=tuple(
            _set_pictures(
                label,
                _picked_groups(samples, order, limit),
                names,
                objects,
                classes_of(rows.training.version.class_names),
            )
            for label, _, _, samples in sets
        ),
        clusters=tuple(_cluster_pictures(item, rows.training.pairs, objects) for item in rows.clusterings),
        copy_sheets=dict(_sheets(rows.copy_sheets, objects, COPY_SHEETS_BUDGET_BYTES)),
        agreement_sheets=dict(_sheets(rows.agreement_sheets, objects, AGREEMENT_SHEETS_BUDGET_BYTES)),
    )


def _sheets(artifacts: Mapping[str, Artifact], objects: ObjectStore, left_bytes: int) -> Iterator[tuple[str, bytes]]:
    """As many of a kind's sheets as the page has room for, as JPEG by set label; all lie beside it as PNG."""
    for label, artifact in artifacts.items():
        data = jpeg_bytes(Image.fromarray(_image(objects.get_bytes(artifact.digest))), quality=80)
        if len(data) <= left_bytes:
            left_bytes -= len(data)
            yield label, data


def measured_labels(rows: Rows, objects: ObjectStore, on_progress: Progress) -> dict[str, LabelFacts]:
    """How each set's labels relate to their sources', over at most 500 accepted samples picked by seed."""
    drawn = are_drawn(rows.training.pairs)
    order = _seeded_order(rows)
    picked = {label: _picked(samples, order, MEASURED_AT_MOST) for label, _, _, samples in sets_of(rows)}
    total, done = sum(map(len, picked.values())), 0
    facts = {}
    for label, samples in picked.items():
        measurements = []
        for measurement in _measurements(samples, objects, classes_of(rows.training.version.class_names), drawn=drawn):
            measurements.append(measurement)
            done += 1
            on_progress(done, total)
        if measurements:
            facts[label] = label_facts(measurements)
    return facts


def label_facts(measurements: Sequence[tuple[float, float, float]]) -> LabelFacts:
    """Medians over (IoU with the source's label, area ratio, Dice with the recovered lesion or NaN) per sample."""
    iou, ratio, fit = np.array(measurements).T
    return LabelFacts(
        n=len(measurements),
        iou_with_source=float(np.median(iou)),
        area_ratio=float(np.median(ratio)),
        area_ratio_deviation=float(np.std(ratio, ddof=1)) if len(ratio) > 1 else 0.0,
        fit=None if np.isnan(fit).any() else float(np.median(fit)),
    )


def compare(label: BoolArray, source_label: BoolArray, recovered: BoolArray | None) -> tuple[float, float, float]:
    """IoU with the source's label, area over the source's, and Dice with the recovered lesion (NaN where None).

    Masks bool (H, W). The source's label is not empty: a source without a lesion gives no sample.
    """
    iou = float((label & source_label).sum() / max(1, (label | source_label).sum()))
    ratio = float(label.sum() / max(1, source_label.sum()))
    fit = np.nan
    if recovered is not None:
        fit = float(2 * (label & recovered).sum() / max(1, label.sum() + recovered.sum()))
    return iou, ratio, fit


def groups_per_set(side_px: int, sets: int) -> int:
    """As many groups as the page's budget allows for: two pictures each, as PNG (2.2 bytes a pixel) or JPEG."""
    group_bytes = 2 * side_px**2 * (2.2 if side_px <= LOSSLESS_UP_TO_PX else 0.9)
    affordable = int(PICTURE_BUDGET_BYTES / group_bytes / max(1, sets))
    return min(GROUPS_AT_MOST, max(GROUPS_AT_LEAST, affordable))


def _measurements(
    samples: Sequence[Sample], objects: ObjectStore, classes: int, *, drawn: bool
) -> Iterator[tuple[float, float, float]]:
    labels = objects.get_many(sample.label_digest for sample in samples)
    sources = objects.get_many(sample.source_label_digest for sample in samples)
    images = objects.get_many(sample.image_digest for sample in samples) if drawn else iter([b""] * len(samples))
    for label, source, image in zip(labels, sources, images, strict=True):
        lesions, source_lesions = (read_label(png, classes) > 0 for png in (label, source))
        yield compare(lesions, source_lesions, recover_lesion(_image(image)) if image else None)


def _seeded_order(rows: Rows) -> dict[UUID, int]:
    """A place in a random order for every source."""
    pairs = rows.training.pairs
    places = numpy_generator_for(rows.spec.seed, "report-pictures").permutation(len(pairs))
    return {pair.id: int(place) for pair, place in zip(pairs, places, strict=True)}


def _picked(samples: Sequence[Sample], order: Mapping[UUID, int], limit: int, *, accepted: bool = True) -> list[Sample]:
    of_kind = [sample for sample in samples if sample.accepted == accepted]
    return sorted(of_kind, key=lambda sample: order.get(sample.source_pair_id, len(order)))[:limit]


def _picked_groups(
    samples: Sequence[Sample], order: Mapping[UUID, int], limit: int
) -> tuple[list[Sample], list[Sample]]:
    """Accepted and rejected samples to show."""
    rejected = _picked(samples, order, min(limit, REJECTED_AT_MOST), accepted=False)
    return _picked(samples, order, limit), rejected


def _set_pictures(
    label: str,
    picked: tuple[list[Sample], list[Sample]],
    names: Mapping[UUID, str],
    objects: ObjectStore,
    classes: int,
) -> SetPictures:
    accepted, rejected = (tuple(_groups(samples, names, objects, classes)) for samples in picked)
    return SetPictures(label=label, accepted=accepted, rejected=rejected)


def _groups(
    samples: Sequence[Sample], names: Mapping[UUID, str], objects: ObjectStore, classes: int
) -> Iterator[SampleGroup]:
    digests = (
        digest
        for s in samples
        for digest in (s.source_digest, s.source_label_digest, s.region_digest, s.image_digest, s.label_digest)
    )
    stored = objects.get_many(digests)
    contents = objects.get_many(digest for s in samples if (digest := s.provenance.get("content_digest")))
    for sample in samples:
        source, source_label, region, image, label = (next(stored) for _ in range(5))
        styled = "content_digest" in sample.provenance
        yield SampleGroup(
            source=_image(source),
            source_label=read_label(source_label, classes),
            redraw_region=read_region(region),
            sample=_image(image),
            sample_label=read_label(label, classes),
            caption=_caption(sample, names),
            rejection=None if sample.accepted else (sample.rejection_reason or "rejected"),
            content=_image(next(contents)) if styled else None,
        )


def _caption(sample: Sample, names: Mapping[UUID, str]) -> str:
    name = names.get(sample.source_pair_id, str(sample.source_pair_id))
    return name if sample.cluster is None else f"{name} · model of cluster {sample.cluster + 1}"


def _cluster_pictures(
    clustering: Clustering, pairs: Sequence[Pair], objects: ObjectStore
) -> tuple[ClusterPictures, ...]:
    each = min(THUMBNAILS_AT_MOST, max(4, THUMBNAILS_BUDGET // max(1, clustering.cluster_count)))
    members: dict[int, list[Pair]] = {index: [] for index in range(clustering.cluster_count)}
    for pair in pairs:
        cluster = clustering.assignments.get(str(pair.id))
        if cluster is not None and len(members[cluster]) < each:
            members[cluster].append(pair)
    return tuple(
        ClusterPictures(cluster, tuple(objects.get_many(pair.overlay_digest for pair in shown)))
        for cluster, shown in members.items()
    )


def _image(png: bytes) -> ByteArray:
    pixels: NDArray[np.uint8] = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    return pixels
