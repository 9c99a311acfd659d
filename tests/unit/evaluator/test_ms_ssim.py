"""MS-SSIM within a set: equal to torchmetrics' parts, over seeded pairs, with enlargement said."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

from segsmith_evaluator.metrics.ms_ssim import choose_pairs, ms_ssim_figure, similarities
from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.vision.features import Interrupted

Images = NDArray[np.uint8]


def drawn(count: int, side_px: int) -> Images:
    return np.stack([draw_pair(5, index, side_px)[0] for index in range(count)])


def test_each_pair_equals_torchmetrics_parts() -> None:
    images = drawn(4, 192)
    first, second = choose_pairs(4, None, 0)
    theirs = [oracle(images[a], images[b]) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(similarities(images, first, second), theirs, atol=1e-4)


def oracle(left: Images, right: Images) -> float:
    """Wang et al. 2003 from torchmetrics' parts, channel by channel: contrast at four scales, all at the fifth.

    torchmetrics' own product is another protocol: it averages the channels at each scale, and its coarsest scale also
    counts the mirrored border that it adds. The parts agree where only the pictures' own pixels count.
    """
    channels = zip(*(torch.from_numpy(image).permute(2, 0, 1).float() for image in (left, right)), strict=True)
    return float(np.mean([_one_channel(a[None, None], b[None, None]) for a, b in channels]))


def _one_channel(left: torch.Tensor, right: torch.Tensor) -> float:
    product = 1.0
    for exponent in (0.0448, 0.2856, 0.3001, 0.2363):
        _, contrast = ssim(left, right, data_range=255.0, return_contrast_sensitivity=True)
        product *= max(0.0, contrast.item()) ** exponent
        left, right = (avg_pool2d(each, 2) for each in (left, right))
    _, similarity = ssim(left, right, data_range=255.0, return_full_image=True)
    return float(product * max(0.0, similarity[..., 5:-5, 5:-5].mean().item()) ** 0.1333)


def test_a_picture_with_itself_is_one_and_unlike_pictures_are_far_below() -> None:
    images = drawn(2, 192)
    zero, one = np.array([0]), np.array([1])
    assert similarities(images, zero, zero)[0] == pytest.approx(1)
    assert similarities(images, zero, one)[0] < 0.8


def test_pairs_are_seeded_different_and_never_of_a_picture_with_itself() -> None:
    first, second = choose_pairs(30, 100, seed=1)
    assert len({*zip(first.tolist(), second.tolist(), strict=True)}) == 100
    assert (first < second).all()
    assert np.array_equal(first, choose_pairs(30, 100, seed=1)[0])
    assert not np.array_equal(first, choose_pairs(30, 100, seed=2)[0])
    assert len(choose_pairs(30, 10_000, seed=1)[0]) == len(choose_pairs(30, None, seed=1)[0]) == 435


def test_small_pictures_are_enlarged_and_the_figure_says_so() -> None:
    figure = ms_ssim_figure(drawn(4, 48), seed=0)
    assert figure.detail["enlarged_from_px"] == 48
    assert figure.detail["enlarged_to_px"] == 256
    assert figure.detail["pairs"] == 6
    assert figure.detail["standard_error"] == 0  # all pairs were taken
    assert "enlarged_from_px" not in ms_ssim_figure(drawn(2, 176), seed=0).detail


def test_a_less_diverse_set_scores_higher() -> None:
    images = drawn(6, 48)
    alike = np.stack([np.clip(images[0].astype(int) + shift, 0, 255).astype(np.uint8) for shift in range(-15, 15, 5)])
    diverse_figure, alike_figure = ms_ssim_figure(images, seed=0), ms_ssim_figure(alike, seed=0)
    assert alike_figure.value > 0.9 > diverse_figure.value
    assert diverse_figure.low is not None
    assert diverse_figure.high is not None
    assert diverse_figure.low <= diverse_figure.value <= diverse_figure.high


def test_the_sample_of_pairs_agrees_with_all_pairs_within_its_standard_error() -> None:
    images = drawn(16, 24)
    everything = ms_ssim_figure(images, seed=0, pairs=None)
    sample = ms_ssim_figure(images, seed=0, pairs=40)
    error = float(sample.detail["standard_error"])
    assert 0 < error < 0.1
    assert abs(sample.value - everything.value) < 4 * error


def test_a_caller_can_stop_between_batches() -> None:
    with pytest.raises(Interrupted):
        ms_ssim_figure(drawn(6, 24), seed=0, on_step=lambda done, _: done >= 8)


def test_one_picture_has_no_pair() -> None:
    with pytest.raises(ValueError, match="two images"):
        ms_ssim_figure(drawn(1, 24), seed=0)
