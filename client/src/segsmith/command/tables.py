"""Lists and figures as tables for people."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from statistics import fmean
from typing import Any

from rich import box
from rich.table import Table

from segsmith.values import Evaluation, Job, SegmentationRun


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    """A plain table; columns whose heading starts with `>` are right-aligned."""
    drawn = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for heading in headings:
        drawn.add_column(heading.lstrip(">"), justify="right" if heading.startswith(">") else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*("" if cell is None else str(cell) for cell in row))
    return drawn


def fields(values: Mapping[str, object]) -> Table:
    """Names and values, one under the other."""
    drawn = Table(box=None, show_header=False, pad_edge=False)
    for name, value in values.items():
        drawn.add_row(name, "" if value is None else str(value))
    return drawn


def moment(when: datetime | None) -> str:
    """A moment in local time."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S") if when else ""


def duration(seconds: float) -> str:
    """Seconds as 4.2 s, 1 min 05 s or 2 h 03 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(count_bytes: float) -> str:
    """Bytes as 512 B, 1.5 MiB …"""
    for unit in ("B", "KiB", "MiB"):
        if count_bytes < 1024:
            return f"{count_bytes:.0f} {unit}" if unit == "B" else f"{count_bytes:.1f} {unit}"
        count_bytes /= 1024
    return f"{count_bytes:.1f} GiB"


def stages(jobs: Iterable[Job]) -> list[dict[str, Any]]:
    """What each kind of job took: from its first start to its last end, and the sum over its jobs."""
    by_kind: dict[str, list[Job]] = defaultdict(list)
    for job in sorted((job for job in jobs if job.started_at), key=lambda job: (job.started_at, job.name)):
        by_kind[job.kind].append(job)
    return [
        {
            "stage": kind,
            "jobs": len(members),
            "wall_seconds": _wall_seconds(members),
            "run_seconds": sum(job.run_seconds for job in members),
            "peak_memory_bytes": max(job.peak_memory_bytes for job in members),
        }
        for kind, members in by_kind.items()
    ]


def stage_table(found: Iterable[Mapping[str, Any]]) -> Table:
    """`stages` for people."""
    rows = [
        (s["stage"], s["jobs"], duration(s["wall_seconds"]), duration(s["run_seconds"]), size(s["peak_memory_bytes"]))
        for s in found
    ]
    return table(("stage", ">jobs", ">wall time", ">job time", ">peak memory"), rows)


def metrics_table(evaluations: Iterable[Evaluation]) -> Table:
    """One row per figure of each set: value, interval and n, and whether a stand-in made it."""
    rows = [
        (evaluation.label, name, *_figure_cells(figure), _told_stand_in(evaluation, name))
        for evaluation in sorted(evaluations, key=lambda evaluation: evaluation.label)
        for name, figure in _figures(evaluation.metrics)
    ]
    return table(("set", "metric", ">value", ">interval", ">n", ""), rows)


def segmentation_summary(runs: Iterable[SegmentationRun]) -> list[dict[str, Any]]:
    """Mean, lowest and highest over the seeds, for each arm, test set and metric that is a number."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for run in runs:
        for test, scores in run.scores.items():
            for metric, value in scores.items():
                if isinstance(value, int | float) and metric != "images":
                    found[run.arm, test, metric].append(float(value))
    return [
        {"arm": arm, "test": test, "metric": metric, "mean": fmean(v), "low": min(v), "high": max(v), "seeds": len(v)}
        for (arm, test, metric), v in sorted(found.items())
    ]


def segmentation_table(summary: Iterable[Mapping[str, Any]], metrics: Sequence[str] = ("dice", "iou")) -> Table:
    """`segmentation_summary` for people, the main metrics alone."""
    rows = [
        (s["test"], s["metric"], s["arm"], f"{s['mean']:.3f}", f"{s['low']:.3f}–{s['high']:.3f}", s["seeds"])
        for s in sorted(summary, key=lambda s: (s["test"], s["metric"], s["arm"]))
        if s["metric"] in metrics
    ]
    return table(("test set", "metric", "trained on", ">mean", ">range", ">seeds"), rows)


def _wall_seconds(jobs: Sequence[Job]) -> float:
    starts = [job.started_at for job in jobs if job.started_at]
    ends = [job.finished_at for job in jobs if job.finished_at]
    return (max(ends) - min(starts)).total_seconds() if ends else 0.0


def _figures(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The set's figures, then those of its copy check."""
    for found in (metrics, metrics.get("memorisation") or {}):
        yield from ((name, figure) for name, figure in found.items() if isinstance(figure, dict) and "value" in figure)


def _told_stand_in(evaluation: Evaluation, metric: str) -> str:
    of_features = metric.endswith(("fid", "kid"))
    return "stand-in features" if of_features and evaluation.metrics.get("stand_in") else ""


def _figure_cells(figure: Mapping[str, Any]) -> tuple[str, str, str]:
    low, high = figure.get("low"), figure.get("high")
    interval = f"{low:.4g}–{high:.4g}" if low is not None and high is not None else ""
    value = figure["value"]
    return ("" if value is None else f"{value:.4g}"), interval, str(figure.get("n", ""))
