"""Facts and pictures arranged as the page shows them: rows, tiles and titles, so that the template only lays out."""

import base64
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from PIL import Image

from segsmith_evaluator.report import plots
from segsmith_evaluator.report.facts import ClusteringFacts, Facts, JobFacts, PartFacts, SetFacts, StylingFacts
from segsmith_evaluator.report.outlines import outline_loops, svg_path
from segsmith_evaluator.report.pictures import BoolArray, ByteArray, ClusterPictures, SampleGroup, SetPictures
from segsmith_evaluator.report.sheets import jpeg_bytes, png_bytes
from segsmith_evaluator.report.words import MAIN_METRIC, count, counted, listed, number
from segsmith_shared.pairs.contact_sheet import class_colour
from segsmith_shared.plans.styling import StylingSpec

LOSSLESS_UP_TO_PX = 128
"""Larger pictures go into the page as JPEG; the stored samples stay lossless."""


@dataclass(frozen=True)
class Tile:
    """A picture of the page; where `data` is empty the picture of the same id is shown again."""

    id: str
    width_px: int
    height_px: int
    data: str = ""


@dataclass(frozen=True)
class Outline:
    """An SVG path around all pixels of one class, and its colour as #rrggbb."""

    path: str
    colour: str


@dataclass(frozen=True)
class GroupView:
    """A sample group with its outlines as SVG paths; of a label, one for each class that it shows."""

    source: Tile
    sample: Tile
    sample_again: Tile
    source_label: list[Outline]
    region: str
    sample_label: list[Outline]
    caption: str
    rejection: str | None
    before: Tile | None


@dataclass(frozen=True)
class SetView:
    id: str
    facts: SetFacts
    sampler: str
    accepted: list[GroupView]
    rejected: list[GroupView]


@dataclass(frozen=True)
class ClusterView:
    number: int
    size: int
    bar: float
    thumbnails: list[str]


@dataclass(frozen=True)
class ClusteringView:
    sentence: str
    stand_in: bool
    silhouettes: list[tuple[int, float]]
    silhouette_plot: str
    merges: list[str]
    clusters: list[ClusterView]


@dataclass(frozen=True)
class CostRow:
    kind: str
    jobs: int
    run_seconds: float
    longest_seconds: float
    peak_memory_bytes: int
    work: str


