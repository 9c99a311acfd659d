"""The report's plots as inline SVG: light background, colours that colour-blind readers tell apart, text as text."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from segsmith_evaluator.report.facts import Estimate, ModelFacts

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a5c00", "#4b4b4b", "#56b4e9", "#e69f00")
"""Okabe and Ito's, the yellow darkened for a white ground."""
_LINES = ("-", "--", ":", "-.")

_INK, _FAINT = "#1c2326", "#d9dedf"
_WIDTH_INCHES = 7.6
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.parse_math": False,  # names come from outside: a dollar sign in one is no formula
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#8a9497",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": "#4d585b",
    "ytick.color": "#4d585b",
    "legend.frameon": False,
    "figure.facecolor": "white",
}


@dataclass(frozen=True)
class Row:
    """One line of a dot-and-interval plot: its estimate, what it is the mean of, and whether it is a yardstick."""

    name: str
    estimate: Estimate
    single: tuple[float, ...] = ()
    yardstick: bool = False


@dataclass(frozen=True)
class Panel:
    """Rows under one heading, e.g. one test set."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Shares:
    """Values in 0..1 by name, the yardstick's first, and the threshold under which something happens."""

    title: str
    values: Mapping[str, Sequence[float]]
    threshold: float | None = None


def loss_curves(models: Sequence[ModelFacts]) -> str:
    """Loss against images seen, a running median per model; of a few models also the raw values, faint."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES, max(3.0, 0.19 * len(models) + 0.5)), layout="constrained")
        axes = figure.subplots()
        for index, model in enumerate(models):
            colour, line = COLOURS[index % len(COLOURS)], _LINES[index // len(COLOURS) % len(_LINES)]
            _loss_curve(axes, model, colour, line, raw=len(models) <= len(COLOURS))
        axes.set_xlabel("images seen")
        axes.set_ylabel("loss")
        _log_where_wide(axes, [loss for model in models for loss in model.curve_loss])
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}".replace(",", "\u202f"))
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)
        return _svg(figure, "loss " + " ".join(str(model.id) for model in models))


def dots_and_intervals(panels: Sequence[Panel], x_label: str, *, one_scale: bool = True) -> str:
    """Mean and 95 % interval per row, the single runs as hollow dots, one panel per heading, two abreast."""
    rows = max(len(panel.rows) for panel in panels)
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    with rc_context(_STYLE):
        height = lines * (0.9 + 0.34 * rows)
        figure = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
        grid = figure.subplots(lines, columns, sharex=one_scale, sharey=_same_rows(panels), squeeze=False)
        for axes, panel in zip(grid.flat, panels, strict=False):
            _dots(axes, panel)
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(x_label)
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_axis_off()
        return _svg(figure, f"{x_label} {[panel.title for panel in panels]}")


def histograms(panels: Sequence[Shares], x_label: str) -> str:
    """Shares per bin of 0..1, two abreast; the first name is the yardstick's, in grey, the threshold a dashed line."""
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES, 2.5 * lines), layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes, panel in zip(grid.flat, panels, strict=False):
            _histogram(axes, panel)
            axes.set_xlabel(x_label)
            axes.set_ylabel("share of pairs, %")
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_axis_off()
        return _svg(figure, f"{x_label} {[panel.title for panel in panels]}")


def silhouettes(values: dict[int, float], chosen: int | None) -> str:
    """Mean silhouette against the number of clusters; the one that was used is marked."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES / 2, 2.2), layout="constrained")
        axes = figure.subplots()
        counts = sorted(values)
        axes.plot(counts, [values[k] for k in counts], color=COLOURS[0], marker="o", markersize=4)
        if chosen in values:
            axes.plot([chosen], [values[chosen]], marker="o", markersize=10, mfc="none", mec=COLOURS[1], mew=1.6)
        axes.set_xlabel("clusters k")
        axes.set_ylabel("silhouette")
        axes.set_xticks(counts)
        return _svg(figure, f"silhouettes {values}")


def _histogram(axes: Axes, panel: Shares) -> None:
    bins = np.linspace(0, 1, 21)
    for (name, values), colour in zip(panel.values.items(), ("#5d686b", COLOURS[0]), strict=True):
        shares = 100 * np.histogram(values, bins)[0] / max(1, len(values))
        yardstick = colour != COLOURS[0]
        axes.stairs(
            shares,
            bins,
            fill=yardstick,
            color=colour,
            alpha=0.4 if yardstick else 1,
            linewidth=1.8,
            label=f"{name}, n = {len(values)}",
        )
    if panel.threshold is not None:
        axes.axvline(panel.threshold, color=COLOURS[1], linestyle="--", linewidth=1.4, label="threshold")
    axes.set_title(panel.title, loc="left", fontsize=10, fontweight="bold")
    axes.set_xlim(0, 1)
    axes.legend(loc="upper left", fontsize=8.5)


def _loss_curve(axes: Axes, model: ModelFacts, colour: str, line: str, *, raw: bool) -> None:
    images_seen, loss = model.curve_images_seen, np.asarray(model.curve_loss)
    if raw:
        axes.plot(images_seen, loss, color=colour, alpha=0.25, linewidth=0.7)
    axes.plot(images_seen, _running_median(loss), color=colour, linestyle=line, linewidth=1.6, label=model.name)


def _running_median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    half = max(1, len(values) // 40)
    return np.array([np.median(values[max(0, at - half) : at + half + 1]) for at in range(len(values))])


def _log_where_wide(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis where the largest value is more than ten times the smallest."""
    if values and min(values) > 0 and max(values) > 10 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())


def _same_rows(panels: Sequence[Panel]) -> bool:
    return len({tuple(row.name for row in panel.rows) for panel in panels}) == 1


def _dots(axes: Axes, panel: Panel) -> None:
    for place, row in enumerate(panel.rows):
        colour = "#5d686b" if row.yardstick else COLOURS[0]
        if row.single:
            axes.plot(row.single, [place] * len(row.single), "o", mfc="none", mec=colour, ms=4.5, mew=0.9, alpha=0.75)
        if row.estimate.low is not None and row.estimate.high is not None:
            axes.plot([row.estimate.low, row.estimate.high], [place, place], color=colour, linewidth=2.0)
        axes.plot([row.estimate.value], [place], "D" if row.yardstick else "o", color=colour, markersize=7)
    axes.set_title(panel.title, loc="left", fontsize=10, fontweight="bold")
    axes.set_yticks(range(len(panel.rows)), [row.name for row in panel.rows])
    axes.set_ylim(len(panel.rows) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def _svg(figure: Figure, salt: str) -> str:
    """The figure as an `<svg>` element: no prolog, no date, ids that differ between figures and not between runs."""
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
