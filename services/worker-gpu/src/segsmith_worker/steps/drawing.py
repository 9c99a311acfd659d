"""What jobs that draw samples share: batches of one model, that model in memory, progress, a stop inside a batch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar
from uuid import UUID

from segsmith_shared.database.tables import Model
from segsmith_shared.jobs.context import StepContext
from segsmith_shared.plans.presets import Preset
from segsmith_shared.storage import checkpoints
from segsmith_worker.device import device_name
from segsmith_worker.diffusion.memory import in_memory
from segsmith_worker.diffusion.model import DiffusionModel


class Drawable(Protocol):
    """A sample to be."""

    @property
    def model(self) -> Model:
        """Who draws it."""
        ...


AnyDraw = TypeVar("AnyDraw", bound=Drawable)


class EvaluationsDone(Protocol):
    """What samplers report after each U-Net evaluation of a batch."""

    @property
    def evaluations_done(self) -> int: ...


def in_batches(draws: Sequence[AnyDraw], size: int) -> Iterator[Sequence[AnyDraw]]:
    """Runs of at most `size` draws of one model."""
    start = 0
    while start < len(draws):
        end = start
        while end < len(draws) and end - start < size and draws[end].model.id == draws[start].model.id:
            end += 1
        yield draws[start:end]
        start = end


class StopAskedFor(Exception):
    """Raised inside a batch: what it had drawn is given up, and drawn again bit-equal when the job goes on."""


@dataclass(frozen=True)
class Progress:
    """How far the job is, counted in U-Net evaluations of a batch."""

    context: StepContext
    evaluations: int
    batch_count: int

    def of_batch(self, number: int) -> Callable[[EvaluationsDone], None]:
        """The callback of one batch."""

        furthest = 0  # a batch that memory forces into parts counts its evaluations anew in each

        def on_evaluation(report: EvaluationsDone) -> None:
            nonlocal furthest
            furthest = max(furthest, report.evaluations_done)
            done = number * self.evaluations + furthest
            self.context.progress(done, self.batch_count * self.evaluations, "evaluations")
            if self.context.stop_requested():
                raise StopAskedFor

        return on_evaluation


class AtOnce:
    """How many sources are redrawn at once: the preset's batch, or fewer once memory did not suffice."""

    def __init__(self, context: StepContext, planned: int) -> None:
        self._context = context
        self.count = int((context.slice_state or {}).get("sources_at_once", planned))

    def shrink(self, count: int) -> None:
        """Go on with so many, and tell a person."""
        self._context.message(
            f"The device's memory does not hold {self.count} sources at once: {count} from now on.",
            sources_at_once=count,
        )
        self.count = count

    def as_state(self) -> dict[str, int]:
        return {"sources_at_once": self.count}


class Network:
    """The model in memory: one at a time, because batches of one model follow each other."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._loaded: tuple[UUID, DiffusionModel] | None = None

    def of(self, model: Model) -> DiffusionModel:
        """The averaged weights of a stored model, verified as they are read."""
        if self._loaded is None or self._loaded[0] != model.id:
            tensors, _ = checkpoints.load(self._context.objects, model.checkpoint_digest, groups=("average",))
            preset = Preset.model_validate(model.preset)
            with in_memory("The network"):
                self._loaded = (model.id, DiffusionModel.from_tensors(preset, tensors, device=device_name()))
        return self._loaded[1]
