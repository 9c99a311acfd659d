"""The report's sentences: what the figures say, and what they do not."""

import math
from collections.abc import Iterable
from statistics import median

from segsmith_evaluator.report.facts import (
    DifferenceFacts,
    Estimate,
    EvaluationFacts,
    Facts,
    JudgementFacts,
    SegmentationFacts,
    SetFacts,
)

MAIN_METRIC = "iou"
METRIC_NAMES = {
    "dice": "Dice",
    "iou": "IoU",
    "dice_dataset": "Dice, pooled",
    "iou_dataset": "IoU, pooled",
    "dice_soft_paper": "soft Dice, published",
    "dice_lesion": "Dice, pictures with a lesion",
    "iou_lesion": "IoU, pictures with a lesion",
    "false_positives": "false positives",
}
METRIC_NOTES = {
    "dice": "threshold .5, mean over images; empty truth and empty prediction count 1",
    "iou": "threshold .5, mean over images; empty truth and empty prediction count 1",
    "dice_dataset": "threshold .5, all pixels of the test set pooled",
    "iou_dataset": "threshold .5, all pixels of the test set pooled",
    "dice_lesion": "threshold .5, mean over the pictures that hold a lesion",
    "iou_lesion": "threshold .5, mean over the pictures that hold a lesion",
    "false_positives": "share of the pictures without a lesion in which one is predicted",
    "dice_soft_paper": "on probabilities, as the paper's “Dice score”; not comparable with Dice",
}

_REASONS = {
    "empty_label": "without a lesion",
    "near_copy": "near-copy of a training picture",
    "low_agreement": "label that its judge does not find",
    "label_outside_region": "lesion outside the redrawn region",
    "nothing_to_redraw": "source without a lesion to redraw",
}


def seconds(value: float) -> str:
    """A duration as a person says it: 48 s, 12 min 4 s, 3 h 20 min."""
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(value_bytes: float) -> str:
    """Bytes in binary units, e.g. 1.2 GiB; 0 is unknown."""
    if value_bytes <= 0:
        return "–"
    for unit in ("B", "KiB", "MiB"):
        if value_bytes < 1024:
            return f"{value_bytes:.0f} {unit}"
        value_bytes /= 1024
    return f"{value_bytes:.1f} GiB"


def count(value: int) -> str:
    """An integer with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def counted(value: int, singular: str, plural: str | None = None) -> str:
    return f"{count(value)} {singular if value == 1 else plural or singular + 's'}"


def number(value: float, digits: int = 3) -> str:
    """A decimal with a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")


def fitting_digits(value: float, least: int) -> int:
    """Decimals that show three significant digits of a small value: 31.4 with one decimal, .0202 with four."""
    return max(least, min(2 - math.floor(math.log10(abs(value))), 5)) if value else least


def distance(value: float) -> str:
    """A FID, large with Inception's features and small with built-in ones."""
    return number(value, fitting_digits(value, 1))


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def interval(estimate: Estimate, digits: int = 3) -> str:
    """The 95 % interval, e.g. `.68 to .74`, or a dash where there is none."""
    if estimate.low is None or estimate.high is None:
        return "–"
    return f"{number(estimate.low, digits)} to {number(estimate.high, digits)}"


def reason(code: str) -> str:
    """Why a sample was not kept, as a person says it; an unknown code is shown as it is, less its underscores."""
    return _REASONS.get(code, code.replace("_", " "))