def data_uri(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def svg_uri(svg: str) -> str:
    return data_uri(svg.encode(), "image/svg+xml")


def legend(facts: Facts) -> list[tuple[str, str]]:
    """What each colour of an outline means: (what, #rrggbb)."""
    names = facts.training.class_names or ("label (lesion)",)
    return [(name, class_colour(number)) for number, name in enumerate(names, start=1)]


def set_views(facts: Facts, pictures: Sequence[SetPictures]) -> list[SetView]:
    """One view per set, in the facts' order; a set without pictures keeps its figures."""
    of_label = {item.label: item for item in pictures}
    return [_set_view(index, item, of_label.get(item.label)) for index, item in enumerate(facts.sets)]


def clustering_views(facts: Facts, pictures: Sequence[Sequence[ClusterPictures]]) -> list[ClusteringView]:
    shown = [*pictures, *[()] * (len(facts.clusterings) - len(pictures))]
    return [_clustering_view(item, shown[index]) for index, item in enumerate(facts.clusterings)]


def loss_plots(facts: Facts) -> Iterator[dict[str, str]]:
    """One plot per recipe that recorded a loss."""
    drawn = [model for model in facts.models if model.curve_loss]
    for recipe, models in groupby(drawn, key=lambda model: model.recipe):
        yield {"recipe": recipe, "picture": svg_uri(plots.loss_curves(list(models)))}


def study_plot(facts: Facts) -> str:
    """IoU by arm, one panel per test set; empty without scores."""
    study = facts.segmentation
    if study is None:
        return ""
    panels = []
    for test in study.tests:
        scores = [score for arm in study.arms if (score := study.score(arm.name, test, MAIN_METRIC)) is not None]
        rows = tuple(plots.Row(s.arm, s.estimate, tuple(s.seeds.values()) if len(s.seeds) > 1 else ()) for s in scores)
        if rows:
            panels.append(plots.Panel(f"tested on {test}", rows))
    return svg_uri(plots.dots_and_intervals(panels, "IoU, mean over images")) if panels else ""


def cost_rows(facts: Facts) -> list[CostRow]:
    """Costs per kind, in the order the jobs were made, and a line for all."""
    kinds = list(dict.fromkeys(job.kind for job in facts.jobs))
    rows = [_cost_row(kind, [job for job in facts.jobs if job.kind == kind], _work(kind, facts)) for kind in kinds]
    return [*rows, _cost_row("all", list(facts.jobs), "")] if rows else []


def parameter_blocks(facts: Facts) -> Iterator[dict[str, str]]:
    """What was asked for and what ran, each as JSON."""
    yield _block("The request", facts.pipeline.spec)
    seen = set()
    for model in facts.models:
        if model.recipe not in seen:
            seen.add(model.recipe)
            yield _block(f"Preset of {model.recipe}, as it ran", model.preset)
    for item in facts.sets:
        if item.styling is None:
            yield _block(f"Sampling of {item.label}", item.sampling)
        else:
            yield _block(f"Styling of {item.label}", item.styling.spec)
    if facts.segmentation is not None:
        yield _block("Segmentation training", facts.segmentation.parameters)
    if facts.jobs:
        jobs = {f"{job.name or job.kind} ({job.id})": _less_presets(job.spec) for job in facts.jobs}
        yield _block("Every job: seeds, threads and references", jobs)


def import_reports(facts: Facts) -> list[dict[str, Any]]:
    """What each import said, once per dataset version."""
    by_version = {part.version_id: part for part in facts.parts if part.import_words}
    return [
        {"dataset": part.dataset, "version": part.version_number, "text": part.import_words}
        for part in by_version.values()
    ]


def provenance_parts(facts: Facts) -> list[PartFacts]:
    return list({part.version_id: part for part in facts.parts}.values())


def _set_view(index: int, item: SetFacts, pictures: SetPictures | None) -> SetView:
    accepted = pictures.accepted if pictures else ()
    rejected = pictures.rejected if pictures else ()
    return SetView(
        id=f"set-{index}",
        facts=item,
        sampler=_sampler(item.sampling) if item.styling is None else _styling(item.styling),
        accepted=[_group_view(f"p{index}-{place}", group) for place, group in enumerate(accepted)],
        rejected=[_group_view(f"r{index}-{place}", group) for place, group in enumerate(rejected)],
    )


def _sampler(sampling: dict[str, Any]) -> str:
    name = str(sampling.get("sampler", "unknown"))
    parts = [f"redraws the {sampling['redraw']}"] if "redraw" in sampling else []
    if name == "repaint":
        jumps = (sampling.get(field, "?") for field in ("respaced_steps", "jump_length", "jump_visits"))
        parts.append("T, j, r = {}, {}, {}".format(*jumps))
    if "dilation_px" in sampling:
        parts.append(f"region grown by {sampling['dilation_px']} px at 256 px")
    return ", ".join([name, *parts])


def _styling(styling: StylingFacts) -> str:
    spec = StylingSpec.model_validate(styling.spec)
    parts = [
        f"styled after the real source, procedure {spec.procedure}",
        f"{spec.guided_steps} guided steps",
        f"compared by {listed(styling.networks)}",
        f"mask channel against the inpainted label: median Dice {number(styling.label_drift, 2)}",
    ]
    return ", ".join(parts)


def _group_view(id_: str, group: SampleGroup) -> GroupView:
    sample = _tile(f"{id_}s", group.sample)
    return GroupView(
        source=_tile(f"{id_}o", group.source),
        sample=sample,
        sample_again=Tile(sample.id, sample.width_px, sample.height_px),
        source_label=_outlines(group.source_label),
        region=_path(group.redraw_region),
        sample_label=_outlines(group.sample_label),
        caption=group.caption,
        rejection=group.rejection,
        before=None if group.content is None else _tile(f"{id_}c", group.content),
    )


def _tile(id_: str, pixels: ByteArray) -> Tile:
    height_px, width_px = pixels.shape[:2]
    image = Image.fromarray(pixels)
    if max(width_px, height_px) <= LOSSLESS_UP_TO_PX:
        data = data_uri(png_bytes(image), "image/png")
    else:
        data = data_uri(jpeg_bytes(image, quality=90), "image/jpeg")
    return Tile(id_, width_px, height_px, data)


def _outlines(label: BoolArray | ByteArray) -> list[Outline]:
    paths = {number: _path(np.asarray(label == number)) for number in range(1, int(label.max()) + 1)}
    return [Outline(path, class_colour(number)) for number, path in paths.items() if path]


def _path(mask: BoolArray) -> str:
    return svg_path(outline_loops(mask))


def _clustering_view(item: ClusteringFacts, pictures: Sequence[ClusterPictures]) -> ClusteringView:
    of_cluster = {shown.cluster: shown.thumbnails for shown in pictures}
    largest = max((cluster.size for cluster in item.clusters), default=1)
    plot = plots.silhouettes(item.silhouettes, item.requested) if len(item.silhouettes) > 1 else ""
    return ClusteringView(
        sentence=_clustering_sentence(item),
        stand_in=item.extractor is not None and item.extractor.stand_in,
        silhouettes=sorted(item.silhouettes.items()),
        silhouette_plot=svg_uri(plot) if plot else "",
        merges=[
            f"A cluster of {counted(merge.size, 'pair')} was too small to train on and went to its nearest neighbour."
            for merge in item.merges
        ],
        clusters=[
            ClusterView(
                cluster.index + 1,
                cluster.size,
                round(12 * cluster.size / largest, 2),
                [data_uri(_small(data), "image/jpeg") for data in of_cluster.get(cluster.index, ())],
            )
            for cluster in item.clusters
        ],
    )


def _clustering_sentence(item: ClusteringFacts) -> str:
    pairs = counted(sum(cluster.size for cluster in item.clusters), "pair")
    clusters = counted(len(item.clusters), "cluster")
    if item.method == "imported":
        return f"{pairs} in {clusters}, as imported with the request."
    extractor = f" in the features of {item.extractor.name}" if item.extractor else ""
    return f"{pairs} in {clusters}, found by {item.method}{extractor}, images and labels together."


def _small(jpeg: bytes, height_px: int = 120) -> bytes:
    """A thumbnail for the page; the stored one is larger than it is shown."""
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    image.thumbnail((2 * height_px, height_px), Image.Resampling.LANCZOS)
    return jpeg_bytes(image, quality=82)


def _cost_row(kind: str, jobs: Sequence[JobFacts], work: str) -> CostRow:
    return CostRow(
        kind=kind,
        jobs=len(jobs),
        run_seconds=sum(job.run_seconds for job in jobs),
        longest_seconds=max(job.run_seconds for job in jobs),
        peak_memory_bytes=max(job.peak_memory_bytes for job in jobs),
        work=work,
    )


def _work(kind: str, facts: Facts) -> str:
    if kind == "train" and facts.models:
        return f"{count(sum(model.images_seen for model in facts.models if not model.imported))} images seen"
    if kind == "generate" and facts.sets:
        return _evaluations([item for item in facts.sets if item.styling is None])
    if kind == "style" and facts.sets:
        return _evaluations([item for item in facts.sets if item.styling is not None])
    if kind == "segment" and facts.segmentation is not None:
        steps = sum((arm.steps or 0) * len(arm.seeds) for arm in facts.segmentation.arms)
        return f"{count(steps)} optimiser steps"
    return ""


def _evaluations(sets: Sequence[SetFacts]) -> str:
    evaluations, samples = sum(item.evaluations for item in sets), sum(item.attempted for item in sets)
    return f"{count(evaluations)} U-Net evaluations, {count(samples)} samples"


def _less_presets(spec: dict[str, Any]) -> dict[str, Any]:
    """A job's specification without the presets, which stand above once for all."""
    return {field: value for field, value in spec.items() if field not in {"preset", "trainings"}}


def _block(title: str, document: dict[str, Any]) -> dict[str, str]:
    return {"title": title, "text": json.dumps(document, indent=2, ensure_ascii=False, sort_keys=False)}
