"""The handful of figures on top of the page, each chosen by the request and not by how it came out."""

from collections.abc import Iterator
from dataclasses import dataclass

from segsmith_evaluator.report.facts import ArmFacts, Facts
from segsmith_evaluator.report.words import (
    MAIN_METRIC,
    counted,
    distance,
    interval,
    listed,
    number,
    seconds,
    signed,
    size,
)


@dataclass(frozen=True)
class KeyFigure:
    label: str
    value: str
    note: str


def key_figures(facts: Facts) -> Iterator[KeyFigure]:
    """Acceptance, likeness of the first set, gain of the first mixed arm, and time; those that exist."""
    yield from _acceptance(facts)
    yield from _likeness(facts)
    yield from _gain(facts)
    yield from _time(facts)


def _acceptance(facts: Facts) -> Iterator[KeyFigure]:
    attempted = sum(item.attempted for item in facts.sets)
    if attempted:
        accepted = sum(item.accepted for item in facts.sets)
        note = f"{accepted} of {attempted}: {listed(item.label for item in facts.sets)}"
        yield KeyFigure("samples accepted", f"{number(100 * accepted / attempted, 1)} %", note)


def _likeness(facts: Facts) -> Iterator[KeyFigure]:
    if not facts.evaluations:
        return
    first = facts.evaluations[0]
    halves, matched = first.metrics.real_halves_fid, first.metrics.matched_fid
    note = "against the training pairs"
    if halves and matched:
        note += f"; at n = {halves.n}: {distance(matched.value)}, real pairs {distance(halves.value)}"
    if first.metrics.stand_in:
        note += "; stand-in features"
    yield KeyFigure(f"FID of {first.label}", distance(first.metrics.fid.value), note)


def _gain(facts: Facts) -> Iterator[KeyFigure]:
    study = facts.segmentation
    mixed = next((arm for arm in study.arms if arm.real and arm.sets), None) if study else None
    if study is None or mixed is None:
        return
    yield from _gain_of(facts, mixed)


def _gain_of(facts: Facts, arm: ArmFacts) -> Iterator[KeyFigure]:
    study = facts.segmentation
    difference = study.difference(arm.name, study.tests[0], MAIN_METRIC) if study and study.tests else None
    if difference is not None:
        certainty = f"95 % {interval(difference.estimate)}" if difference.estimate.n > 1 else "one seed, no interval"
        note = f"“{arm.name}” less “{difference.reference}” on {difference.test}; {certainty}"
        yield KeyFigure("segmentation IoU gained", signed(difference.estimate.value), note)


def _time(facts: Facts) -> Iterator[KeyFigure]:
    if facts.jobs:
        total = sum(job.run_seconds for job in facts.jobs)
        peak = max(job.peak_memory_bytes for job in facts.jobs)
        yield KeyFigure(
            "computing time", seconds(total), f"{counted(len(facts.jobs), 'job')}, peak memory {size(peak)}"
        )
