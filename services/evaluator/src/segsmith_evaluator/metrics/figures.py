"""A number never leaves this room without its n and its interval."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.stats import binomtest, bootstrap

from segsmith_shared.randomness import numpy_generator_for

CONFIDENCE = 0.95
OnCount = Callable[[int, int], bool | None]


class Figure(BaseModel):
    """A measured value, its 95 % interval where one can be given, and the number of images behind it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    low: float | None = None
    high: float | None = None
    n: int = Field(ge=0, description="images; of two sets, the smaller number")
    detail: dict[str, float | int | str] = Field(default_factory=dict, description="how it was measured")


def mean_figure(values: NDArray[np.float64], *, seed: int, samples: int = 2000) -> Figure:
    """The mean of (n,) independent values with its BCa bootstrap interval; no interval for one value or equal ones."""
    if len(values) == 0:
        raise ValueError("no values")
    mean = float(np.mean(values))
    if np.ptp(values) == 0:
        return Figure(value=mean, n=len(values))
    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=samples,
        confidence_level=CONFIDENCE,
        rng=numpy_generator_for(seed, "mean-bootstrap"),
    )
    low, high = found.confidence_interval
    return Figure(value=mean, low=float(low), high=float(high), n=len(values))


def share_figure(flags: NDArray[np.bool_]) -> Figure:
    """The share of true flags (n,), n ≥ 1, with Wilson's interval and the count behind it."""
    count = int(flags.sum())
    bounds = binomtest(count, len(flags)).proportion_ci(CONFIDENCE, method="wilson")
    return Figure(
        value=count / len(flags), low=float(bounds.low), high=float(bounds.high), n=len(flags), detail={"count": count}
    )


def quantile_bounds(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 2.5 % and 97.5 % quantiles of (n,) values."""
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
