"""AuthPct: how many samples lie further from the training pictures than these lie from each other."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from segsmith_shared.vision.features import Features

Flags = NDArray[np.bool_]
Places = NDArray[np.int64]


def authentic(samples: Features, training: Features) -> tuple[Flags, Places]:
    """Whether each sample lies further from its nearest training picture than that one's nearest neighbour does.

    The authenticity of Alaa et al. (How faithful is your synthetic data?, ICML 2022), whose share is AuthPct, and the
    nearest training picture's place. Features (n, d) and (m, d), m ≥ 2 → (n,), (n,).
    """
    across, within = cdist(samples, training), cdist(training, training)
    np.fill_diagonal(within, np.inf)
    place = across.argmin(axis=1)
    return across[np.arange(len(samples)), place] > within.min(axis=1)[place], place
