"""Colour matching: the picture gets its target's colours, by a map that moves them no further than it must."""

import numpy as np
import torch
from torch import Tensor

from segsmith_worker.styling.colour import mapped_colours, within_unit_range


def pictures(seed: int, count: int = 3, side_px: int = 12) -> Tensor:
    """Pictures (count, 3, side, side) in 0..1 whose channels go together, each in its own way."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(count, 3, 3, generator=generator) * 0.05
    colours = mixing @ torch.randn(count, 3, side_px**2, generator=generator)
    return (colours + 0.2 + 0.6 * torch.rand(count, 3, 1, generator=generator)).reshape(count, 3, side_px, side_px)


def test_each_picture_gets_the_mean_and_covariance_of_its_own_targets_colours() -> None:
    targets = pictures(1, side_px=9)
    for mapped, target in zip(mapped_colours(pictures(0), targets), targets, strict=True):
        ours, theirs = mapped.flatten(1).double().numpy(), target.flatten(1).double().numpy()
        np.testing.assert_allclose(ours.mean(axis=1), theirs.mean(axis=1), atol=1e-5)
        np.testing.assert_allclose(np.cov(ours, bias=True), np.cov(theirs, bias=True), atol=1e-6)


def test_a_picture_matched_to_itself_stays() -> None:
    torch.testing.assert_close(mapped_colours(pictures(0), pictures(0)), pictures(0), atol=1e-5, rtol=0)


def test_the_map_moves_colours_less_than_another_map_to_the_same_gaussian() -> None:
    """Of all linear maps between two Gaussians the Monge–Kantorovich one costs least; Cholesky factors give another."""
    source, target = pictures(0, 1)[0].flatten(1).double(), pictures(1, 1)[0].flatten(1).double()
    other = torch.linalg.cholesky(target.cov()) @ torch.linalg.inv(torch.linalg.cholesky(source.cov()))
    elsewhere = other @ (source - source.mean(1, keepdim=True)) + target.mean(1, keepdim=True)
    torch.testing.assert_close(elsewhere.cov(), target.cov())
    ours = mapped_colours(pictures(0, 1), pictures(1, 1))[0].flatten(1)
    assert (ours - source).square().mean() < (elsewhere - source).square().mean()


def test_a_picture_of_one_colour_takes_its_targets_mean() -> None:
    mapped = mapped_colours(torch.full((1, 3, 8, 8), 0.3), pictures(1, 1))
    assert mapped.isfinite().all()
    torch.testing.assert_close(mapped.mean(dim=(2, 3)), pictures(1, 1).mean(dim=(2, 3)), atol=1e-4, rtol=0)


def test_clipping_leaves_colours_within_the_range_alone_and_stretching_does_not() -> None:
    mapped = torch.tensor([-0.2, 0.1, 0.5, 0.9]).repeat(3, 3)[None].reshape(1, 3, 3, 4)
    clipped, stretched = within_unit_range(mapped, "clip"), within_unit_range(mapped, "stretch")
    assert torch.equal(clipped, mapped.clamp(0, 1))
    assert (stretched.min().item(), stretched.max().item()) == (0, 1)
    assert stretched[0, 0, 0, 1] > 0.25


def test_each_picture_is_stretched_by_its_own_range() -> None:
    dark, bright = pictures(0, 1)[0] * 0.2, pictures(1, 1)[0]
    stretched = within_unit_range(torch.stack([dark, bright]), "stretch")
    torch.testing.assert_close(stretched.amax(dim=(1, 2, 3)), torch.ones(2))
