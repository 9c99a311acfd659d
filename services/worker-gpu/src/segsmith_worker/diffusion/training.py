"""Training, one step after another: a function of (seed, images seen), so that a cut and resumed run is bit-equal."""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from segsmith_shared.plans.presets import PICTURE_CHANNELS, Preset, TrainingSpec
from segsmith_shared.problems import Problem
from segsmith_worker.diffusion.batches import DrawnBatch, Feed, TrainingPairs
from segsmith_worker.diffusion.ema import decay_at, update_average
from segsmith_worker.diffusion.execution import Execution, Gradients
from segsmith_worker.diffusion.labels import lesions_of
from segsmith_worker.diffusion.loss import balanced, hybrid_loss, mean_inside, root_snr_weight
from segsmith_worker.diffusion.model import CLUSTER_TABLE, clusters_told
from segsmith_worker.diffusion.schedule import (
    LinearSchedule,
    alpha_bar_from_log_snr,
    cosine_log_snr,
    q_sample,
    v_target,
)
from segsmith_worker.diffusion.unet import UNet, new_network


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
    """Everything a training carries from step to step: raw weights, their moving average, the optimiser, the counts.

    `micro_batch` is how many images pass the network at once: the preset's, or fewer once memory did not suffice.
    """

    network: UNet
    average: UNet
    optimiser: torch.optim.AdamW
    step: int
    images_seen: int
    micro_batch: int

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

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

        `warm_start` holds the weights of another network of the same shape, with a region's input or without.
        """
        network = _network_of(preset, seed, clusters)
        if warm_start is not None:
            _carry_over(network, warm_start)
        network.to(device)
        optimiser = _optimiser_of(network, preset.training)
        return cls(network, _frozen_copy(network), optimiser, 0, 0, preset.training.micro_batch)

    @classmethod
    def from_tensors(cls, preset: Preset, tensors: Mapping[str, Tensor], device: str = "cpu") -> Self:
        """The state that `to_tensors` wrote. KeyError or RuntimeError where the tensors are another network's."""
        averages = _with_prefix(tensors, "average.")
        state = cls.start(preset, seed=0, device=device, clusters=clusters_told(averages))
        state.network.load_state_dict(_with_prefix(tensors, "network."))
        state.average.load_state_dict(averages)
        state.step, state.images_seen, *at_once = (int(count) for count in tensors["progress"])
        state.micro_batch = at_once[0] if at_once else state.micro_batch  # states of 0.1 did not say
        if state.step:
            for name, parameter in state.network.named_parameters():
                moments = state.optimiser.state[parameter]
                moments["step"].fill_(state.step)
                moments["exp_avg"].copy_(tensors[f"first_moment.{name}"])
                moments["exp_avg_sq"].copy_(tensors[f"second_moment.{name}"])
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
        return tensors | {"progress": torch.tensor([self.step, self.images_seen, self.micro_batch])}


def train(
    state: TrainingState,
    pairs: Tensor,
    preset: Preset,
    *,
    seed: int,
    until_images_seen: int,
    clusters: Sequence[int] | None = None,
    on_step: OnStep | None = None,
    execution: Execution | None = None,
) -> TrainingState:
    """Train in place, whole batches at a time, until at least `until_images_seen`; returns the same state.

    `pairs` is uint8 (n, 3 + F, H, W): red, green, blue, and each class 0 or 255. A batch larger than n goes round the
    pairs, and images are counted as often as they are seen. `clusters` is each pair's, for a network that is told them;
    one in `1 / cluster_dropout` images comes without, so that the network also learns "any". `execution` says by which
    means; of a team every process calls this, and the first one's `on_step` counts. Raises `NonFiniteLoss`,
    `NoTrainingPairs`, `OutOfDeviceMemory`.
    """
    _check_pairs(pairs, preset)
    execution = execution or Execution()
    told = None if clusters is None else torch.tensor(clusters, dtype=torch.long)
    source = TrainingPairs(pairs, preset.training, seed, told, state.network.clusters)
    with closing(Feed(source, state.device, ahead=execution.draws_ahead(state.device.type))) as feed:
        gradients = Gradients(state, feed, preset, execution, batch_losses)
        stopped = False
        while execution.team.first_says(state.images_seen < until_images_seen and not stopped):
            report = _train_step(state, gradients, preset.training)
            stopped = on_step is not None and bool(on_step(report))
    return state


def learning_rate_at(spec: TrainingSpec, images_seen: int) -> float:
    """The learning rate, lowered for the last `late_share` of the training."""
    late = images_seen >= (1 - spec.late_share) * spec.images_total
    return spec.learning_rate * (spec.late_learning_rate_factor if late else 1)


def signed(pairs: Tensor) -> Tensor:
    """uint8 (…) 0..255 → float32 in −1..1."""
    return pairs.float() / 127.5 - 1


def _train_step(state: TrainingState, gradients: Gradients, spec: TrainingSpec) -> StepReport:
    learning_rate = learning_rate_at(spec, state.images_seen)
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate
    share_of_loss = gradients.of_step()
    limit = spec.gradient_clip if spec.gradient_clip is not None else float("inf")
    norm = torch.nn.utils.clip_grad_norm_(state.network.parameters(), limit)
    loss, gradient_norm = torch.stack([share_of_loss, norm.double()]).tolist()  # the step's one wait for the device
    loss = gradients.of_team(loss)
    if not (np.isfinite(loss) and np.isfinite(gradient_norm)):
        raise _divergence(state, loss, gradient_norm, learning_rate)
    state.optimiser.step()
    update_average(state.average, state.network, decay_at(state.step, spec.ema_decay, warm_up=spec.ema_warm_up))
    state.step += 1
    state.images_seen += spec.batch
    return StepReport(state.step, state.images_seen, loss, gradient_norm, learning_rate)


