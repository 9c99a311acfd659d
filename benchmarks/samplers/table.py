"""What the study leaves to read: a Markdown table over seeds, and a contact sheet per set."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.samplers.drawing import DrawnSet
from benchmarks.samplers.material import PairList
from segsmith_shared.pairs.contact_sheet import enlarged, overlay, sheet

CELL_PX = 128
_COLUMNS = (
    "sampler",
    "evaluations",
    "CPU s a sample",
    "seeds",
    "accepted",
    "KID ×10³",
    "region KID ×10³",
    "of large regions",
    "region FID",
    "Dice on the test pairs",
    "referee's Dice",
    "IoU with source's label",
    "area ratio",
    "grain (real = 1)",
    "seeds apart: colour, label",
)


def markdown(results: Sequence[Mapping[str, Any]]) -> str:
    """A row per sampler, mean over seeds and in brackets the range; `results` are the documents of the study."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
    return "\n".join([*lines, *(_line(result) for result in results)]) + "\n"


def _line(result: Mapping[str, Any]) -> str:
    seeds: Sequence[Mapping[str, Any]] = result["seeds"]
    diversity = result.get("diversity", {})
    apart = [diversity.get(f"{what}_distance_of_seeds") for what in ("colour", "label")]
    cells = [
        result["what"],
        f"{result['evaluations']:g}",
        _spread([seed["cpu_seconds_per_sample"] for seed in seeds], "{:.2f}"),
        str(len(seeds)),
        f"{sum(seed['accepted'] for seed in seeds)} of {sum(seed['samples'] for seed in seeds)}",
        _spread(_values(seeds, "kid", 1000), "{:.1f}"),
        _spread(_values(seeds, "region_kid", 1000), "{:.1f}"),
        _spread(_values(seeds, "large_region_kid", 1000), "{:.1f}"),
        _spread(_values(seeds, "region_fid"), "{:.3f}"),
        _spread([seed["learner"]["dice"] for seed in seeds if seed.get("learner")], "{:.3f}"),
        _spread([seed["referee_dice"] for seed in seeds if "referee_dice" in seed], "{:.3f}"),
        _spread([seed["source_iou_median"] for seed in seeds if "source_iou_median" in seed], "{:.2f}"),
        _areas(seeds),
        _spread([seed["grain"] / seed["grain_of_held_out"] for seed in seeds if "grain" in seed], "{:.2f}"),
        ", ".join(f"{value:.3f}" for value in apart if value is not None) or "–",
    ]
    return "| " + " | ".join(cells) + " |"


def _values(seeds: Sequence[Mapping[str, Any]], name: str, factor: float = 1) -> list[float]:
    return [factor * seed[name]["value"] for seed in seeds if seed.get(name)]


def _areas(seeds: Sequence[Mapping[str, Any]]) -> str:
    known = [seed for seed in seeds if "area_ratio_mean" in seed]
    if not known:
        return "–"
    mean, deviation = (statistics.mean(seed[f"area_ratio_{what}"] for seed in known) for what in ("mean", "deviation"))
    return f"{mean:.2f} ± {deviation:.2f}"


def _spread(values: Sequence[float], how: str) -> str:
    if not values:
        return "–"
    mean = how.format(statistics.mean(values))
    return mean if len(values) == 1 else f"{mean} ({how.format(min(values))} to {how.format(max(values))})"


def contact_sheet(drawn: DrawnSet, sources: PairList, count: int = 24, *, largest: bool = False) -> bytes:
    """PNG: source with label and region, sample, sample with its label; the first sources, or the largest regions."""
    places = np.argsort(-drawn.regions.sum(axis=(1, 2)), kind="stable") if largest else np.arange(len(drawn.images))
    tiles = [_tiles(drawn, sources, int(at)) for at in places[:count]]
    rows = [tiles[start] + (tiles[start + 1] if start + 1 < len(tiles) else []) for start in range(0, len(tiles), 2)]
    return sheet(rows, headings=("source", "sample", "its label") * 2, cell_px=CELL_PX)


def _tiles(drawn: DrawnSet, sources: PairList, at: int) -> list[Image.Image]:
    square = sources.squares[at]
    source = enlarged(Image.fromarray(np.ascontiguousarray(square[:3].transpose(1, 2, 0))), CELL_PX)
    sample = enlarged(Image.fromarray(drawn.images[at]), CELL_PX)
    return [overlay(source, square[3] >= 128, drawn.regions[at]), sample, overlay(sample, drawn.labels[at])]
