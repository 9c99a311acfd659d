"""Fréchet distance between two sets of features, exact at any n, with what its value at this n is worth.

With centred features X (n, d) and Y (m, d), FID = |x̄ − ȳ|² + tr Σ₁ + tr Σ₂ − 2 tr √(Σ₁Σ₂) (Heusel et al., NeurIPS
2017), and tr √(Σ₁Σ₂) = ‖X Yᵀ‖_* / √((n − 1)(m − 1)). The nuclear norm needs no matrix root, which is slow, and wrong
by 1e-3 where the covariances are rank-deficient.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segsmith_evaluator.metrics.figures import Figure, OnCount, quantile_bounds
from segsmith_shared.randomness import numpy_generator_for
from segsmith_shared.vision.features import Interrupted

Features = NDArray[np.float32] | NDArray[np.float64]
Matrix = NDArray[np.float64]

MINIMUM_IMAGES = 2


@dataclass(frozen=True)
class Moments:
    """Count, mean (d,) and centred scatter (d, d) of a set of features; parts merge without loss."""

    count: int
    mean: Matrix
    scatter: Matrix

    @classmethod
    def of(cls, features: Features) -> "Moments":
        """Of features (n, d), n ≥ 1."""
        mean = features.mean(axis=0, dtype=np.float64)
        centred = features - mean
        return cls(len(features), mean, centred.T @ centred)

    def merge(self, other: "Moments") -> "Moments":
        """The moments of both parts together (Chan, Golub & LeVeque 1983)."""
        count = self.count + other.count
        shift = other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(shift, shift) * (self.count * other.count / count)
        return Moments(count, self.mean + shift * (other.count / count), scatter)

    @property
    def covariance(self) -> Matrix:
        """Unbiased, (d, d)."""
        return self.scatter / (self.count - 1)


def fid(first: Features, second: Features) -> float:
    """The distance between features (n, d) and (m, d). Raises ValueError under two rows or for non-finite values."""
    _check(first, second)
    mean_1, mean_2 = (features.mean(axis=0, dtype=np.float64) for features in (first, second))
    root_1, root_2 = (_root(features - mean) for features, mean in ((first, mean_1), (second, mean_2)))
    cross = np.linalg.svd(root_1 @ root_2.T, compute_uv=False).sum()
    spread = (root_1**2).sum() + (root_2**2).sum() - 2 * cross
    return max(0.0, float(((mean_1 - mean_2) ** 2).sum() + spread))


def fid_of_moments(first: Moments, second: Moments) -> float:
    """The same distance where only moments were kept, by eigenvalues. Raises ValueError under two images."""
    if min(first.count, second.count) < MINIMUM_IMAGES:
        raise ValueError("the distance needs at least two images on each side")
    values, vectors = np.linalg.eigh(first.covariance)
    root = vectors * np.sqrt(values.clip(0))
    cross = np.sqrt(np.linalg.eigvalsh(root.T @ second.covariance @ root).clip(0)).sum()
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


def _check(first: Features, second: Features) -> None:
    if min(len(first), len(second)) < MINIMUM_IMAGES:
        raise ValueError("the distance needs at least two images on each side")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("features must be finite")
