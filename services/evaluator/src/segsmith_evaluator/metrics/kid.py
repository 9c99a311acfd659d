"""Kernel distance of two sets of features: unbiased at small n, where FID is not."""

import numpy as np
from numpy.typing import NDArray

from segsmith_evaluator.metrics.figures import Figure, OnCount
from segsmith_shared.randomness import numpy_generator_for
from segsmith_shared.vision.features import Interrupted

Features = NDArray[np.float32] | NDArray[np.float64]
Matrix = NDArray[np.float64]

MINIMUM_IMAGES = 4
_LARGEST_SUBSET = 1000
_NORMAL_QUANTILE = 1.959964


def kid(first: Features, second: Features) -> float:
    """Unbiased squared MMD under (x·y/d + 1)³ (Bińkowski et al., ICLR 2018) of (n, d), (m, d); may be below zero."""
    return _mmd(_kernel(first, first), _kernel(second, second), _kernel(first, second))


def kid_figure(
    first: Features, second: Features, *, seed: int, subsets: int = 100, on_step: OnCount | None = None
) -> Figure:
    """KID of all images, and mean ± deviation over random subsets, whose size is half the smaller set, 1,000 at most.

    Subsets of b of n images, drawn without replacement, scatter around the whole set's value with the variance of its
    sampling error times (n − b)/b (Politis & Romano 1994). The interval rests on that; it is too wide where both sets
    are alike, since the statistic then degenerates. `on_step` counts subsets; returning True raises Interrupted. Raises
    ValueError under four images.
    """
    n = min(len(first), len(second))
    if n < MINIMUM_IMAGES:
        raise ValueError(f"the interval needs at least {MINIMUM_IMAGES} images on each side")
    kernels = _kernel(first, first), _kernel(second, second), _kernel(first, second)
    value, size = _mmd(*kernels), min(_LARGEST_SUBSET, n // 2)
    drawn = np.empty(subsets)
    for subset in range(subsets):
        rng = numpy_generator_for(seed, "kid-subset", subset)
        rows, columns = (rng.choice(len(features), size, replace=False) for features in (first, second))
        drawn[subset] = _mmd(
            kernels[0][np.ix_(rows, rows)], kernels[1][np.ix_(columns, columns)], kernels[2][np.ix_(rows, columns)]
        )
        if on_step is not None and on_step(subset + 1, subsets):
            raise Interrupted
    error = float(np.sqrt(((drawn - value) ** 2).mean() * size / (n - size)))
    return Figure(
        value=value,
        low=value - _NORMAL_QUANTILE * error,
        high=value + _NORMAL_QUANTILE * error,
        n=n,
        detail={
            "subsets": subsets,
            "subset_images": size,
            "subset_mean": float(drawn.mean()),
            "subset_deviation": float(drawn.std(ddof=1)) if subsets > 1 else 0.0,
            "standard_error": error,
        },
    )


def _kernel(first: Features, second: Features) -> Matrix:
    product: Matrix = first.astype(np.float64) @ second.astype(np.float64).T
    kernel: Matrix = (product / first.shape[1] + 1) ** 3
    return kernel


def _mmd(within_first: Matrix, within_second: Matrix, between: Matrix) -> float:
    return float(_mean_off_diagonal(within_first) + _mean_off_diagonal(within_second) - 2 * between.mean())


def _mean_off_diagonal(kernel: Matrix) -> float:
    count = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1)))
