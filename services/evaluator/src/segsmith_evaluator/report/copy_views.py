"""The copy check as the page shows it: shares beside those of real pictures, what was flagged, the closest pairs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from segsmith_evaluator.metrics.copies import Authenticity, ClosePair, Memorisation
from segsmith_evaluator.metrics.figures import Figure
from segsmith_evaluator.report.facts import Estimate, Facts
from segsmith_evaluator.report.pictures import Pictures
from segsmith_evaluator.report.views import data_uri
from segsmith_evaluator.report.words import number

COLUMNS = (
    "near-copies, %",
    "of its own source, %",
    "of another training picture, %",
    "AuthPct",
    "AuthPct, redrawn region",
)
FLAGGED_AT_MOST = 40


@dataclass(frozen=True)
class CopyRow:
    """One line: a set, or the real pictures that are its yardstick."""

    name: str
    n: int
    stand_in: bool
    cells: list[Estimate | None]


@dataclass(frozen=True)
class CopyView:
    """What stands below the table for one set; `sheet` is a data address, empty where the page has no room for it."""

    label: str
    findings: Memorisation
    thresholds: str
    flagged: list[str]
    flagged_beyond: int
    sheet: str


def context(facts: Facts, pictures: Pictures) -> dict[str, Any]:
    """What the template needs to show the copy check."""
    found = [(item.label, item.metrics.memorisation) for item in facts.evaluations]
    checks = [(label, findings) for label, findings in found if findings is not None]
    return {
        "copy_columns": COLUMNS,
        "copy_rows": [row for label, findings in checks for row in _rows(label, findings)],
        "copy_views": [_view(label, findings, pictures.copy_sheets.get(label)) for label, findings in checks],
        "copy_notes": list(dict.fromkeys(note for _, findings in checks for note in findings.notes)),
    }


def _rows(label: str, findings: Memorisation) -> Iterator[CopyRow]:
    """The set, and below it the training pictures under the same thresholds."""
    shares = findings.near_copies, findings.copies_of_own_source, findings.copies_of_others
    region = findings.authentic_region
    samples = (findings.authentic.samples, region.samples if region else None)
    yield CopyRow(label, findings.n, findings.stand_in, [_percent(figure) for figure in (*shares, *samples)])
    real = (findings.false_alarms, None, None, _of_halves(findings.authentic), _of_halves(region))
    name = f"training pictures, as if they were {label}"
    yield CopyRow(name, findings.false_alarms.n, findings.stand_in, [_percent(figure) for figure in real])


def _of_halves(authenticity: Authenticity | None) -> Figure | None:
    return authenticity.real_halves if authenticity else None


def _percent(figure: Figure | None) -> Estimate | None:
    if figure is None:
        return None
    low, high = (None if bound is None else 100 * bound for bound in (figure.low, figure.high))
    return Estimate(value=100 * figure.value, low=low, high=high, n=figure.n)


def _view(label: str, findings: Memorisation, sheet: bytes | None) -> CopyView:
    return CopyView(
        label=label,
        findings=findings,
        thresholds=(
            f"Threshold of likeness: {number(findings.whole_threshold.value, 2)} for whole pictures, "
            f"{number(findings.region_threshold.value, 2)} for regions ({findings.regions_compared} compared)."
        ),
        flagged=[_sentence(pair) for pair in findings.flagged[:FLAGGED_AT_MOST]],
        flagged_beyond=max(0, len(findings.flagged) - FLAGGED_AT_MOST),
        sheet=data_uri(sheet, "image/jpeg") if sheet else "",
    )


def _sentence(pair: ClosePair) -> str:
    whose = f"{pair.training}, its own source" if pair.of_own_source else pair.training
    what = "the region shows" if pair.comparison == "region" else "the whole picture shows"
    mirrored = ", mirrored" if pair.mirrored else ""
    return f"{pair.sample}: {what} {whose}{mirrored}; likeness {number(pair.likeness, 2)}"
