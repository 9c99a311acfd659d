"""Every term against a plain computation, sample by sample; none sees its neighbours in the batch."""

import math

import pytest
import torch
from torch import Tensor

from segsmith_shared.plans.presets import preset_named
from segsmith_shared.plans.styling import StylingSpec
from segsmith_worker.styling.losses import (
    TERMS,
    contrast_positions,
    contrasted_stages,
    l2_distance,
    mean_squared_distance,
    patch_contrast,
    range_excess,
    semantic_divergence,
    texture_distance,
    weighted_sum,
    weights_of,
)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_close(ours: Tensor, plain: list[float]) -> None:
    torch.testing.assert_close(ours, torch.tensor(plain), rtol=1e-5, atol=1e-5)


def plain_mean_square(values: Tensor, others: Tensor) -> float:
    pairs = zip(values.flatten().tolist(), others.flatten().tolist(), strict=True)
    squares: list[float] = [(a - b) ** 2 for a, b in pairs]
    return sum(squares) / len(squares)


def test_style_divergence_and_mse_are_means_of_squares_per_sample() -> None:
    one, other = drawn(0, 3, 17), drawn(1, 3, 17)
    plain = [plain_mean_square(a, b) for a, b in zip(one, other, strict=True)]
    assert_close(mean_squared_distance(one, other), plain)
    assert_close(semantic_divergence(one, other), [-value for value in plain])


def test_l2_counts_all_pixels_or_the_kept_ones_only() -> None:
    pictures, target = drawn(0, 3, 3, 5, 5), drawn(1, 3, 3, 5, 5)
    kept = (drawn(2, 3, 1, 5, 5) > 0).float()
    everywhere, outside = [], []
    for picture, wanted, mask in zip(pictures, target, kept, strict=True):
        everywhere.append(plain_mean_square(picture, wanted))
        inside = mask[0] > 0
        outside.append(plain_mean_square(picture[:, inside], wanted[:, inside]))
    assert_close(l2_distance(pictures, target, None), everywhere)
    assert_close(l2_distance(pictures, target, kept), outside)


def test_l2_is_zero_where_nothing_was_kept() -> None:
    assert l2_distance(drawn(0, 1, 3, 4, 4), drawn(1, 1, 3, 4, 4), torch.zeros(1, 1, 4, 4)).item() == 0


def test_range_counts_only_what_lies_beyond_the_range() -> None:
    x0 = 2 * drawn(0, 3, 4, 5, 5)
    plain = []
    for sample in x0:
        excess = [max(0.0, abs(value) - 1) ** 2 for value in sample.flatten().tolist()]
        plain.append(sum(excess) / len(excess))
    assert_close(range_excess(x0), plain)
    assert range_excess(x0.clamp(-1, 1)).abs().max() == 0


def test_texture_adds_the_mean_of_each_layer() -> None:
    maps, references = ([drawn(seed, 3, 6, 4, 4), drawn(seed + 1, 3, 9, 2, 2)] for seed in (0, 2))
    plain = [sum(plain_mean_square(m[at], r[at]) for m, r in zip(maps, references, strict=True)) for at in range(3)]
    assert_close(texture_distance(maps, references), plain)


def plain_info_nce(features: Tensor, references: Tensor, positions: list[int], temperature: float) -> float:
    """One sample and one stage, (C, h, w) twice: cosine similarities, softmax, own key."""
    queries = [features.flatten(1)[:, at] for at in positions]
    keys = [references.flatten(1)[:, at] for at in positions]
    losses = []
    for own, query in enumerate(queries):
        similarities = [float(query @ key / query.norm() / key.norm()) / temperature for key in keys]
        total = math.log(sum(math.exp(value) for value in similarities))
        losses.append(total - similarities[own])
    return sum(losses) / len(losses)


