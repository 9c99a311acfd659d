"""The hybrid loss against closed forms and numerical integration."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from segsmith_worker.diffusion.loss import (
    balanced,
    byte_log_likelihood,
    hybrid_loss,
    mean_inside,
    normal_divergence,
    root_snr_weight,
    variational_bound,
)
from segsmith_worker.diffusion.schedule import linear_schedule, q_sample, v_target, x0_from_v
from segsmith_worker.randomness import generator_for

T = 1000


def test_the_divergence_of_two_normals_equals_its_integral() -> None:
    grid = np.linspace(-12, 12, 200_001)
    p, q = stats.norm(0.3, 0.7), stats.norm(-0.4, 1.1)
    integral = np.trapezoid(p.pdf(grid) * (p.logpdf(grid) - q.logpdf(grid)), grid)
    values = [torch.tensor(v) for v in (0.3, 2 * math.log(0.7), -0.4, 2 * math.log(1.1))]
    assert abs(normal_divergence(*values).item() - integral) < 1e-5


def test_the_likelihoods_of_all_byte_values_sum_to_one() -> None:
    x = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    for mean, deviation in ((0.1, 0.02), (-0.99, 0.3), (0.9, 0.5)):
        likelihood = byte_log_likelihood(x, torch.full_like(x, mean), torch.full_like(x, math.log(deviation))).exp()
        assert abs(likelihood.sum().item() - 1) < 1e-9


def test_the_hybrid_loss_is_the_squared_error_plus_the_bound_in_bits() -> None:
    """Both terms once more, pixel by pixel, from the definitions with scipy."""
    schedule = linear_schedule(T)
    generator = generator_for(0, "loss")
    x0 = (torch.rand(3, 4, 2, 2, generator=generator) * 255).round() / 127.5 - 1
    noise, output = torch.randn(3, 4, 2, 2, generator=generator), torch.randn(3, 8, 2, 2, generator=generator)
    level = torch.tensor([0, 1, 700])
    x_t = q_sample(x0, noise, schedule.alphas_bar[level])
    ours = hybrid_loss(output.double(), x0.double(), x_t.double(), noise.double(), level, schedule)
    for at in np.ndindex(3, 4, 2, 2):
        image, channel, row, column = at
        epsilon, ranged = output[at].item(), output[image, channel + 4, row, column].item()
        bound = _bound(schedule.betas.numpy(), int(level[image]), x0[at].item(), x_t[at].item(), epsilon, ranged)
        expected = (epsilon - noise[at].item()) ** 2 + bound / math.log(2)
        assert abs(ours[at].item() - expected) < 1e-5 * max(1, abs(expected))


@pytest.mark.parametrize(("timesteps", "weight"), [(200, 0.2), (1000, 1.0), (4000, 4.0)])
def test_the_bound_weighs_a_thousandth_of_the_chain_s_length(timesteps: int, weight: float) -> None:
    schedule = linear_schedule(timesteps)
    x0, noise = (torch.rand(1, 1, 4, 4, generator=generator_for(2, purpose)) * 2 - 1 for purpose in "ab")
    level = torch.tensor([timesteps // 2])
    x_t = q_sample(x0, noise, schedule.alphas_bar[level])
    ranged = torch.full_like(noise, 0.4)
    loss = hybrid_loss(torch.cat([noise, ranged], dim=1), x0, x_t, noise, level, schedule)
    assert torch.allclose(loss, weight * variational_bound(noise, ranged, x0, x_t, level, schedule), rtol=1e-5)


def _bound(betas: np.ndarray, t: int, x0: float, x_t: float, epsilon: float, ranged: float) -> float:
    products = np.cumprod(1 - betas)
    before = products[t - 1] if t else 1.0
    predicted = (x_t - math.sqrt(1 - products[t]) * epsilon) / math.sqrt(products[t])
    of_x0 = betas[t] * math.sqrt(before) / (1 - products[t])
    of_x_t = math.sqrt(1 - betas[t]) * (1 - before) / (1 - products[t])
    at_least_one = max(t, 1)
    smallest = betas[at_least_one] * (1 - products[at_least_one - 1]) / (1 - products[at_least_one])
    share = (ranged + 1) / 2
    model = stats.norm(of_x0 * predicted + of_x_t * x_t, math.sqrt(betas[t] ** share * smallest ** (1 - share)))
    if t == 0:
        low = -np.inf if x0 < -0.999 else x0 - 1 / 255
        high = np.inf if x0 > 0.999 else x0 + 1 / 255
        return -math.log(max(float(model.cdf(high) - model.cdf(low)), 1e-12))
    true = stats.norm(of_x0 * x0 + of_x_t * x_t, math.sqrt(smallest))
    ratio = float(true.std() / model.std()) ** 2
    return 0.5 * (ratio - 1 - math.log(ratio) + float((true.mean() - model.mean()) / model.std()) ** 2)


def test_the_bound_teaches_the_variance_and_never_the_mean() -> None:
    schedule = linear_schedule(T)
    generator = generator_for(1, "loss")
    x0, noise = torch.rand(2, 4, 2, 2, generator=generator) * 2 - 1, torch.randn(2, 4, 2, 2, generator=generator)
    level = torch.tensor([5, 500])
    x_t = q_sample(x0, noise, schedule.alphas_bar[level])
    output = torch.cat([noise, torch.zeros_like(noise)], dim=1).requires_grad_()
    torch.autograd.backward(hybrid_loss(output, x0, x_t, noise, level, schedule).sum())
    assert output.grad is not None
    assert output.grad[:, :4].abs().max() == 0  # ε is already right: only a leak of the bound could move it
    assert output.grad[:, 4:].abs().max() > 0


def test_only_the_region_counts_and_every_image_counts_alike() -> None:
    values = torch.ones(2, 4, 4, 4)
    values[:, :, 2:] = 100
    values[1] *= 3
    region = torch.zeros(2, 1, 4, 4)
    region[0, :, :2], region[1, :, 0, 0] = 1, 1
    assert mean_inside(values, region).tolist() == [1, 3]
    assert mean_inside(values, None).tolist() == [50.5, 151.5]


def test_a_region_per_channel_leaves_channels_out() -> None:
    values = torch.tensor([1.0, 3.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    of_first = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    assert mean_inside(values, of_first).tolist() == [1]


def test_balanced_a_small_lesion_weighs_as_much_as_all_around_it() -> None:
    lesion = torch.zeros(1, 1, 10, 10, dtype=torch.bool)
    lesion[..., :1, :] = True
    counted = torch.ones(1, 1, 10, 10)
    weights = balanced(lesion, counted, 1.0)
    assert weights[lesion].sum().item() == pytest.approx(50)
    assert weights[~lesion].sum().item() == pytest.approx(50)
    half = balanced(lesion, counted, 0.5)
    assert half[lesion].sum().item() == pytest.approx(30)
    assert torch.equal(balanced(lesion, counted, 0.0), counted)


def test_a_region_of_one_pixel_counts_it_and_one_of_none_counts_nothing() -> None:
    values = torch.arange(16.0).view(1, 1, 4, 4)
    region = torch.zeros(1, 1, 4, 4)
    assert mean_inside(values, region).tolist() == [0]
    region[..., 2, 3] = 1
    assert mean_inside(values, region).tolist() == [11]


def test_each_image_of_a_batch_is_balanced_by_itself() -> None:
    lesions = torch.zeros(3, 1, 10, 10, dtype=torch.bool)
    lesions[0, :, :2], lesions[1, :, 3:8, 3:8], lesions[2, :, 0, :7] = True, True, True
    counted = torch.ones(3, 1, 10, 10)
    counted[1, :, :4] = 0
    together = balanced(lesions, counted, 1.0)
    alone = [balanced(lesions[place : place + 1], counted[place : place + 1], 1.0) for place in range(3)]
    assert torch.allclose(together, torch.cat(alone))


def test_a_sliver_of_background_around_a_lesion_counts_as_a_twentieth_too() -> None:
    lesion = torch.ones(1, 1, 20, 20, dtype=torch.bool)
    lesion[..., 5, 5] = False
    weights = balanced(lesion, torch.ones(1, 1, 20, 20), 1.0)
    assert (weights[~lesion] / weights[lesion][0]).item() == pytest.approx(0.95 / 0.05)


def test_weights_of_one_pixel_or_none_are_finite() -> None:
    lesion = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    lesion[0, :, 1, 1] = True
    counted = torch.zeros(2, 1, 4, 4)
    counted[0, :, 1, 1] = 1
    weights = balanced(lesion, counted, 1.0)
    assert weights[0, 0, 1, 1].item() == pytest.approx(1)
    assert weights.sum().item() == pytest.approx(1)


def test_balanced_weights_have_mean_one_over_what_counts_and_a_few_pixels_do_not_take_over() -> None:
    lesion = torch.zeros(1, 1, 20, 20, dtype=torch.bool)
    lesion[..., 5, 5] = True
    counted = torch.zeros(1, 1, 20, 20)
    counted[..., :15, :] = 1
    weights = balanced(lesion, counted, 1.0)
    assert weights[counted == 0].sum() == 0
    assert weights.sum().item() == pytest.approx(300, rel=1e-4)
    assert weights[lesion].item() < 20
    none = balanced(torch.zeros_like(lesion), counted, 1.0)
    assert none[counted == 1].std() == pytest.approx(0, abs=1e-6)


def test_errors_of_v_under_the_root_of_the_snr_are_the_middle_of_those_of_x0_and_epsilon() -> None:
    alpha_bar = torch.sigmoid(torch.tensor([-6.0, 0.0, 4.0], dtype=torch.float64))
    x0, noise, mistake = (
        torch.randn(3, 4, 8, 8, generator=generator_for(0, purpose), dtype=torch.float64) for purpose in "abc"
    )
    v, x_t = v_target(x0, noise, alpha_bar), q_sample(x0, noise, alpha_bar)
    signal, spread = (part.sqrt().reshape(-1, 1, 1, 1) for part in (alpha_bar, 1 - alpha_bar))
    predicted = x0_from_v(x_t, v + mistake, alpha_bar)
    of_x0, of_epsilon = predicted - x0, (x_t - signal * predicted) / spread - noise
    assert torch.allclose(mistake**2 * root_snr_weight(alpha_bar), 2 * (of_x0 * of_epsilon).abs())


def test_the_variational_bound_teaches_the_range_and_leaves_the_prediction_of_noise_alone() -> None:
    schedule = linear_schedule(1000)
    x0, noise = (torch.rand(6, 4, 8, 8, generator=generator_for(1, purpose)) * 2 - 1 for purpose in "ab")
    level = torch.tensor([0, 1, 5, 100, 500, 999])
    x_t = q_sample(x0, noise, schedule.alphas_bar[level])
    output = torch.randn(6, 8, 8, 8, generator=generator_for(1, "c")).requires_grad_()
    hybrid_loss(output, x0, x_t, noise, level, schedule).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert output.grad is not None
    of_noise, of_range = output.grad.chunk(2, dim=1)
    assert torch.allclose(of_noise, 2 * (output[:, :4] - noise).detach())
    assert (of_range.abs().amax(dim=(1, 2, 3)) > 0).all()