def listed(items: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, last = list(items) or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def stand_ins(facts: Facts) -> list[str]:
    """Each thing in this run that stands in for the real one, as a sentence; empty where nothing does."""
    sentences = []
    names = {item.metrics.extractor for item in facts.evaluations if item.metrics.stand_in}
    if names:
        sentences.append(
            f"FID, KID and their intervals are computed on the features of {listed(sorted(names))}, a small built-in "
            "network, and not on FID-Inception: compare them within this report only."
        )
    if any(clustering.extractor and clustering.extractor.stand_in for clustering in facts.clusterings):
        sentences.append("The clusters were found in the same kind of built-in features.")
    if any(item.judgement.stand_in for item in facts.judgements):
        sentences.append(
            "The judges of the quality gate learned on encoders with random initial weights, not on pretrained ones: "
            "compare their agreement with real pairs and with samples, and with no other run's."
        )
    if facts.segmentation is not None and facts.segmentation.parameters.get("encoder_stand_in"):
        sentences.append("The segmentation models' encoders began at random values instead of pretrained ones.")
    towers = {name for item in facts.sets if item.styling and item.styling.stand_in for name in item.styling.networks}
    if towers:
        sentences.append(
            f"Styling compared pictures by {listed(sorted(towers))}, not by DINO and VGG-19: what it changes says "
            "nothing about the published method."
        )
    drawn = sorted({part.dataset for part in facts.parts if part.drawn})
    if drawn:
        sentences.append(
            f"The pairs of {listed(f'“{name}”' for name in drawn)} are drawn by a program: nothing here says how the "
            "method does on patients."
        )
    return sentences


def summary(facts: Facts) -> list[str]:
    """What was done and what came out, in a few sentences with the figures that matter."""
    sentences = [_trained(facts), *(_made(item) for item in facts.sets)]
    sentences += [sentence for item in facts.evaluations for sentence in (_looks(item), _copies(item))]
    sentences += [_agrees(item) for item in facts.judgements]
    if facts.segmentation is not None:
        sentences += _study(facts.segmentation)
    return [sentence for sentence in sentences if sentence]


def verdict(study: SegmentationFacts, test: str) -> str:
    """What synthetic pairs changed on this test set: each arm against that of as many real pairs alone, by seed."""
    differences = [d for d in study.differences if d.test == test and d.metric == MAIN_METRIC]
    if not differences:
        return ""
    if any(d.estimate.n < 2 for d in differences):
        return f"With one seed no difference between arms on {test} is distinguishable from chance."
    shown = [d for d in differences if d.estimate.excludes_zero]
    if not shown:
        return (
            f"On {test} no arm's IoU differs from that of as many real pairs alone by more than the seeds differ among "
            "themselves."
        )
    parts = [_compared(d) for d in shown]
    return f"On {test} the IoU differs: {listed(parts)}, over {shown[0].estimate.n} seeds."


def _compared(difference: DifferenceFacts) -> str:
    """`“16 + Diff-3” is better than “16 real” by +.031 (95 % .010 to .052)`."""
    estimate = difference.estimate
    word = "better" if estimate.value > 0 else "worse"
    return (
        f"“{difference.arm}” is {word} than “{difference.reference}” by {signed(estimate.value)} "
        f"(95 % {interval(estimate)})"
    )


def resolution(facts: Facts) -> str:
    """At which side the arms are scored, and at which the synthetic pictures were drawn."""
    study = facts.segmentation
    side_px = study.parameters.get("side_px") if study else None
    if side_px is None:
        return ""
    drawn = sorted({int(model.preset["network"]["side_px"]) for model in facts.models})
    text = f"Every arm trains, validates and is scored at {side_px} × {side_px} px"
    return f"{text}; synthetic pictures are drawn at {listed(f'{side} px' for side in drawn)}." if drawn else f"{text}."


def _trained(facts: Facts) -> str:
    source = facts.training
    drawn = "drawn" if source.drawn else source.origin
    text = f"{count(source.n)} {drawn} pairs of “{source.dataset}” (version {source.version_number}) were given."
    trained = [model for model in facts.models if not model.imported]
    if imported := len(facts.models) - len(trained):
        text += f" {counted(imported, 'imported diffusion model')} drew."
    if not trained:
        return text + " No diffusion model was trained."
    seen = sum(model.images_seen for model in trained)
    took = sum(model.run_seconds for model in trained)
    models = counted(len(trained), "diffusion model")
    return f"{text} {models} learned from them, {count(seen)} images seen in {seconds(took)}."


def _made(item: SetFacts) -> str:
    if not item.attempted:
        return f"{item.label} was not made."
    text = f"{item.label}: {count(item.accepted)} of {counted(item.attempted, 'sample')} accepted"
    if item.rejected:
        reasons = (f"{count(n)} {reason(code)}" for code, n in sorted(item.rejected.items()))
        text += f" (rejected: {listed(reasons)})"
    return f"{text}, {counted(round(item.evaluations / item.attempted), 'U-Net evaluation')} each."


def _looks(item: EvaluationFacts) -> str:
    metrics = item.metrics
    text = f"{item.label} lies at FID {distance(metrics.fid.value)} from the training pairs"
    halves, matched = metrics.real_halves_fid, metrics.matched_fid
    if halves is not None and matched is not None:
        text += (
            f"; {halves.n} of it lie at {distance(matched.value)} from a half of them, the other half at "
            f"{distance(halves.value)}"
        )
    return text + (" (stand-in features)." if metrics.stand_in else ".")


def _copies(item: EvaluationFacts) -> str:
    findings = item.metrics.memorisation
    if findings is None:
        return ""
    flagged = len(findings.flagged)
    text = f"{count(flagged)} of {counted(findings.n, 'sample')} of {item.label}"
    text += f" {'is a near-copy' if flagged == 1 else 'are near-copies'} of a training picture"
    return text + (", left out of the set." if findings.dropped and flagged else ".")


def _agrees(item: JudgementFacts) -> str:
    judgement = item.judgement
    medians = [number(median(pair.dice for pair in pairs), 2) for pairs in (judgement.samples, judgement.real)]
    text = (
        f"Judges that never saw its sources agree with the labels of {item.label} at a median Dice of {medians[0]}, "
        f"and with those of unseen real pairs at {medians[1]}"
    )
    if judgement.threshold is None:
        return text + "."
    dropped = counted(len(judgement.below), "sample")
    return f"{text}; {dropped} below {number(judgement.threshold, 2)} {_was(len(judgement.below))} left out."


def _was(count_: int) -> str:
    return "was" if count_ == 1 else "were"


def _study(study: SegmentationFacts) -> list[str]:
    sentences = []
    for test in study.tests:
        means = [
            f"{number(score.estimate.value)} with “{arm.name}”"
            for arm in study.arms
            if (score := study.score(arm.name, test, MAIN_METRIC)) is not None
        ]
        if means:
            sentences.append(f"Segmentation IoU on {test}: {listed(means)}.")
    return [*sentences, _overall(study)]


def _overall(study: SegmentationFacts) -> str:
    """One sentence over all test sets: which differences go beyond the spread of seeds."""
    differences = [d for d in study.differences if d.metric == MAIN_METRIC]
    if not differences:
        return ""
    if any(d.estimate.n < 2 for d in differences):
        return "With one seed no difference between arms is distinguishable from chance."
    shown = [
        f"“{d.arm}” {signed(d.estimate.value)} against “{d.reference}” on {d.test}"
        for d in differences
        if d.estimate.excludes_zero
    ]
    if not shown:
        return "No arm differs from that of as many real pairs alone by more than the seeds differ among themselves."
    return f"Beyond the spread of seeds, each against as many real pairs alone: {listed(shown)}."
