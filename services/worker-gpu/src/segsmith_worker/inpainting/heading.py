"""Steps that bend: where the prediction is heading, read off the last two, so that few steps lose less contrast."""

from collections.abc import Sequence

import torch
from torch import Tensor

from segsmith_shared.plans.presets import SamplingSpec
from segsmith_worker.diffusion.sampling import Levels


def heading(predictions: Sequence[Tensor], levels: Levels, level: int, spec: SamplingSpec) -> Tensor:
    """x₀ half a step ahead in log-SNR, on the line through the last two predictions; of only one, or at order 1, that.

    `predictions` are those of the level above, if there was one, and of this level. DPM-Solver++(2M) (Lu et al. 2022,
    arXiv 2211.01095, algorithm 2). The last step, which ends in the clean picture, is infinitely long in log-SNR and
    takes the prediction as it is. No step looks further ahead than half as far as the last one went: towards the clean
    end steps grow several-fold, and the line would be drawn out far beyond what two predictions can tell.
    """
    if len(predictions) < 2 or level == 0 or spec.order == 1:
        return predictions[-1]
    before, here, ahead = (torch.logit(levels.alpha_bar(each)) for each in (level + 1, level, level - 1))
    share = min(float((ahead - here) / (here - before)), 1.0) / 2
    target = predictions[-1] + share * (predictions[-1] - predictions[-2])
    return target.clamp(-1, 1) if spec.clip_denoised else target
