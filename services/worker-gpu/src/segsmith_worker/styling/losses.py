"""What styling minimises: seven terms, each one number per sample, so that a weight means the same in any batch.

After Kwon and Ye 2023 (style, semantic divergence, range) and Yang et al. 2023 (patch-wise contrast).
"""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from segsmith_shared.plans.presets import REFERENCE_SIDE_PX, NetworkSpec
from segsmith_shared.plans.styling import StylingSpec
from segsmith_worker.diffusion.loss import mean_inside
from segsmith_worker.randomness import generator_for

Term = Literal["style", "divergence", "l2", "range", "zecon", "vgg", "mse"]
TERMS: tuple[Term, ...] = get_args(Term)


def weighted_sum(terms: Mapping[Term, Tensor], weights: Mapping[Term, float]) -> Tensor:
    """Σ over terms and samples of weight × term (B,): a sum, for a mean would make each sample's pull weaker with B."""
    return sum((weights[name] * values.sum() for name, values in terms.items()), torch.zeros(()))


def weights_of(spec: StylingSpec, side_px: int) -> dict[Term, float]:
    """The weight of each term at this side.

    A mean over a picture has the slope 1/pixels in each of them: to move every pixel of a smaller picture as far as at
    256 px, the weights shrink with the area.
    """
    scale = (side_px / REFERENCE_SIDE_PX) ** 2 if spec.weights_scale_with_area else 1.0
    return {name: scale * getattr(spec, f"{name}_weight") for name in TERMS}


def mean_squared_distance(values: Tensor, others: Tensor) -> Tensor:
    """Mean of squared differences over all but the first dimension: (B, …) twice → (B,)."""
    return (values - others).square().flatten(1).mean(dim=1)


def semantic_divergence(vectors: Tensor, previous: Tensor) -> Tensor:
    """Minus the mean squared distance to the vectors (B, d) one step before: the further from there, the better."""
    return -mean_squared_distance(vectors, previous)


def l2_distance(pictures: Tensor, target: Tensor, kept: Tensor | None) -> Tensor:
    """Mean squared distance (B,) of pictures (B, 3, H, W) over the kept pixels (B, 1, H, W), or over all; 0 over none.

    Over all it pulls a new lesion back to the old one.
    """
    return mean_inside((pictures - target).square(), kept)


def range_excess(x0: Tensor) -> Tensor:
    """Mean squared excess of x₀ (B, C, H, W) beyond −1..1: (B,)."""
    return mean_squared_distance(x0, x0.clamp(-1, 1))


def texture_distance(maps: Sequence[Tensor], references: Sequence[Tensor]) -> Tensor:
    """Mean squared distance of maps (B, C, h, w), each layer's mean added up: (B,)."""
    return torch.stack([mean_squared_distance(*pair) for pair in zip(maps, references, strict=True)]).sum(dim=0)


def patch_contrast(
    features: Sequence[Tensor], references: Sequence[Tensor], positions: Sequence[Tensor], temperature: float
) -> Tensor:
    """ZeCon (Yang et al. 2023): each position must find itself among the references of its own picture, (B,).

    Maps (B, C, h, w) of both pictures and positions (B, P) in h·w, per stage. InfoNCE is the mean over positions, added
    up over stages; negatives are the other positions of the same sample.
    """
    stages = zip(features, references, positions, strict=True)
    return torch.stack([_info_nce(_at(f, p), _at(r, p), temperature) for f, r, p in stages]).sum(dim=0)


def _info_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """−log of the softmax share of the own key, mean over positions: (B, P, C) twice → (B,)."""
    similarity = functional.normalize(queries, dim=-1) @ functional.normalize(keys, dim=-1).mT / temperature
    return (similarity.logsumexp(dim=-1) - similarity.diagonal(dim1=1, dim2=2)).mean(dim=1)


def _at(maps: Tensor, positions: Tensor) -> Tensor:
    """The features (B, P, C) of maps (B, C, h, w) at positions (B, P)."""
    flat = maps.flatten(2)
    return flat.gather(2, positions[:, None].expand(-1, flat.shape[1], -1)).mT


def contrast_positions(seeds: Sequence[int], maps: Sequence[Tensor], level: int, count: int) -> list[Tensor]:
    """For each stage's maps, `count` different positions per sample (B, P), or all where there are fewer.

    Each row depends on its own seed, the level and the stage.
    """
    return [_drawn(seeds, each[0, 0].numel(), count, level, stage).to(each.device) for stage, each in enumerate(maps)]


def _drawn(seeds: Sequence[int], size: int, count: int, level: int, stage: int) -> Tensor:
    generators = [generator_for(seed, "style-positions", level, stage) for seed in seeds]
    return torch.stack([torch.randperm(size, generator=generator)[:count] for generator in generators])


def contrasted_stages(network: NetworkSpec, count: int) -> list[int]:
    """The encoder stages compared, at most `count`: the entrance, then the last block of each level, finest first.

    For the paper's network and 5: stages 0, 2, 5, 8 and 11.
    """
    blocks = network.residual_blocks
    ends = [blocks + level * (blocks + 1) for level in range(len(network.channel_multipliers))]
    return [0, *ends][:count]
