"""Training of one segmentation model for a fixed number of optimiser steps, cut and resumed without a trace."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segsmith_shared.plans.segmentation import SegmentationSpec
from segsmith_shared.problems import Problem
from segsmith_shared.randomness import numpy_generator_for
from segsmith_shared.vision.features import Interrupted
from segsmith_worker.segmentation import models, scores
from segsmith_worker.segmentation.arms import SegmentationData
from segsmith_worker.segmentation.augment import Augmentation

Images = NDArray[np.uint8]
Labels = NDArray[np.uint8]
Probabilities = NDArray[np.float32]

_ADAM_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class NonFiniteSegmentationLoss(Problem):
    """The loss stopped being a number."""

    status = 422
    title = "The segmentation training diverged"


@dataclass(frozen=True)
class StepReport:
    """One step done: its loss, and the validation IoU where this step was followed by a validation."""

    step: int
    steps: int
    loss: float
    validation_iou: float | None


OnTrainingStep = Callable[[StepReport], bool | None]


@dataclass
class SegmentationState:
    """Everything a training needs to go on: the network, Adam's moments, the best weights so far and the curve."""

    network: torch.nn.Module
    optimiser: torch.optim.Adam
    seed: int
    classes: int = 1
    step: int = 0
    best: dict[str, Tensor] | None = None
    best_step: int = 0
    best_iou: float = -1.0
    losses: list[float] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)

    @classmethod
    def new(
        cls,
        spec: SegmentationSpec,
        seed: int,
        encoder_weights: Mapping[str, Tensor] | None = None,
        classes: int = 1,
    ) -> "SegmentationState":
        """A state at step 0, a function of spec, seed and encoder weights. Raises what `models.build` raises."""
        network = models.build(spec, seed, encoder_weights, classes)
        network.to("cuda" if torch.cuda.is_available() else "cpu")
        return cls(network, torch.optim.Adam(network.parameters(), lr=spec.lr), seed, classes)

    @property
    def curve(self) -> dict[str, list[float]]:
        """Loss of every step, and the steps and values of validation IoU."""
        return {
            "loss": list(self.losses),
            "validation_step": [float(step) for step, _ in self.validations],
            "validation_iou": [value for _, value in self.validations],
        }

    def to_tensors(self) -> dict[str, Tensor]:
        """The state as named tensors on the CPU; `from_tensors` gives it back bit for bit."""
        tensors = {f"network/{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in (self.best or {}).items()}
        for name, parameter in self.network.named_parameters():
            for moment in _ADAM_MOMENTS if parameter in self.optimiser.state else ():
                tensors[f"adam/{moment}/{name}"] = self.optimiser.state[parameter][moment]
        tensors["counts"] = torch.tensor([self.step, self.best_step, self.seed], dtype=torch.int64)
        tensors["best_iou"] = torch.tensor(self.best_iou, dtype=torch.float64)
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        tensors["validations"] = torch.tensor(self.validations, dtype=torch.float64).reshape(-1, 2)
        return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], spec: SegmentationSpec) -> "SegmentationState":
        """The state that `to_tensors` wrote. Raises KeyError or RuntimeError for tensors of another network."""
        step, best_step, seed = (int(count) for count in tensors["counts"])
        state = cls.new(spec, seed, classes=models.classes_drawn(tensors, "network/"))
        state.network.load_state_dict(_under(tensors, "network/"))
        for name, parameter in state.network.named_parameters():
            if f"adam/step/{name}" in tensors:
                state.optimiser.state[parameter] = {
                    moment: tensors[f"adam/{moment}/{name}"].to(parameter.device if moment != "step" else "cpu").clone()
                    for moment in _ADAM_MOMENTS
                }
        state.step, state.best_step = step, best_step
        state.best_iou = float(tensors["best_iou"])
        state.best = _under(tensors, "best/") or None
        state.losses = tensors["losses"].tolist()
        state.validations = [(int(when), value) for when, value in tensors["validations"].tolist()]
        return state


def train(
    state: SegmentationState,
    data: SegmentationData,
    spec: SegmentationSpec,
    until_step: int | None = None,
    on_step: OnTrainingStep | None = None,
) -> SegmentationState:
    """Train on to `until_step` (the spec's steps unless given), or until `on_step` returns True after a step.

    The best weights by validation IoU are kept, the last step always being validated. `state` is changed in place and
    returned. Raises NonFiniteSegmentationLoss.
    """
    last_step = min(spec.steps, until_step or spec.steps)
    augmentation = Augmentation() if spec.augment else None
    while state.step < last_step:
        loss = _take_step(state, data, spec, augmentation)
        validation_iou = _validate(state, data, spec) if _is_validated(state.step, spec) else None
        if on_step is not None and on_step(StepReport(state.step, spec.steps, loss, validation_iou)):
            break
    return state


