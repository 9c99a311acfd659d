"""`python -m benchmarks.samplers.denoising PAIRS --ids FILE MODELS…`: how well networks see through noise.

A sampler is only as good as its network's x̂₀. This prints, for pairs that the networks never saw and every noise level,
the mean squared error of one prediction's colours: of whole pictures, and of a central disc, around which an
inpainting-aware network sees the picture clean and any other with its noise. All get the same noise.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.samplers.material import read_model, read_pairs
from segsmith_shared.plans.presets import PICTURE_CHANNELS, DiffusionSpec
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.sampling import Levels
from segsmith_worker.diffusion.schedule import linear_schedule, q_sample
from segsmith_worker.inpainting.conditioning import predicted
from segsmith_worker.randomness import normal_for

LOG_SNRS = (-8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6)
DISC_RADIUS = 0.35
"""Of the side: a region of .38 of the picture."""
AT_ONCE = 16


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    models = {path.stem: read_model(path).model for path in arguments.models}
    side_px = next(iter(models.values())).side_px
    squares = read_pairs(arguments.pairs, arguments.ids, side_px).squares[: arguments.count]
    x0 = torch.from_numpy(squares).float() / 127.5 - 1
    noise = normal_for(range(len(x0)), "denoising", (), x0.shape[1:])
    disc = _disc(side_px).expand(len(x0), 1, -1, -1)
    print("log-SNR  " + "  ".join(f"{name}: whole, disc" for name in models))
    for log_snr in LOG_SNRS:
        figures = [
            f"{_error(model, x0, noise, region, log_snr):.4f}"
            for model in models.values()
            for region in (torch.ones_like(disc), disc)
        ]
        print(f"{log_snr:7d}  " + "  ".join(figures), flush=True)


@torch.inference_mode()
def _error(model: DiffusionModel, x0: Tensor, noise: Tensor, region: Tensor, log_snr: float) -> float:
    """Mean squared error of x̂₀'s colours inside the region, at one log-SNR."""
    alpha_bar = torch.sigmoid(torch.tensor([log_snr], dtype=torch.float64))
    levels = Levels(alpha_bar, torch.tensor([_model_time(model.preset.diffusion, log_snr)], dtype=torch.float64))
    x_t = q_sample(x0, noise, alpha_bar[0])
    parts = zip(*(torch.split(each, AT_ONCE) for each in (x_t, x0, region)), strict=True)
    x0_predicted = torch.cat([predicted(model, x, known, drawn, levels, 0) for x, known, drawn in parts])
    errors = ((x0_predicted.clamp(-1, 1) - x0) ** 2)[:, :PICTURE_CHANNELS] * region
    return (errors.sum() / (PICTURE_CHANNELS * region.sum())).item()


def _model_time(diffusion: DiffusionSpec, log_snr: float) -> float:
    """What the network is told at this log-SNR: `cosine_log_snr` the other way round, or the chain's level."""
    if diffusion.schedule == "cosine":
        return 1000 * 2 / math.pi * math.atan(math.exp((diffusion.log_snr_shift - log_snr) / 2))
    chain = linear_schedule(diffusion.timesteps)
    return float(np.interp(-log_snr, -torch.logit(chain.alphas_bar).numpy(), chain.model_times.numpy()))


def _disc(side_px: int) -> Tensor:
    """(1, 1, side, side), 1 inside."""
    from_centre = torch.arange(side_px) - (side_px - 1) / 2
    inside = from_centre[:, None] ** 2 + from_centre[None, :] ** 2 <= (DISC_RADIUS * side_px) ** 2
    return inside.float()[None, None]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.samplers.denoising", description=__doc__)
    parser.add_argument("pairs", type=Path, help="folder of real pairs, in any layout that an import knows")
    parser.add_argument("--ids", type=Path, required=True, help="names of pairs that no model was trained on")
    parser.add_argument("models", type=Path, nargs="+", help="files of benchmarks.samplers.train or .export")
    parser.add_argument("--count", type=int, default=64, help="how many pairs (default 64)")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
