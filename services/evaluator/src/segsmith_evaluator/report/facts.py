"""What a report says, as one typed value: the page shows it, and `report.json` is this and nothing else."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from scipy.stats import t as student

from segsmith_evaluator.metrics.evaluate_set import SetMetrics
from segsmith_shared.pairs.agreement import Judgement


class Fact(BaseModel):
    """A value that never changes; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(Fact):
    """A mean over `n` repetitions with its 95 % interval; `low` and `high` are absent where n = 1."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int

    @classmethod
    def of_mean(cls, values: Sequence[float]) -> Self:
        """Student's t interval of the mean of independent repetitions, e.g. seeds. Needs at least one value."""
        n = len(values)
        mean = sum(values) / n
        if n == 1:
            return cls(value=mean, n=1)
        deviation = (sum((value - mean) ** 2 for value in values) / (n - 1)) ** 0.5
        half = float(student.ppf(0.975, n - 1)) * deviation / n**0.5
        return cls(value=mean, low=mean - half, high=mean + half, n=n)

    @property
    def excludes_zero(self) -> bool:
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


class PipelineFacts(Fact):
    """The request, and when it was made and reported."""

    id: UUID
    name: str
    created_at: datetime
    reported_at: datetime
    seed: int
    preset: str
    spec: dict[str, Any]
    plan: dict[str, Any]


class PartFacts(Fact):
    """Real pairs the run used: to train on, to validate with, or one test set.

    No class names: labels are lesion or not. `negatives` counts pictures without a lesion.
    """

    name: str
    role: Literal["training", "validation", "test"]
    dataset: str
    version_id: UUID
    version_number: int
    version_label: str
    origin: str
    drawn: bool
    digest: str
    part: str | None
    n: int
    import_words: str
    class_names: tuple[str, ...] = ()
    negatives: int = 0


class ExtractorFacts(Fact):
    """What turned pictures into features."""

    name: str
    digest: str
    stand_in: bool


class MergeFacts(Fact):
    """A cluster too small to train on, and the one that took its pairs, by their numbers before any merge."""

    cluster: int
    into: int
    size: int


class ClusterFacts(Fact):
    """One cluster. `index` counts from 0 as in the database; the page shows it from 1, as job names do."""

    index: int
    size: int


class ClusteringFacts(Fact):
    """A division of the training pairs. `silhouettes` maps k to the mean silhouette, −1..1."""

    id: UUID
    method: str
    requested: int | None
    extractor: ExtractorFacts | None
    clusters: tuple[ClusterFacts, ...]
    merges: tuple[MergeFacts, ...]
    silhouettes: dict[int, float]
    libraries: dict[str, str]


class ModelFacts(Fact):
    """A trained diffusion model, here or elsewhere (`imported`); `curve` holds equally long lists."""

    id: UUID
    recipe: str
    cluster: int | None
    told_clusters: bool = False
    preset: dict[str, Any]
    images_seen: int
    training_images: int
    weights: str
    checkpoint_digest: str
    curve_images_seen: tuple[float, ...]
    curve_loss: tuple[float, ...]
    run_seconds: float
    peak_memory_bytes: int
    imported: bool = False

    @property
    def name(self) -> str:
        if self.imported:
            of_cluster = "" if self.cluster is None else f", cluster {self.cluster + 1}"
            return f"{self.recipe} {str(self.id)[:8]}{of_cluster}"
        if self.cluster is not None:
            return f"{self.recipe}, cluster {self.cluster + 1}"
        return f"{self.recipe}, all pairs" + (", told their clusters" if self.told_clusters else "")


class BudgetFacts(Fact):
    """What the trainings of one recipe saw: `networks` of them `images_seen` images altogether, of `images_planned`.

    A network that the others start from counts among the images, not among the networks.
    """

    recipe: str
    strategy: str
    networks: int
    images_seen: int
    images_planned: int


class LabelFacts(Fact):
    """How a set's labels relate to their sources', over `n` accepted samples.

    `fit` is the median Dice between a sample's label and the lesion recovered from its colour, for drawn pairs only.
    """

    n: int
    iou_with_source: float
    area_ratio: float
    area_ratio_deviation: float
    fit: float | None


class StylingFacts(Fact):
    """How a set was styled: the whole StylingSpec, by which networks, and the labels' drift over `n` samples.

    `label_drift` is the median Dice between the mask channel after styling and the inpainted label; 1 is no drift.
    """

    spec: dict[str, Any]
    networks: tuple[str, ...]
    stand_in: bool
    n: int
    label_drift: float