def test_patch_contrast_is_info_nce_within_each_picture_added_up_over_stages() -> None:
    features, references = ([drawn(seed, 3, 8, 6, 6), drawn(seed + 1, 3, 5, 3, 3)] for seed in (0, 2))
    positions = contrast_positions([4, 5, 6], features, level=7, count=12)
    plain = [
        sum(
            plain_info_nce(f[at], r[at], p[at].tolist(), 0.5)
            for f, r, p in zip(features, references, positions, strict=True)
        )
        for at in range(3)
    ]
    assert_close(patch_contrast(features, references, positions, 0.5), plain)


def test_patch_contrast_is_small_for_the_same_picture_and_large_for_a_shuffled_one() -> None:
    maps = [drawn(0, 1, 32, 8, 8)]
    positions = contrast_positions([1], maps, level=0, count=64)
    same = patch_contrast(maps, maps, positions, 0.07).item()
    shuffled = patch_contrast([maps[0].flip(2)], maps, positions, 0.07).item()
    assert same < 0.1
    assert shuffled > 4


def test_positions_differ_within_a_sample_and_depend_on_its_own_seed() -> None:
    maps = [torch.zeros(2, 1, 20, 20), torch.zeros(2, 1, 3, 3)]
    fine, coarse = contrast_positions([8, 9], maps, level=3, count=256)
    assert (fine.shape, coarse.shape) == ((2, 256), (2, 9))
    assert all(len(set(row.tolist())) == 256 for row in fine)
    assert not torch.equal(fine[0], fine[1])
    alone = contrast_positions([9], [each[:1] for each in maps], level=3, count=256)
    assert torch.equal(alone[0][0], fine[1])
    assert not torch.equal(contrast_positions([9], maps, level=4, count=256)[0][0], fine[1])


@pytest.mark.parametrize(
    ("preset", "stages"),
    [("paper-256-2024", [0, 2, 5, 8, 11]), ("small-64", [0, 1, 3, 5, 7]), ("tiny-cpu", [0, 1, 3, 5])],
)
def test_five_stages_are_compared_or_as_many_as_the_network_has(preset: str, stages: list[int]) -> None:
    assert contrasted_stages(preset_named(preset).network, 5) == stages


def test_a_weight_pulls_at_each_sample_as_hard_in_any_batch() -> None:
    values = drawn(0, 4, 6).requires_grad_()
    weights = dict.fromkeys(TERMS, 3.0)
    together = weighted_sum({"style": mean_squared_distance(values, torch.zeros(4, 6))}, weights)
    (slope,) = torch.autograd.grad(together, values)
    for row, expected in zip(values.detach(), slope, strict=True):
        alone = row[None].clone().requires_grad_()
        (own,) = torch.autograd.grad(
            weighted_sum({"style": mean_squared_distance(alone, torch.zeros(1, 6))}, weights), alone
        )
        torch.testing.assert_close(own[0], expected)


def test_a_weight_moves_a_pixel_as_far_at_every_side_unless_the_authors_ask_otherwise() -> None:
    def slope_of_a_pixel(spec: StylingSpec, side_px: int) -> float:
        pictures = torch.full((1, 3, side_px, side_px), 0.5, requires_grad=True)
        l2 = l2_distance(pictures, torch.zeros(1, 3, side_px, side_px), None)
        (slope,) = torch.autograd.grad(weighted_sum({"l2": l2}, weights_of(spec, side_px)), pictures)
        return slope[0, 0, 0, 0].item()

    corrected, authors = StylingSpec(), StylingSpec(procedure="authors")
    assert slope_of_a_pixel(corrected, 32) == pytest.approx(slope_of_a_pixel(corrected, 256), rel=1e-5)
    assert slope_of_a_pixel(authors, 256) == pytest.approx(slope_of_a_pixel(corrected, 256), rel=1e-5)
    assert slope_of_a_pixel(authors, 32) == pytest.approx(64 * slope_of_a_pixel(authors, 256), rel=1e-5)
