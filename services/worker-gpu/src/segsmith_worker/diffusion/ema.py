"""The moving average of weights, warmed up: at .9999 a short training would still hold mostly its random start."""

import torch
from torch import nn


def decay_at(step: int, decay: float, *, warm_up: bool) -> float:
    """The decay after `step` finished updates: min(decay, (1 + step)/(10 + step)) while warming up."""
    return min(decay, (1 + step) / (10 + step)) if warm_up else decay


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average ← decay·average + (1 − decay)·network, parameter by parameter, in place."""
    for kept, new in zip(average.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
