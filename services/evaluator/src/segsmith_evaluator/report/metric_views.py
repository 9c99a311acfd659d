"""The table of likeness and diversity: our figures, those of real halves, and the published ones beside them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from segsmith_evaluator.metrics.evaluate_set import SetMetrics
from segsmith_evaluator.metrics.figures import Figure
from segsmith_evaluator.metrics.published import PROTOCOL_NOTE, PUBLISHED, PublishedFigure
from segsmith_evaluator.report import plots
from segsmith_evaluator.report.facts import Estimate, ExtractorFacts, Facts
from segsmith_evaluator.report.views import svg_uri
from segsmith_evaluator.report.words import fitting_digits, listed, number

COLUMNS = ("FID", "FID, redrawn region", "KID × 1000", "KID × 1000, redrawn region", "MS-SSIM within")
_LEAST_DIGITS = (1, 1, 2, 2, 3)
_KID_SCALE = 1000
_PUBLISHED_COLUMNS = {"FID": 0, "MS-SSIM": 4}


@dataclass(frozen=True)
class Cell:
    estimate: Estimate | None
    digits: int


@dataclass(frozen=True)
class MetricRow:
    """One line: a set, the same at the n of half of the real pairs, or the real pairs themselves."""

    name: str
    n_real: int | None
    n_synthetic: int | None
    stand_in: bool
    cells: list[Cell]


@dataclass(frozen=True)
class PublishedRow:
    name: str
    cells: list[str]


def context(facts: Facts) -> dict[str, Any]:
    """What the template needs to show the metrics."""
    metrics = [item.metrics for item in facts.evaluations]
    return {
        "evaluations": facts.evaluations,
        "metric_columns": COLUMNS,
        "metric_rows": _rows(facts),
        "metric_notes": list(dict.fromkeys(note for item in metrics for note in item.notes)),
        "extractor_names": listed(sorted({item.extractor for item in metrics})),
        "stand_in_metrics": any(item.stand_in for item in metrics),
        "fid_plot": _fid_plot(facts),
        "published_rows": _published_rows(),
        "published_segmentation": [row for row in PUBLISHED if row.metric not in _PUBLISHED_COLUMNS],
        "protocol_note": PROTOCOL_NOTE,
        "extractors": _extractors(facts),
    }


def _extractors(facts: Facts) -> list[ExtractorFacts]:
    """Every network that made features for this run, once."""
    of_metrics = [
        ExtractorFacts(name=m.extractor, digest=m.extractor_digest, stand_in=m.stand_in)
        for m in (item.metrics for item in facts.evaluations)
    ]
    return list(dict.fromkeys([*(c.extractor for c in facts.clusterings if c.extractor), *of_metrics]))


def _rows(facts: Facts) -> list[MetricRow]:
    """The sets, then each against halves of the real pairs, and for each n of these the halves against each other."""
    if not facts.evaluations:
        return []
    rows = [_set_row(item.label, item.metrics) for item in facts.evaluations]
    matched = [row for item in facts.evaluations if (row := _matched_row(item.label, item.metrics))]
    halves = [_halves_row(metrics) for metrics in _by_half_size(facts)]
    return [*rows, _real_row(facts.evaluations[0].metrics), *matched, *halves]


def _set_row(label: str, metrics: SetMetrics) -> MetricRow:
    figures = (metrics.fid, metrics.region_fid, metrics.kid, metrics.region_kid, metrics.ms_ssim_synthetic)
    return MetricRow(label, metrics.n_real, metrics.n_synthetic, metrics.stand_in, _cells(figures))


def _real_row(metrics: SetMetrics) -> MetricRow:
    figures = (None, None, None, None, metrics.ms_ssim_real)
    return MetricRow("real pairs", metrics.n_real, None, metrics.stand_in, _cells(figures))


def _matched_row(label: str, metrics: SetMetrics) -> MetricRow | None:
    if metrics.matched_fid is None:
        return None
    n, figures = metrics.matched_fid.n, (metrics.matched_fid, None, metrics.matched_kid, None, None)
    return MetricRow(f"{label}, against halves of the real pairs", n, n, metrics.stand_in, _cells(figures))


def _by_half_size(facts: Facts) -> list[SetMetrics]:
    """One evaluation for each n at which halves were compared, the largest n first: figures compare at one n only."""
    found = {item.metrics.real_halves_fid.n: item.metrics for item in facts.evaluations if item.metrics.real_halves_fid}
    return [found[n] for n in sorted(found, reverse=True)]


def _halves_row(metrics: SetMetrics) -> MetricRow:
    n = metrics.real_halves_fid.n if metrics.real_halves_fid else None
    figures = (metrics.real_halves_fid, None, metrics.real_halves_kid, None, None)
    return MetricRow("real pairs, against the other half", n, None, metrics.stand_in, _cells(figures))


def _cells(figures: Sequence[Figure | None]) -> list[Cell]:
    scales = (1, 1, _KID_SCALE, _KID_SCALE, 1)
    return [
        Cell(_estimate(figure, scale), fitting_digits(figure.value * scale if figure else 0, least))
        for figure, scale, least in zip(figures, scales, _LEAST_DIGITS, strict=True)
    ]


def _estimate(figure: Figure | None, scale: float = 1) -> Estimate | None:
    if figure is None:
        return None
    low, high = (None if bound is None else bound * scale for bound in (figure.low, figure.high))
    return Estimate(value=figure.value * scale, low=low, high=high, n=figure.n)


def _fid_plot(facts: Facts) -> str:
    """FID at full n, FID at the n of halves beside that of real halves, FID of the region; empty without metrics."""
    if not facts.evaluations:
        return ""
    panels = []
    whole = [_plot_row(item.label, item.metrics.fid) for item in facts.evaluations]
    region = [_plot_row(item.label, item.metrics.region_fid) for item in facts.evaluations]
    against_halves = {
        f"against halves, n = {metrics.real_halves_fid.n}": _rows_at(facts, metrics.real_halves_fid)
        for metrics in _by_half_size(facts)
        if metrics.real_halves_fid
    }
    panels_of = {"whole picture": whole, **against_halves, "redrawn region": region}
    for title, found in panels_of.items():
        if rows := tuple(row for row in found if row is not None):
            panels.append(plots.Panel(title, rows))
    return svg_uri(plots.dots_and_intervals(panels, "FID (lower is closer)", one_scale=False))


def _rows_at(facts: Facts, halves: Figure) -> list[plots.Row | None]:
    """The sets that were compared at the n of these halves, and the halves themselves."""
    matched = [(item.label, item.metrics.matched_fid) for item in facts.evaluations]
    rows = [_plot_row(label, figure) for label, figure in matched if figure and figure.n == halves.n]
    return [*rows, _plot_row("real pairs", halves, yardstick=True)]


def _plot_row(name: str, figure: Figure | None, *, yardstick: bool = False) -> plots.Row | None:
    estimate = _estimate(figure)
    return None if estimate is None else plots.Row(name, estimate, yardstick=yardstick)


def _published_rows() -> list[PublishedRow]:
    """One line per published family of sets, its numbered sets side by side."""
    families = dict.fromkeys(_family(row) for row in PUBLISHED if row.metric in _PUBLISHED_COLUMNS)
    return [PublishedRow(name, _published_cells(name)) for name in families]


def _family(row: PublishedFigure) -> str:
    """Diff for Diff-1, Diff-2 and Diff-3."""
    return re.sub(r"-\d+$", "", row.set)


def _published_cells(family: str) -> list[str]:
    values: list[list[str]] = [[] for _ in COLUMNS]
    for row in PUBLISHED:
        if row.metric in _PUBLISHED_COLUMNS and _family(row) == family:
            column = _PUBLISHED_COLUMNS[row.metric]
            values[column].append(number(row.value, _LEAST_DIGITS[column]))
    return [", ".join(cell) or "–" for cell in values]
