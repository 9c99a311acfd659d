"""What the copy check says of a set, as a value that JSON can hold."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from segsmith_evaluator.metrics.figures import Figure

Comparison = Literal["whole", "region"]


class _Value(BaseModel):
    # documents of earlier versions hold figures that are not made any more
    model_config = ConfigDict(frozen=True, extra="ignore")


class Threshold(_Value):
    """A likeness above `value` is a near-copy. It rests on quantiles of real pictures' likeness, within floor and cap.

    The quantile is that of training pictures, each against the others less its near-duplicates; None where there was no
    picture to take it from.
    """

    value: float
    training_quantile: float | None
    n_training: int


class Authenticity(_Value):
    """AuthPct as a share: of the samples, and of halves of the training pictures against the other halves."""

    samples: Figure
    real_halves: Figure | None = None


class ClosePair(_Value):
    """A sample and the training picture most like it, in the comparison that decides.

    `mirrored`, `down_px` and `right_px` (at the compared side) say how the training picture lies over the sample.
    `nearest_features` is the training picture whose region is nearest in feature space; None for a sample without one.
    """

    sample: str
    training: str
    comparison: Comparison
    likeness: float
    threshold: float
    near_copy: bool
    of_own_source: bool
    mirrored: bool
    down_px: int
    right_px: int
    nearest_features: str | None


class Memorisation(_Value):
    """The copy check of one set of `n` samples. `stand_in` concerns AuthPct alone: likeness needs no features.

    `near_copies` are those of the own source and of others together; `false_alarms` is the share of training
    pictures that the same thresholds flag against the others. `sheet` is the artifact that shows the closest pairs.
    """

    n: int
    regions_compared: int
    compared_side_px: int
    shift_px: int
    stand_in: bool
    calibration: str
    whole_threshold: Threshold
    region_threshold: Threshold
    near_copies: Figure
    copies_of_own_source: Figure
    copies_of_others: Figure
    false_alarms: Figure
    authentic: Authenticity
    authentic_region: Authenticity | None
    flagged: tuple[ClosePair, ...]
    closest: tuple[ClosePair, ...]
    sheet: str | None = None
    dropped: bool = False
    notes: tuple[str, ...]
