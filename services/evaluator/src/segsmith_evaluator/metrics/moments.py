"""Mean and spread of features, summed up shard by shard: what FID needs of a set that no memory holds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32] | NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Count, mean (d,) and centred scatter (d, d) of a set of features, in float64; parts merge without loss."""

    count: int
    mean: Matrix
    scatter: Matrix

    @classmethod
    def of(cls, features: Features) -> "Moments":
        """Of features (n, d). Raises ValueError for none and for non-finite values."""
        if not len(features):
            raise ValueError("there are no features to sum up")
        if not np.isfinite(features).all():
            raise ValueError("features must be finite")
        mean = features.mean(axis=0, dtype=np.float64)
        centred = features - mean
        return cls(len(features), mean, centred.T @ centred)

    def merge(self, other: "Moments") -> "Moments":
        """The moments of both parts together (eqs. 2.1 of Chan, Golub & LeVeque, The American Statistician, 1983).

        Up to rounding the order and the sizes of the parts do not matter: sums of squares of centred values are added,
        never differences of large sums taken.
        """
        count = self.count + other.count
        shift = other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(shift, shift) * (self.count * other.count / count)
        return Moments(count, self.mean + shift * (other.count / count), scatter)

    @property
    def covariance(self) -> Matrix:
        """Unbiased, (d, d). Raises ValueError for a single image, which has none."""
        if self.count < 2:
            raise ValueError("one image has no covariance")
        return self.scatter / (self.count - 1)


def merged(parts: "Moments | None", further: Moments) -> Moments:
    """The moments so far, None at the beginning, with those of one more shard."""
    return further if parts is None else parts.merge(further)
