"""The same rule for torch: noise is drawn on the CPU per sample, so every device and batch sees the same numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from segsmith_shared.randomness import seed_for


def generator_for(seed: int, purpose: str, *position: int) -> torch.Generator:
    """A CPU generator seeded by `seed_for`."""
    return torch.Generator().manual_seed(seed_for(seed, purpose, *position))


def normal_for(seeds: Sequence[int], purpose: str, position: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Standard normal noise (len(seeds), *shape), float32, on the CPU; row i depends on seeds[i] alone."""
    return torch.stack([torch.randn(*shape, generator=generator_for(seed, purpose, *position)) for seed in seeds])