class SetFacts(Fact):
    """One synthetic set, e.g. Diff-1, and what it took. `attempted` counts samples drawn, kept or not."""

    label: str
    recipe: str
    sample_index: int
    generation_id: UUID
    version_id: UUID | None
    requested: int
    attempted: int
    accepted: int
    rejected: dict[str, int]
    evaluations: int
    sampling: dict[str, Any]
    labels: LabelFacts | None
    styling: StylingFacts | None = None
    code_versions: tuple[str, ...]

    @property
    def accepted_share(self) -> float:
        return self.accepted / self.attempted if self.attempted else 0.0


class EvaluationFacts(Fact):
    """The intrinsic metrics of one set."""

    label: str
    metrics: SetMetrics


class JudgementFacts(Fact):
    """What the quality gate found of one set."""

    label: str
    judgement: Judgement


class ScoreFacts(Fact):
    """One metric of one arm on one test set: the seeds' values and their mean."""

    arm: str
    test: str
    metric: str
    seeds: dict[int, float]
    estimate: Estimate


class DifferenceFacts(Fact):
    """An arm's metric less that of the reference, the arm of as many real pairs alone, paired by seed."""

    arm: str
    reference: str
    test: str
    metric: str
    estimate: Estimate


class ArmFacts(Fact):
    """What an arm trained on, its optimiser steps, and the seeds that finished of those asked for.

    `real_pairs` is n: the real pairs that it trained on, or whose samples it trained on.
    """

    name: str
    real: bool
    real_pairs: int
    sets: tuple[str, ...]
    reference: str | None
    training_pairs: int | None
    steps: int | None
    seeds: tuple[int, ...]
    requested_seeds: int

    @property
    def trained_on(self) -> str:
        """In words: `16 real pairs + Diff-3`."""
        return " + ".join([*([f"{self.real_pairs} real pairs"] if self.real else []), *self.sets])


class SegmentationFacts(Fact):
    """The segmentation study so far.

    `metrics` are those over all classes; `scores` also hold `dice[NAME]` and `iou[NAME]` of each of `class_names`.
    """

    arms: tuple[ArmFacts, ...]
    tests: tuple[str, ...]
    metrics: tuple[str, ...]
    scores: tuple[ScoreFacts, ...]
    differences: tuple[DifferenceFacts, ...]
    parameters: dict[str, Any]
    class_names: tuple[str, ...] = ()
    policy: str = "pool"

    @property
    def without_reference(self) -> tuple[str, ...]:
        """Arms with synthetic pairs that no arm of as many real pairs alone stands beside."""
        return tuple(arm.name for arm in self.arms if arm.sets and arm.reference is None)

    def count(self, test: str, metric: str) -> int:
        """A count that every run made of a test set, e.g. `negatives`; 0 where none did."""
        found = next((s for s in self.scores if (s.test, s.metric) == (test, metric)), None)
        return round(found.estimate.value) if found else 0

    def score(self, arm: str, test: str, metric: str) -> ScoreFacts | None:
        return next((s for s in self.scores if (s.arm, s.test, s.metric) == (arm, test, metric)), None)

    def difference(self, arm: str, test: str, metric: str) -> DifferenceFacts | None:
        return next((d for d in self.differences if (d.arm, d.test, d.metric) == (arm, test, metric)), None)


class JobFacts(Fact):
    """One job and what it cost. `problem` is absent unless it failed or was cancelled with a reason."""

    id: UUID
    kind: str
    name: str
    status: str
    run_seconds: float
    peak_memory_bytes: int
    progress_done: int
    progress_total: int
    progress_unit: str
    spec: dict[str, Any]
    problem: dict[str, Any] | None


class Facts(Fact):
    """Everything a report says, in the order it says it."""

    pipeline: PipelineFacts
    parts: tuple[PartFacts, ...]
    sets: tuple[SetFacts, ...]
    clusterings: tuple[ClusteringFacts, ...]
    models: tuple[ModelFacts, ...]
    budgets: tuple[BudgetFacts, ...] = ()
    evaluations: tuple[EvaluationFacts, ...]
    judgements: tuple[JudgementFacts, ...] = ()
    segmentation: SegmentationFacts | None
    jobs: tuple[JobFacts, ...]
    code_version: str
    libraries: dict[str, str]

    @property
    def training(self) -> PartFacts:
        return next(part for part in self.parts if part.role == "training")

    @property
    def validation(self) -> PartFacts | None:
        return next((part for part in self.parts if part.role == "validation"), None)

    @property
    def tests(self) -> tuple[PartFacts, ...]:
        return tuple(part for part in self.parts if part.role == "test")

    @property
    def unfinished(self) -> tuple[JobFacts, ...]:
        return tuple(job for job in self.jobs if job.status != "succeeded")