@torch.inference_mode()
def predict(
    network: torch.nn.Module,
    images: Images,
    spec: SegmentationSpec,
    on_step: Callable[[int, int], bool | None] | None = None,
) -> Probabilities:
    """Probability of each class, float32 (n, F, H, W), for uint8 (n, H, W, 3); sides as the spec demands.

    Background has the rest.

    `on_step(done, total)` counts images; returning True raises Interrupted.
    """
    network.eval()
    device = next(network.parameters()).device
    classes = models.classes_drawn(network.state_dict())
    probabilities = np.empty((len(images), classes, *images.shape[1:3]), dtype=np.float32)
    for start in range(0, len(images), spec.batch):
        batch = torch.from_numpy(images[start : start + spec.batch]).to(device)
        of_classes = network(models.normalise(batch, spec))[:, 1:]
        probabilities[start : start + len(batch)] = of_classes.float().cpu().numpy()
        if on_step is not None and on_step(start + len(batch), len(images)):
            raise Interrupted
    return probabilities


def best_network(state: SegmentationState, spec: SegmentationSpec) -> torch.nn.Module:
    """The network with the best validation IoU so far. Raises ValueError before the first validation."""
    if state.best is None:
        raise ValueError("no validation has been made yet")
    network = models.build(spec, state.seed, classes=state.classes)
    network.load_state_dict(state.best)
    return network.to(next(state.network.parameters()).device).eval()


def network_of(tensors: Mapping[str, Tensor], spec: SegmentationSpec) -> torch.nn.Module:
    """The network of the best weights among a state's tensors. Raises RuntimeError for those of another network."""
    classes = models.classes_drawn(tensors, "best/")
    network = models.build(spec, seed=0, classes=classes)  # every weight is replaced
    network.load_state_dict(_under(tensors, "best/"))
    return network.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def learning_rate(step: int, spec: SegmentationSpec) -> float:
    """Of the step with this number, counted from 0."""
    return spec.lr if step < spec.lr_drop_step else spec.lr_after_drop


def row_at(position: int, data: SegmentationData, seed: int) -> int:
    """Which pair is shown at this position of the training: epochs are seeded shuffles of the draws, end to end.

    A draw's turn in an epoch is decided by its slot, so that a missing one leaves the others in their order.
    """
    epoch, place = divmod(position, len(data.draws))
    draw = data.draws[int(data.order(seed, epoch)[place])]
    if len(draw.rows) == 1:
        return int(draw.rows[0])
    return int(numpy_generator_for(seed, "segmentation-draw", position).choice(draw.rows, p=draw.weights))


def _take_step(
    state: SegmentationState, data: SegmentationData, spec: SegmentationSpec, augmentation: Augmentation | None
) -> float:
    images, labels = _batch(state, data, spec, augmentation)
    device = next(state.network.parameters()).device
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(state.step, spec)
    state.network.train()
    probabilities = state.network(models.normalise(torch.from_numpy(images).to(device), spec))
    loss = models.soft_dice_loss(probabilities, torch.from_numpy(labels).to(device))
    value = loss.item()
    if not np.isfinite(value):
        raise NonFiniteSegmentationLoss(
            f"The loss was {value} at step {state.step + 1}.", hint="Lower `lr`, or look for broken images."
        )
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    state.optimiser.step()
    state.step += 1
    state.losses.append(value)
    return value


def _batch(
    state: SegmentationState, data: SegmentationData, spec: SegmentationSpec, augmentation: Augmentation | None
) -> tuple[Images, Labels]:
    positions = range(state.step * spec.batch, (state.step + 1) * spec.batch)
    rows = [row_at(position, data, state.seed) for position in positions]
    if augmentation is None:
        return data.images[rows], data.labels[rows]
    pairs = [
        augmentation(data.images[row], data.labels[row], state.seed, position)
        for row, position in zip(rows, positions, strict=True)
    ]
    return np.stack([image for image, _ in pairs]), np.stack([label for _, label in pairs])


def _is_validated(step: int, spec: SegmentationSpec) -> bool:
    return step % spec.validate_every_steps == 0 or step == spec.steps


def _validate(state: SegmentationState, data: SegmentationData, spec: SegmentationSpec) -> float:
    drawn = scores.class_maps(predict(state.network, data.validation_images, spec))
    predictions = scores.where_known(drawn, data.validation_labels)
    value = scores.mean_iou(predictions, data.validation_labels, state.classes)
    state.validations.append((state.step, value))
    if value > state.best_iou:
        state.best_iou, state.best_step = value, state.step
        state.best = {name: tensor.detach().clone() for name, tensor in state.network.state_dict().items()}
    return value


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