def batch_losses(
    network: Callable[..., Tensor], batch: DrawnBatch, preset: Preset, schedule: LinearSchedule | None
) -> Tensor:
    """The loss of each image (b,), everything being on one device; `schedule` where the preset's is linear."""
    x0, noise, time = signed(batch.pairs), batch.noise, batch.time
    region = None if batch.region is None else batch.region.float()
    if region is not None and batch.label_given is not None:
        region = drawn_channels(region, batch.label_given, preset.network.classes)
    counted = region
    if preset.training.lesion_balance:
        everywhere = torch.ones_like(x0[:, :1]) if region is None else region
        lesions = lesions_of(batch.pairs)[:, None]
        counted = balanced(lesions, everywhere, preset.training.lesion_balance)
    if batch.unknown is not None:
        counted = without_unknown(counted, batch.unknown, preset.network.classes)
    if schedule is None:
        alpha_bar = alpha_bar_from_log_snr(cosine_log_snr(time.clamp(1e-4, 1 - 1e-4), preset.diffusion.log_snr_shift))
        x_t = q_sample(x0, noise, alpha_bar)
        output = network(network_input(x_t, x0, region), time * 1000, batch.told).float()
        errors = (output - v_target(x0, noise, alpha_bar)) ** 2
        if preset.training.loss_weight == "root_snr":
            errors = errors * root_snr_weight(alpha_bar).to(errors)
    else:
        level = (time * schedule.steps).long()
        x_t = q_sample(x0, noise, schedule.alphas_bar[level])
        output = network(network_input(x_t, x0, region), schedule.model_times[level], batch.told).float()
        learned = preset.diffusion.learned_range
        errors = hybrid_loss(output, x0, x_t, noise, level, schedule) if learned else (output - noise) ** 2
    if counted is None or preset.training.loss_over == "region":
        return mean_inside(errors, counted)
    return (errors * counted).mean(dim=(1, 2, 3))


def network_input(x_t: Tensor, known: Tensor, region: Tensor | None) -> Tensor:
    """What the network sees: x_t (B, C, H, W); with a region (B, 1, H, W) the known pixels outside it, and it.

    A region of as many channels as pairs have (`drawn_channels`) also leaves labels known inside it.
    """
    if region is None:
        return x_t
    return torch.cat([region * x_t + (1 - region) * known, region[:, :1]], dim=1)


def drawn_channels(region: Tensor, label_given: Tensor, classes: int) -> Tensor:
    """What is drawn (B, 3 + F, H, W): the region (B, 1, H, W) in all channels, less the classes' where given (B,)."""
    of_label = region * ~label_given[:, None, None, None]
    return torch.cat([region.expand(-1, PICTURE_CHANNELS, -1, -1), of_label.expand(-1, classes, -1, -1)], dim=1)


def without_unknown(counted: Tensor | None, unknown: Tensor, classes: int) -> Tensor:
    """What counts (B, 3 + F, H, W), less the classes' channels where labels are unknown, bool (B, 1, H, W)."""
    everywhere = torch.ones_like(unknown, dtype=torch.float32) if counted is None else counted
    of_label = everywhere[:, -1:] * ~unknown
    colours = everywhere[:, :1].expand(-1, PICTURE_CHANNELS, -1, -1)
    return torch.cat([colours, of_label.expand(-1, classes, -1, -1)], dim=1)


def _check_pairs(pairs: Tensor, preset: Preset) -> None:
    channels, side_px = preset.network.pair_channels, preset.network.side_px
    if len(pairs) == 0:
        raise NoTrainingPairs("The training set holds no pair.", hint="Give it at least one pair of image and label.")
    if pairs.dtype != torch.uint8 or pairs.shape[1:] != (channels, side_px, side_px):
        wanted = f"uint8 (n, {channels}, {side_px}, {side_px})"
        raise ValueError(f"pairs must be {wanted}, not {pairs.dtype} {tuple(pairs.shape)}")


def _divergence(state: TrainingState, loss: float, gradient_norm: float, learning_rate: float) -> NonFiniteLoss:
    return NonFiniteLoss(
        f"Step {state.step + 1}, after {state.images_seen} images: loss {loss}, gradient norm {gradient_norm}.",
        hint=f"Lower the learning rate ({learning_rate:g}) or set gradient_clip, and resume from the last checkpoint.",
    )


def _network_of(preset: Preset, seed: int, clusters: int) -> UNet:
    aware, learned = preset.training.inpainting_aware, preset.diffusion.learned_range
    return new_network(preset.network, region_channel=aware, learned_range=learned, seed=seed, clusters=clusters)


def _optimiser_of(network: UNet, spec: TrainingSpec) -> torch.optim.AdamW:
    """AdamW with its moments already there: what does not fit into memory then shows in the first step."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=spec.learning_rate, weight_decay=0.0, fused=True)
    for parameter in network.parameters():
        zero = torch.zeros((), device=parameter.device)
        moments = (torch.zeros_like(parameter, requires_grad=False) for _ in range(2))
        optimiser.state[parameter] = dict(zip(("step", "exp_avg", "exp_avg_sq"), (zero, *moments), strict=True))
    return optimiser


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
