"""By which means a training computes: how many images at once, by whom, compiled or not; never what it computes."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from segsmith_shared.plans.presets import Preset
from segsmith_worker.diffusion import compiling
from segsmith_worker.diffusion.batches import DrawnBatch, Feed
from segsmith_worker.diffusion.memory import halved
from segsmith_worker.diffusion.parallel import ALONE, Team
from segsmith_worker.diffusion.schedule import LinearSchedule, linear_schedule
from segsmith_worker.precision import autocast

if TYPE_CHECKING:
    from segsmith_worker.diffusion.training import TrainingState

Losses = Callable[[Callable[..., Tensor], DrawnBatch, Preset, LinearSchedule | None], Tensor]


class Say(Protocol):
    """Told in a sentence which means were changed, and by name to what: `compiled` or `images_at_once`."""

    def __call__(self, text: str, **means: bool | int) -> None: ...


def say_nothing(text: str, **means: bool | int) -> None:
    """For those who do not want to know."""


@dataclass(frozen=True)
class Execution:
    """The means of one training. `say` is told, in a sentence, when it has to be changed on the way.

    `prefetch` draws the next images in a thread: None where it pays, which is on CUDA. On a CPU the thread would take
    its time from the network.
    """

    team: Team = ALONE
    compiled: bool = False
    prefetch: bool | None = None
    say: Say = say_nothing

    def draws_ahead(self, device_type: str) -> bool:
        return device_type == "cuda" if self.prefetch is None else self.prefetch


class Grade(IntEnum):
    """How the passes of a step went; of a team's processes the highest counts."""

    DONE = 0
    NOT_COMPILED = 1
    OUT_OF_MEMORY = 2


class Gradients:
    """The gradients of step after step, in passes of at most `state.micro_batch` images.

    Where memory does not suffice, that number halves and the step is done anew: same images, same noise, and, up to
    the order in which floats are added, the same gradients. Where the network cannot be compiled it is run as it is.
    A team first does its first step without exchanging gradients, so that whoever has too little memory can say so
    before the others wait for what it will never send.
    """

    def __init__(
        self, state: "TrainingState", feed: Feed, preset: Preset, execution: Execution, losses: Losses
    ) -> None:
        self._state = state
        self._feed = feed
        self._preset = preset
        self._team = execution.team
        self._say = execution.say
        self._losses = losses
        self._compiled = execution.compiled
        self._rehearsed = self._team.size == 1
        linear = preset.diffusion.schedule == "linear"
        self._schedule = linear_schedule(preset.diffusion.timesteps).to(state.device) if linear else None
        self._module = self._called()
        self._loss = torch.zeros(())

    def of_step(self) -> Tensor:
        """Fill `grad` of every parameter. Returns this process's part of the loss, for `of_team`, still on the device.

        Raises OutOfDeviceMemory where not even one image at a time fits.
        """
        while not self._rehearsed:
            self._rehearsed = self._settled(Grade(self._team.worst(self._attempt(exchanging=False))))
        while not self._settled(self._attempt(exchanging=True)):
            pass
        return self._loss

    def of_team(self, part_of_loss: float) -> float:
        """The loss of the whole batch from every process's part."""
        return self._team.total(part_of_loss) / self._team.size

    def _attempt(self, *, exchanging: bool) -> Grade:
        try:
            self._loss = self._accumulated(exchanging=exchanging)
        except torch.OutOfMemoryError:
            if exchanging and self._team.size > 1:
                raise  # the others are in the exchange already: this attempt of the job is lost, its checkpoint is not
            return Grade.OUT_OF_MEMORY
        except compiling.CompilationFailed as error:
            if exchanging and self._team.size > 1:
                raise
            self._say(f"torch.compile failed, the network runs uncompiled: {_first_line(error)}", compiled=False)
            return Grade.NOT_COMPILED
        return Grade.DONE

    def _accumulated(self, *, exchanging: bool) -> Tensor:
        spec, state = self._preset.training, self._state
        state.optimiser.zero_grad(set_to_none=True)
        positions = self._team.share_of(range(state.images_seen, state.images_seen + spec.batch))
        passes = -(-len(positions) // state.micro_batch)
        loss = torch.zeros((), dtype=torch.float64, device=state.device)
        for number, batch in enumerate(self._feed.of_step(positions, state.micro_batch), start=1):
            kept = number < passes or not exchanging
            with self._team.keeping_gradients(self._module) if kept else nullcontext():
                with autocast(state.device.type, spec):
                    # of gradients DDP takes the mean over its processes
                    part = self._losses(self._module, batch, self._preset, self._schedule).sum()
                    part = part / (spec.batch / self._team.size)
                part.backward()  # type: ignore[no-untyped-call]  # torch's own
            loss += part.detach()
        return loss

    def _settled(self, grade: Grade) -> bool:
        """Whether the step is done; else change the means, as every process of the team does."""
        if grade is Grade.NOT_COMPILED:
            self._compiled = False
            self._module = self._called()
        elif grade is Grade.OUT_OF_MEMORY:
            self._halve()
        return grade is Grade.DONE

    def _halve(self) -> None:
        self._state.optimiser.zero_grad(set_to_none=True)
        if self._compiled:
            compiling.forget()
        most = -(-self._preset.training.batch // self._team.size)
        at_once = min(self._state.micro_batch, most)
        self._state.micro_batch = halved(at_once, "training")
        if self._compiled:
            self._module = self._called()
        self._say(
            f"The device's memory does not hold {at_once} images at once: {self._state.micro_batch} from now on, "
            f"with more passes to a step. The result stays the same up to rounding.",
            images_at_once=self._state.micro_batch,
        )

    def _called(self) -> nn.Module:
        """The network as it is called in training."""
        network: nn.Module = self._state.network
        if self._compiled:
            one_pass = self._team.size == 1 and self._state.micro_batch >= self._preset.training.batch
            network = compiling.compiled(network, one_pass_per_step=one_pass)
        return self._team.joined(network)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
