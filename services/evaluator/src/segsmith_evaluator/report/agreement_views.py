"""The quality gate as the page shows it: samples beside real pairs under the same rule, and what agreed least."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segsmith_evaluator.metrics.figures import Figure, median_figure, share_figure
from segsmith_evaluator.report import plots
from segsmith_evaluator.report.facts import Estimate, Facts
from segsmith_evaluator.report.pictures import Pictures
from segsmith_evaluator.report.views import data_uri, svg_uri
from segsmith_evaluator.report.words import number
from segsmith_shared.pairs.agreement import Judgement, PairAgreement

COLUMNS = ("Dice, median", "IoU, median", "below the threshold, %")
DROPPED_AT_MOST = 40


@dataclass(frozen=True)
class AgreementRow:
    """One line: a set, or the real pairs that are its yardstick. `spread` is where nine in ten Dice lie."""

    name: str
    n: int
    stand_in: bool
    dice: Estimate
    iou: Estimate
    spread: str
    below: Estimate | None


@dataclass(frozen=True)
class AgreementView:
    """What stands below the table for one set; `sheet` is a data address, empty where the page has no room for it."""

    label: str
    judgement: Judgement
    rule: str
    dropped: list[str]
    dropped_beyond: int
    sheet: str


def context(facts: Facts, pictures: Pictures) -> dict[str, Any]:
    """What the template needs to show the quality gate."""
    found = [(item.label, item.judgement) for item in facts.judgements]
    return {
        "agreement_columns": COLUMNS,
        "agreement_rows": [row for label, judgement in found for row in _rows(label, judgement)],
        "agreement_plot": _plot(found),
        "agreement_views": [
            _view(label, judgement, pictures.agreement_sheets.get(label)) for label, judgement in found
        ],
        "agreement_notes": list(dict.fromkeys(note for _, judgement in found for note in judgement.notes)),
    }


def _rows(label: str, judgement: Judgement) -> Iterator[AgreementRow]:
    """The set, and below it the real pairs, each before the judge that never saw it."""
    yield _row(label, judgement, judgement.samples)
    yield _row(f"real pairs, judged like {label}", judgement, judgement.real)


def _row(name: str, judgement: Judgement, pairs: Sequence[PairAgreement]) -> AgreementRow:
    dice, iou = (np.array([getattr(pair, metric) for pair in pairs]) for metric in ("dice", "iou"))
    low, high = np.quantile(dice, [0.05, 0.95])
    below = None if judgement.threshold is None else share_figure(dice < judgement.threshold)
    return AgreementRow(
        name=name,
        n=len(pairs),
        stand_in=judgement.stand_in,
        dice=_estimate(median_figure(dice)),
        iou=_estimate(median_figure(iou)),
        spread=f"{number(low, 2)} to {number(high, 2)}",
        below=_estimate(below, scale=100) if below else None,
    )


def _estimate(figure: Figure, scale: float = 1) -> Estimate:
    low, high = (None if bound is None else scale * bound for bound in (figure.low, figure.high))
    return Estimate(value=scale * figure.value, low=low, high=high, n=figure.n)


def _plot(found: Sequence[tuple[str, Judgement]]) -> str:
    panels = [
        plots.Shares(
            label,
            {"real pairs": [pair.dice for pair in judgement.real], label: [pair.dice for pair in judgement.samples]},
            judgement.threshold,
        )
        for label, judgement in found
    ]
    return svg_uri(plots.histograms(panels, "Dice of judge and label")) if panels else ""


def _view(label: str, judgement: Judgement, sheet: bytes | None) -> AgreementView:
    dropped = sorted(judgement.below, key=lambda pair: pair.dice)
    return AgreementView(
        label=label,
        judgement=judgement,
        rule=_rule(judgement),
        dropped=[f"{pair.name}: Dice {number(pair.dice, 2)}" for pair in dropped[:DROPPED_AT_MOST]],
        dropped_beyond=max(0, len(dropped) - DROPPED_AT_MOST),
        sheet=data_uri(sheet, "image/jpeg") if sheet else "",
    )


def _rule(judgement: Judgement) -> str:
    judges = f"{judgement.folds} judges of preset {judgement.preset}, at {judgement.side_px} px."
    if judgement.threshold is None or judgement.quantile is None:
        return f"{judges} No threshold was asked for: nothing was dropped."
    return (
        f"{judges} Dropped below a Dice of {number(judgement.threshold, 3)}, the "
        f"{number(100 * judgement.quantile, 1)} % quantile of {len(judgement.real)} unseen real pairs."
    )
