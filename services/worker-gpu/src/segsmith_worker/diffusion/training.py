"""Training, one step after another: a function of (seed, images seen), so that a cut and resumed run is bit-equal."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from segsmith_shared.plans.presets import Preset, TrainingSpec
from segsmith_shared.problems import Problem
from segsmith_shared.randomness import numpy_generator_for, seed_for
from segsmith_worker.diffusion.ema import decay_at, update_average
from segsmith_worker.diffusion.loss import hybrid_loss, mean_inside
from segsmith_worker.diffusion.model import CLUSTER_TABLE, clusters_told
from segsmith_worker.diffusion.schedule import (
    alpha_bar_from_log_snr,
    cosine_log_snr,
    linear_schedule,
    q_sample,
    v_target,
)
from segsmith_worker.diffusion.unet import UNet, new_network
from segsmith_worker.inpainting.regions import training_regions
from segsmith_worker.precision import autocast
from segsmith_worker.randomness import generator_for


class NonFiniteLoss(Problem):
    """The loss or its gradient is no longer a number: further steps would only spoil the weights."""

    status = 500
    title = "Training diverged"


class NoTrainingPairs(Problem):
    """There is nothing to train on."""

    status = 422
    title = "No pairs to train on"


@dataclass(frozen=True)
class StepReport:
    """One finished step. `loss` is the mean over its batch, `gradient_norm` the one before clipping."""

    step: int
    images_seen: int
    loss: float
    gradient_norm: float
    learning_rate: float


OnStep = Callable[[StepReport], bool | None]
"""Called after each step; True stops the training there, the state being whole."""


@dataclass
class TrainingState:
    """Everything a training carries from step to step: raw weights, their moving average, the optimiser, the counts."""

    network: UNet
    average: UNet
    optimiser: torch.optim.AdamW
    step: int
    images_seen: int

    @classmethod
    def start(
        cls,
        preset: Preset,
        seed: int,
        device: str = "cpu",
        warm_start: Mapping[str, Tensor] | None = None,
        clusters: int = 0,
    ) -> Self:
        """A new training, of a network that is told one of so many `clusters` if there are any.

        `warm_start` holds the weights of another network of the same shape, with 4 or 5 inputs.
        """
        network = _network_of(preset, seed, clusters)
        if warm_start is not None:
            _carry_over(network, warm_start)
        network.to(device)
        return cls(network, _frozen_copy(network), _optimiser_of(network, preset.training), step=0, images_seen=0)

    @classmethod
    def from_tensors(cls, preset: Preset, tensors: Mapping[str, Tensor], device: str = "cpu") -> Self:
        """The state that `to_tensors` wrote. KeyError or RuntimeError where the tensors are another network's."""
        averages = _with_prefix(tensors, "average.")
        state = cls.start(preset, seed=0, device=device, clusters=clusters_told(averages))
        state.network.load_state_dict(_with_prefix(tensors, "network."))
        state.average.load_state_dict(averages)
        state.step, state.images_seen = (int(count) for count in tensors["progress"])
        if state.step:
            for name, parameter in state.network.named_parameters():
                state.optimiser.state[parameter] = {
                    "step": torch.tensor(float(state.step), device=parameter.device),
                    "exp_avg": torch.empty_like(parameter).copy_(tensors[f"first_moment.{name}"]),
                    "exp_avg_sq": torch.empty_like(parameter).copy_(tensors[f"second_moment.{name}"]),
                }
        return state

    def to_tensors(self) -> dict[str, Tensor]:
        """A flat, contiguous copy on the CPU: network.*, average.*, first_moment.*, second_moment.*, progress."""
        tensors = {f"network.{name}": _copied(value) for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": _copied(value) for name, value in self.average.state_dict().items()}
        if self.step:
            for name, parameter in self.network.named_parameters():
                moments = self.optimiser.state[parameter]
                tensors[f"first_moment.{name}"] = _copied(moments["exp_avg"])
                tensors[f"second_moment.{name}"] = _copied(moments["exp_avg_sq"])
        return tensors | {"progress": torch.tensor([self.step, self.images_seen])}


def train(
    state: TrainingState,
    pairs: Tensor,
    preset: Preset,
    *,
    seed: int,
    until_images_seen: int,
    clusters: Sequence[int] | None = None,
    on_step: OnStep | None = None,
) -> TrainingState:
    """Train in place, whole batches at a time, until at least `until_images_seen`; returns the same state.

    `pairs` is uint8 (n, 4, H, W): red, green, blue, label 0 or 255. A batch larger than n goes round the pairs, and
    images are counted as often as they are seen. `clusters` is each pair's, for a network that is told them; one in
    `1 / cluster_dropout` images comes without, so that the network also learns "any". Raises `NonFiniteLoss`,
    `NoTrainingPairs`.
    """
    _check_pairs(pairs, preset)
    told = None if clusters is None else torch.tensor(clusters, dtype=torch.long)
    while state.images_seen < until_images_seen:
        report = _train_step(state, pairs, preset, seed, told)
        if on_step is not None and on_step(report):
            break
    return state


def learning_rate_at(spec: TrainingSpec, images_seen: int) -> float:
    """The learning rate, lowered for the last `late_share` of the training."""
    late = images_seen >= (1 - spec.late_share) * spec.images_total
    return spec.learning_rate * (spec.late_learning_rate_factor if late else 1)


def signed(pairs: Tensor) -> Tensor:
    """uint8 (…) 0..255 → float32 in −1..1."""
    return pairs.float() / 127.5 - 1


def _train_step(state: TrainingState, pairs: Tensor, preset: Preset, seed: int, clusters: Tensor | None) -> StepReport:
    spec = preset.training
    learning_rate = learning_rate_at(spec, state.images_seen)
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate
    state.optimiser.zero_grad(set_to_none=True)
    loss = 0.0
    device_type = next(state.network.parameters()).device.type
    for x0, region, positions in _micro_batches(pairs, spec, seed, state.images_seen):
        with autocast(device_type, spec):
            told = None if clusters is None else _told(clusters, state.network.clusters, spec, seed, positions)
            part = _losses(state.network, x0, region, told, preset, seed, positions).sum() / spec.batch
        part.backward()  # type: ignore[no-untyped-call]  # torch's own
        loss += part.item()
    limit = spec.gradient_clip if spec.gradient_clip is not None else float("inf")
    gradient_norm = torch.nn.utils.clip_grad_norm_(state.network.parameters(), limit).item()
    if not (np.isfinite(loss) and np.isfinite(gradient_norm)):
        raise _divergence(state, loss, gradient_norm, learning_rate)
    state.optimiser.step()
    update_average(state.average, state.network, decay_at(state.step, spec.ema_decay, warm_up=spec.ema_warm_up))
    state.step += 1
    state.images_seen += spec.batch
    return StepReport(state.step, state.images_seen, loss, gradient_norm, learning_rate)


def _micro_batches(
    pairs: Tensor, spec: TrainingSpec, seed: int, images_seen: int
) -> Iterator[tuple[Tensor, Tensor | None, range]]:
    """Parts of one batch: x0 (b, 4, H, W) in −1..1, region (b, 1, H, W) or None, and the positions in the run."""
    for start in range(0, spec.batch, spec.micro_batch):
        positions = range(images_seen + start, images_seen + min(start + spec.micro_batch, spec.batch))
        chosen = pairs[[_index_at(seed, at, len(pairs)) for at in positions]]
        chosen = torch.stack([_flipped(pair, spec, seed, at) for pair, at in zip(chosen, positions, strict=True)])
        region = None
        if spec.inpainting_aware:
            labels = chosen[:, 3].numpy() >= 128
            region = torch.from_numpy(training_regions(labels, spec, seed, positions))[:, None].float()
        yield signed(chosen), region, positions


def _told(clusters: Tensor, count: int, spec: TrainingSpec, seed: int, positions: range) -> Tensor:
    """The cluster of each image at these positions (b,), or `count`, "any", for those that come without."""
    dropped = [numpy_generator_for(seed, "cluster-dropout", at).random() < spec.cluster_dropout for at in positions]
    own = clusters[[_index_at(seed, at, len(clusters)) for at in positions]]
    return torch.where(torch.tensor(dropped), count, own)


def _losses(
    network: UNet,
    x0: Tensor,
    region: Tensor | None,
    told: Tensor | None,
    preset: Preset,
    seed: int,
    positions: range,
) -> Tensor:
    """The loss of each image (b,), at a time and noise drawn from (seed, its position)."""
    device = next(network.parameters()).device
    generators = [generator_for(seed, "train-noise", position) for position in positions]
    noise = torch.stack([torch.randn(x0.shape[1:], generator=g) for g in generators]).to(device)
    time = torch.cat([torch.rand(1, generator=g, dtype=torch.float64) for g in generators])
    x0 = x0.to(device)
    region = None if region is None else region.to(device)
    told = None if told is None else told.to(device)
    diffusion = preset.diffusion
    if diffusion.schedule == "cosine":
        alpha_bar = alpha_bar_from_log_snr(cosine_log_snr(time.clamp(1e-4, 1 - 1e-4), diffusion.log_snr_shift))
        x_t = q_sample(x0, noise, alpha_bar)
        output = network(network_input(x_t, x0, region), (time * 1000).to(device), told).float()
        return mean_inside((output - v_target(x0, noise, alpha_bar)) ** 2, region)
    schedule = linear_schedule(diffusion.timesteps)
    level = (time * diffusion.timesteps).long()
    x_t = q_sample(x0, noise, schedule.alphas_bar[level])
    output = network(network_input(x_t, x0, region), schedule.model_times[level].to(device), told).float()
    if not diffusion.learned_range:
        return mean_inside((output - noise) ** 2, region)
    return mean_inside(hybrid_loss(output, x0, x_t, noise, level, schedule), region)


def network_input(x_t: Tensor, known: Tensor, region: Tensor | None) -> Tensor:
    """What the network sees: x_t (B, 4, H, W); with a region (B, 1, H, W) the known pixels outside it, and it."""
    if region is None:
        return x_t
    return torch.cat([region * x_t + (1 - region) * known, region], dim=1)


def _index_at(seed: int, position: int, count: int) -> int:
    """Which pair is seen at this position: each once per round, every round in a new order."""
    lap, place = divmod(position, count)
    return int(numpy_generator_for(seed, "order", lap, count).permutation(count)[place])


def _flipped(pair: Tensor, spec: TrainingSpec, seed: int, position: int) -> Tensor:
    bits = seed_for(seed, "flip", position)
    axes = [axis for axis, wanted in ((-1, spec.flips != "none"), (-2, spec.flips == "both")) if wanted]
    return pair.flip([axis for bit, axis in enumerate(axes) if bits >> bit & 1])


def _check_pairs(pairs: Tensor, preset: Preset) -> None:
    side_px = preset.network.side_px
    if len(pairs) == 0:
        raise NoTrainingPairs("The training set holds no pair.", hint="Give it at least one pair of image and label.")
    if pairs.dtype != torch.uint8 or pairs.shape[1:] != (4, side_px, side_px):
        raise ValueError(f"pairs must be uint8 (n, 4, {side_px}, {side_px}), not {pairs.dtype} {tuple(pairs.shape)}")


def _divergence(state: TrainingState, loss: float, gradient_norm: float, learning_rate: float) -> NonFiniteLoss:
    return NonFiniteLoss(
        f"Step {state.step + 1}, after {state.images_seen} images: loss {loss}, gradient norm {gradient_norm}.",
        hint=f"Lower the learning rate ({learning_rate:g}) or set gradient_clip, and resume from the last checkpoint.",
    )


def _network_of(preset: Preset, seed: int, clusters: int) -> UNet:
    aware, learned = preset.training.inpainting_aware, preset.diffusion.learned_range
    return new_network(preset.network, region_channel=aware, learned_range=learned, seed=seed, clusters=clusters)


def _optimiser_of(network: UNet, spec: TrainingSpec) -> torch.optim.AdamW:
    return torch.optim.AdamW(network.parameters(), lr=spec.learning_rate, weight_decay=0.0, fused=True)


def _frozen_copy(network: UNet) -> UNet:
    return copy.deepcopy(network).requires_grad_(requires_grad=False).eval()


def _carry_over(network: UNet, weights: Mapping[str, Tensor]) -> None:
    """Load weights into a network that may have one more input channel, and clusters, that they do not know of."""
    entrance = "input_blocks.0.0.weight"
    widened = network.get_parameter(entrance).detach().clone()
    widened[:, : weights[entrance].shape[1]] = weights[entrance]
    own = {CLUSTER_TABLE: network.get_parameter(CLUSTER_TABLE).detach()} if network.clusters else {}
    network.load_state_dict({**own, **weights, entrance: widened})


def _copied(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True).contiguous()


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
