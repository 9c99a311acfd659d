"""What the quality gate says of a set: how well judges that never saw a pair's source agree with its label."""

from collections.abc import Sequence
from math import floor

from pydantic import BaseModel, ConfigDict, Field

from segsmith_shared.problems import Problem

LOW_AGREEMENT = "low_agreement"
"""Why the quality gate leaves a sample out, beside the reasons why a sampled pair is never accepted."""


class NothingToJudge(Problem):
    """No sample of the set was accepted before it came to the gate."""

    status = 422
    title = "The set holds no pair to judge"


class NothingPassesTheGate(Problem):
    """Every pair of the set lies below the threshold, so that nothing would be left to train on."""

    status = 422
    title = "No pair passes the quality gate"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PairAgreement(_Value):
    """One pair: hard Dice and IoU between its label and the prediction of the judge of `fold`, counted from 0."""

    name: str
    fold: int = Field(ge=0)
    dice: float = Field(ge=0, le=1)
    iou: float = Field(ge=0, le=1)


class Judgement(_Value):
    """The samples of one set, and the real pairs under the same rule: each by a judge that never saw its source.

    Without a `quantile` there is no `threshold` and nothing is dropped. `stand_in` says that the judges' encoders
    started from random weights. `sheet` is the artifact that shows the samples with the lowest agreement.
    """

    samples: tuple[PairAgreement, ...]
    real: tuple[PairAgreement, ...]
    folds: int
    preset: str
    side_px: int
    stand_in: bool
    quantile: float | None
    threshold: float | None
    sheet: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def below(self) -> tuple[PairAgreement, ...]:
        """The samples under the threshold, which are dropped."""
        return tuple(pair for pair in self.samples if self.threshold is not None and pair.dice < self.threshold)


def smallest_count(quantile: float) -> int:
    """How many real pairs a threshold at this quantile needs: one of them must be allowed to lie below it."""
    count = max(1, floor(1 / quantile) - 1)
    return count if _rank(count, quantile) else count + 1


def threshold_of(real_dice: Sequence[float], quantile: float) -> float:
    """The Dice that another real pair stays under with a probability of `quantile` at most.

    The k-th smallest of n real values with k = ⌊quantile·(n + 1)⌋, as in split conformal prediction (Vovk et al. 2005):
    few pairs make it lower, not luckier. Needs `smallest_count(quantile)` values.
    """
    rank = _rank(len(real_dice), quantile)
    if not rank:
        raise ValueError(f"{len(real_dice)} real pairs support no quantile of {quantile}")
    return sorted(real_dice)[rank - 1]


def _rank(count: int, quantile: float) -> int:
    return floor(quantile * (count + 1) + 1e-9)  # .05 · 20 is one, whatever floats say
