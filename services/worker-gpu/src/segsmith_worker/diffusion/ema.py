"""The moving average of weights, warmed up: at .9999 a short training would still hold mostly its random start."""

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def decay_at(step: int, decay: float, *, warm_up: bool) -> float:
    """The decay after `step` finished updates: min(decay, (1 + step)/(10 + step)) while warming up."""
    return min(decay, (1 + step) / (10 + step)) if warm_up else decay


def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average ← decay·average + (1 − decay)·network, in place; on CUDA in few launches for all parameters."""
    update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch's own
    update(list(average.parameters()), list(network.parameters()), None)
