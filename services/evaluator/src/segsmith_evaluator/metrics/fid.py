"""Fréchet distance between two sets of features, exact at any n, with what its value at this n is worth.

With centred features X (n, d) and Y (m, d), FID = |x̄ − ȳ|² + tr Σ₁ + tr Σ₂ − 2 tr √(Σ₁Σ₂) (Heusel et al., NeurIPS
2017), and tr √(Σ₁Σ₂) = ‖X Yᵀ‖_* / √((n − 1)(m − 1)). The nuclear norm needs no matrix root, which is slow, and wrong
by 1e-3 where the covariances are rank-deficient.
"""

import numpy as np

from segsmith_evaluator.metrics.figures import Figure, OnCount, quantile_bounds
from segsmith_evaluator.metrics.moments import Features, Matrix, Moments
from segsmith_shared.randomness import numpy_generator_for
from segsmith_shared.vision.features import Interrupted

MINIMUM_IMAGES = 2


def fid(first: Features, second: Features) -> float:
    """The distance between features (n, d) and (m, d). Raises ValueError under two rows or for non-finite values."""
    _check(first, second)
    mean_1, mean_2 = (features.mean(axis=0, dtype=np.float64) for features in (first, second))
    root_1, root_2 = (_root(features - mean) for features, mean in ((first, mean_1), (second, mean_2)))
    cross = np.linalg.svd(root_1 @ root_2.T, compute_uv=False).sum()
    spread = (root_1**2).sum() + (root_2**2).sum() - 2 * cross
    return max(0.0, float(((mean_1 - mean_2) ** 2).sum() + spread))


def fid_of_moments(first: Moments, second: Moments) -> float:
    """The same distance where only moments were kept. Raises ValueError under two images."""
    if min(first.count, second.count) < MINIMUM_IMAGES:
        raise ValueError("the distance needs at least two images on each side")
    root_1, root_2 = _root_of_moments(first), _root_of_moments(second)
    cross = np.linalg.svd(root_1 @ root_2.T, compute_uv=False).sum()
    spread = np.trace(first.covariance) + np.trace(second.covariance) - 2 * cross
    return max(0.0, float(((first.mean - second.mean) ** 2).sum() + spread))


def fid_figure(
    first: Features, second: Features, *, seed: int, samples: int = 200, on_step: OnCount | None = None
) -> Figure:
    """The distance with a bootstrap interval: how much it would move with other images, at this n.

    Drawing with replacement lowers the number of different images and so raises every FID. The interval is therefore
    the spread of the drawn distances moved to the estimate: it tells of sampling, not of the bias that n itself
    brings, which is about `detail["bootstrap_bias"]`. `on_step` counts the draws; returning True raises Interrupted.
    """
    value = fid(first, second)
    detail: dict[str, float | int | str] = {
        "n_first": len(first),
        "n_second": len(second),
        "dimension": first.shape[1],
        "bootstrap_samples": samples,
    }
    n = min(len(first), len(second))
    if samples == 0:
        return Figure(value=value, n=n, detail=detail)
    drawn = np.empty(samples)
    for sample in range(samples):
        rng = numpy_generator_for(seed, "fid-bootstrap", sample)
        drawn[sample] = fid(_redrawn(first, rng), _redrawn(second, rng))
        if on_step is not None and on_step(sample + 1, samples):
            raise Interrupted
    bias = float(drawn.mean()) - value
    low, high = (max(0.0, bound - bias) for bound in quantile_bounds(drawn))
    return Figure(value=value, low=low, high=high, n=n, detail=detail | {"bootstrap_bias": bias})


def fid_figure_of_all(drawn: Figure, first: Moments, second: Moments) -> Figure:
    """The distance of whole sets by their moments, with the interval that a figure of pictures drawn from them has.

    The interval of b drawn images, moved to the estimate and narrowed by √(b/n): subsampling (Politis & Romano, Annals
    of Statistics, 1994). The bias that b images bring is not in the value.
    """
    value, n = fid_of_moments(first, second), min(first.count, second.count)
    detail = drawn.detail | {"n_first": first.count, "n_second": second.count, "interval_images": drawn.n}
    if drawn.low is None or drawn.high is None:
        return Figure(value=value, n=n, detail=detail)
    narrowed = np.sqrt(drawn.n / n)
    low, high = (max(0.0, float(value + (bound - drawn.value) * narrowed)) for bound in (drawn.low, drawn.high))
    return Figure(value=value, low=low, high=high, n=n, detail=detail)


def rank_note(n: int, dimension: int) -> str | None:
    """What to say where n images cannot fill the covariance of this dimension; None where they can."""
    if n > dimension:
        return None
    return (
        f"FID at n = {n} with {dimension} feature dimensions: the covariance has rank {n - 1} at most, and the value "
        "is biased upwards. Compare only values at the same n, with their intervals and KID."
    )


def _redrawn(features: Features, rng: np.random.Generator) -> Features:
    return features[rng.integers(len(features), size=len(features))]


def _root(centred: Matrix) -> Matrix:
    """R with RᵀR = the covariance, at most d rows: from centred features (n, d)."""
    scaled: Matrix = centred / np.sqrt(len(centred) - 1)
    if len(scaled) <= scaled.shape[1]:
        return scaled
    _, triangle = np.linalg.qr(scaled)
    return triangle


def _root_of_moments(moments: Moments) -> Matrix:
    """R with RᵀR = the covariance: (r, d).

    Of n images r is at most n − 1: what eigenvalues beyond it hold is rounding, and its root would be a thousand times
    larger than it.
    """
    values, vectors = np.linalg.eigh(moments.covariance)
    rank = min(moments.count - 1, len(values))
    values, vectors = values[-rank:], vectors[:, -rank:]
    above = values > values[-1] * len(vectors) * np.finfo(np.float64).eps
    return np.asarray((vectors[:, above] * np.sqrt(values[above])).T)


def _check(first: Features, second: Features) -> None:
    if min(len(first), len(second)) < MINIMUM_IMAGES:
        raise ValueError("the distance needs at least two images on each side")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("features must be finite")
