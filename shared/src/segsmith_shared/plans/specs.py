"""What may be asked for: the typed values of a pipeline request and of every job it becomes.

A request is parsed once, at the API; a job's `spec` column holds the same value as JSON, whole, so that what ran can be
read back later. Limits live here and nowhere else.
"""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Name = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.+-]*$")]
SliceSeconds = Annotated[float | None, Field(gt=0, description="the installation's unless given")]
Policy = Literal["pool", "append_bernoulli", "append_each_bernoulli", "replace_on_access", "uniform_ij"]
Geometry = Literal["letterbox", "squash", "crop"]
Strategy = Literal["per_cluster", "full", "conditioned", "imported"]
"""One network per cluster (the paper), one that knows no clusters (its ablation), or one that is told the cluster.

`imported`: models that are there already draw, and nothing is trained.
"""


class Frozen(BaseModel):
    """A value that is checked once and never changes; unknown fields are refused, so that a typo is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PartRef(Frozen):
    """The pairs of a version, or of one part of one of its splits."""

    version_id: UUID
    split_id: UUID | None = None
    part: str | None = Field(None, max_length=80)

    @model_validator(mode="after")
    def _split_and_part_go_together(self) -> Self:
        if (self.split_id is None) != (self.part is None):
            raise ValueError("split_id and part are given together or not at all")
        return self


class NamedPart(Frozen):
    """Pairs under the name they have in tables and plots, e.g. a test set."""

    name: Name
    pairs: PartRef


class ClusteringSpec(Frozen):
    """How the pairs are divided (science §2)."""

    method: Literal["k-means", "imported"] = "k-means"
    k: int = Field(20, ge=1, le=1000)
    minimum_cluster_size: int = Field(4, ge=1, description="smaller clusters merge into the nearest centroid")
    silhouette_ks: tuple[int, ...] = Field((), max_length=20, description="further k to report the silhouette of")
    imported: dict[str, list[str]] | None = Field(None, description="cluster -> pair names, for method `imported`")

    @model_validator(mode="after")
    def _imported_needs_assignments(self) -> Self:
        if (self.method == "imported") != (self.imported is not None):
            raise ValueError("method `imported` needs `imported`, and k-means takes none")
        return self


class Recipe(Frozen):
    """One way of training and drawing; several may run side by side. Its sets are named after it: Diff-1, Diff-2 …

    Strategy `imported` trains nothing: `model_ids` draw, with their own preset, of which `overrides` may change the
    sampling. `warm_start_model_id` is a model of the same network that the first training starts from.
    """

    name: Name = "Diff"
    preset: str | None = Field(None, max_length=80, description="the pipeline's unless given")
    overrides: dict[str, Any] = Field(
        default_factory=dict, description="fields of the preset, nested or dotted: sampling.samples_per_source, …"
    )
    strategy: Strategy = "per_cluster"
    model_ids: tuple[UUID, ...] = Field((), max_length=1000, description="for strategy `imported`: whose models draw")
    warm_start_model_id: UUID | None = None
    source_limit: int | None = Field(None, ge=1, description="redraw only so many sources, chosen by the seed")
    labels_from: PartRef | None = Field(
        None, description="pairs whose labels are exchanged for the sources' own, e.g. drawn by hand; else the sources'"
    )
    styling: dict[str, Any] | None = Field(
        None, description="also style the sets after their sources: fields of StylingSpec that differ, or {}"
    )
    generate_jobs: int = Field(1, ge=1, le=1000, description="jobs that share the sources, so that workers can")

    @model_validator(mode="after")
    def _models_are_imported_or_trained(self) -> Self:
        if (self.strategy == "imported") != bool(self.model_ids):
            raise ValueError("strategy `imported` needs `model_ids`, and the others take none")
        if self.strategy == "imported" and (self.preset or self.warm_start_model_id):
            raise ValueError("imported models bring their preset and are not trained")
        return self


class EvaluationSpec(Frozen):
    """Which intrinsic metrics, and how exactly (science §6)."""

    bootstrap_samples: int = Field(200, ge=0, le=10_000)
    ms_ssim_pairs: int = Field(2000, ge=10, le=1_000_000)
    largest_whole_set: int = Field(
        2500,
        ge=4,
        le=50_000,
        description="of larger sets FID takes all, shard by shard, all else as many drawn pictures",
    )


class ArmSpec(Frozen):
    """What one arm of the segmentation study trains on: real pairs, synthetic sets, or both."""

    name: Name
    real: bool = True
    real_limit: int | None = Field(
        None, ge=1, description="n: train on exactly so many real pairs, and on the samples of these alone"
    )
    sets: tuple[str, ...] = Field(
        (),
        max_length=20,
        description="synthetic sets: Diff-3 is the first three samples of every source, Diff-sample-3 the third alone",
    )

    @model_validator(mode="after")
    def _an_arm_trains_on_something(self) -> Self:
        if not self.real and not self.sets:
            raise ValueError(f"arm {self.name!r} trains on nothing: give real, sets, or both")
        return self


class SegmentationStudySpec(Frozen):
    """Segmentation models trained with and without synthetic pairs (science §7)."""

    preset: str = Field("tiny-cpu", max_length=80)
    overrides: dict[str, Any] = Field(default_factory=dict)
    arms: tuple[ArmSpec, ...] = Field(
        (
            ArmSpec(name="real", real=True),
            ArmSpec(name="synthetic", real=False, sets=("Diff-1",)),
            ArmSpec(name="real + synthetic", real=True, sets=("Diff-1",)),
        ),
        max_length=40,
    )
    seeds: int = Field(3, ge=1, le=50, description="trainings per arm, told apart by seed")
    policy: Policy = Field("pool", description="how synthetic pairs join real ones in a mixed arm")
    validation_fraction: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="of the pairs, set aside before anything is trained or drawn, unless `validation` is given",
    )


class QualityGateSpec(Frozen):
    """Judges, segmentation models trained on real pairs alone, say how well each sample's picture and label agree.

    The real pairs are divided into `folds`, near-duplicates together; a sample, and a real pair, is judged by the model
    that saw none of its source's fold.
    """

    preset: str = Field("tiny-cpu", max_length=80, description="segmentation preset of the judges")
    overrides: dict[str, Any] = Field(default_factory=dict)
    folds: int = Field(2, ge=2, le=10, description="judges; more folds give each one more pairs to learn from")
    minimum_agreement_quantile: float | None = Field(
        None,
        gt=0,
        le=0.5,
        description="drop samples whose Dice lies below this quantile of real pairs' under the same judges; "
        "null only scores them",
    )


class PipelineSpec(Frozen):
    """A whole run on one dataset version: cluster, train, generate, evaluate, judge, segment, report."""

    name: Name = "pipeline"
    pairs: PartRef
    tests: tuple[NamedPart, ...] = Field(
        (), max_length=20, description="held-out real pairs, scored and never trained on"
    )
    validation: PartRef | None = Field(
        None,
        description="real pairs that choose the best step of every segmentation training, the same for all arms; "
        "a share of `pairs` is set aside unless given",
    )
    seed: Seed = 0
    procedure: Literal["corrected", "authors"] = Field(
        "corrected",
        description="`authors` sets every field that their code sets otherwise, but for those that the request gives; "
        "the plan and the report name what still differs",
    )
    preset: str = Field("tiny-cpu", max_length=80)
    geometry: Geometry = Field("squash", description="how a picture of any size becomes the model's square")
    clustering: ClusteringSpec = Field(default_factory=ClusteringSpec)
    recipes: tuple[Recipe, ...] = Field((Recipe(),), min_length=1, max_length=10)
    evaluation: EvaluationSpec | None = Field(default_factory=EvaluationSpec)
    segmentation: SegmentationStudySpec | None = Field(default_factory=SegmentationStudySpec)
    drop_near_copies: bool = Field(
        False,
        description="leave samples that are near-copies of training pictures out of the sets, before segmentation",
    )
    quality_gate: QualityGateSpec | None = Field(
        None, description="whether each sample's label fits its picture, and what to drop, before segmentation"
    )
    torch_threads: int | None = Field(None, ge=1, le=256, description="of every job; the installation's unless given")
    allow_similar_tests: bool = Field(
        False,
        description="also test on pictures that resemble training pictures, as frames of one sequence do; copies of "
        "training pictures are refused in any case",
    )
    allow_stand_ins: bool = Field(
        False, description="where pretrained weights are missing, run on built-in features and random encoders"
    )

    @model_validator(mode="after")
    def _near_copies_are_found_by_evaluation(self) -> Self:
        if self.drop_near_copies and self.evaluation is None:
            raise ValueError("drop_near_copies needs `evaluation`, which finds them")
        return self

    @model_validator(mode="after")
    def _names_are_told_apart(self) -> Self:
        for what, names in (
            ("recipes", [recipe.name for recipe in self.recipes]),
            ("tests", [test.name for test in self.tests]),
            ("arms", [arm.name for arm in self.segmentation.arms] if self.segmentation else []),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"two {what} have the same name")
        return self


class ImportSpec(Frozen):
    """An archive becomes a dataset version."""

    dataset_id: UUID
    upload_id: UUID
    label: str = Field("", max_length=200)
    origin: Literal["real", "external"] = "real"
    options: dict[str, Any] = Field(default_factory=dict, description="fields of pairs.checking.CheckOptions")


class ImportWeightsSpec(Frozen):
    """An uploaded file becomes the pretrained file `name`; without a name it is a bundle of several."""

    upload_id: UUID
    name: str | None = None
    replace: bool = False


class ModelImport(Frozen):
    """What an imported checkpoint does not say itself. None: told by the file's name, as far as it tells."""

    weights: Literal["ema", "raw"] | None = Field(None, description="whether the weights are averaged")
    cluster: int | None = Field(None, ge=0, le=9999, description="whose pairs it was trained on")
    images_seen: int | None = Field(None, ge=0, lt=2**62, description="0: unknown")
    side_px: int = Field(256, ge=16, le=512, description="side of the pictures it draws")


class ImportModelSpec(Frozen):
    """A guided-diffusion checkpoint, uploaded or the pretrained one, becomes a model."""

    upload_id: UUID | None = None
    pretrained: Literal["guided-diffusion-256"] | None = None
    told: ModelImport = ModelImport()

    @model_validator(mode="after")
    def _comes_from_somewhere(self) -> Self:
        if (self.upload_id is None) == (self.pretrained is None):
            raise ValueError("give either upload_id or pretrained")
        return self


class PooledImages(Frozen):
    """Images that one network sees in the place of the networks of all clusters: `each` per cluster, and `shared`."""

    each: int = Field(ge=0)
    shared: int = Field(ge=0)

    def of(self, clusters: int) -> int:
        return clusters * self.each + self.shared


class TrainingOrder(Frozen):
    """What a cluster job hands on: train this recipe, then let these generate jobs start.

    Once per cluster, or `together`: one network for all pairs, conditioned on the cluster unless `conditioned` is
    false. `pooled` says how many images that one sees; None: as many as its preset says.
    """

    recipe: str
    preset: dict[str, Any]
    needed_by: tuple[UUID, ...]
    together: bool = False
    conditioned: bool = True
    pooled: PooledImages | None = None
    warm_start_job_id: UUID | None = None


class ClusterJobSpec(Frozen):
    pairs: PartRef
    geometry: Geometry
    clustering: ClusteringSpec
    seed: Seed
    torch_threads: int
    allow_stand_ins: bool = False
    trainings: tuple[TrainingOrder, ...] = ()


class TrainJobSpec(Frozen):
    """Without `cluster` all pairs are trained on; with a `clustering_id` beside, the network is told their clusters.

    With `warm_start_job_id` the training starts from the model of that job.
    """

    pairs: PartRef
    geometry: Geometry
    recipe: str
    preset: dict[str, Any]
    seed: Seed
    torch_threads: int
    slice_seconds: SliceSeconds = None
    clustering_id: UUID | None = None
    cluster: int | None = None
    warm_start_job_id: UUID | None = None


class GenerateJobSpec(Frozen):
    """The share `share` of `shares` of a generation's samples; how is in the generation's own spec.

    `shared_by`: a share is a stretch of the samples in the order of their models; jobs from before there was the field
    take every so-manieth source, and a generation that was half done at an upgrade ends as it began.
    """

    generation_id: UUID
    share: int = Field(ge=0)
    shares: int = Field(ge=1)
    shared_by: Literal["source", "model"] = "source"
    torch_threads: int
    slice_seconds: SliceSeconds = None


class StyleJobSpec(Frozen):
    """The share `share` of `shares` of the samples that a generation of styled sets is made of."""

    generation_id: UUID
    share: int = Field(ge=0)
    shares: int = Field(ge=1)
    torch_threads: int
    allow_stand_ins: bool = False
    slice_seconds: SliceSeconds = None


class StylingOrder(Frozen):
    """Which generation's samples are styled, and how: a whole StylingSpec."""

    generation_id: UUID
    spec: dict[str, Any]


class GenerationOrder(Frozen):
    """The spec of a `Generation` row; with `styling`, of one whose samples are another's, styled."""

    pairs: PartRef
    geometry: Geometry
    preset: dict[str, Any]
    strategy: Strategy
    model_ids: tuple[UUID, ...] = ()
    source_limit: int | None
    seed: Seed
    labels_from: PartRef | None = None
    styling: StylingOrder | None = None


class EvaluateJobSpec(Frozen):
    """One set against the pairs it was drawn from. `tests` is of jobs from earlier versions and is not read."""

    generation_id: UUID
    sample_index: int
    pairs: PartRef
    tests: tuple[NamedPart, ...] = ()
    geometry: Geometry
    evaluation: EvaluationSpec
    seed: Seed
    torch_threads: int
    allow_stand_ins: bool = False
    drop_near_copies: bool = False


class JudgeJobSpec(Frozen):
    """One judge: trained on every real pair outside `fold` (of `folds`, from 0), scored on those within."""

    pairs: PartRef
    geometry: Geometry
    preset: str
    overrides: dict[str, Any]
    fold: int = Field(ge=0)
    folds: int = Field(ge=2)
    seed: Seed
    torch_threads: int
    slice_seconds: SliceSeconds = None
    allow_stand_ins: bool = False


class GateJobSpec(Frozen):
    """One set before the judges of these jobs."""

    generation_id: UUID
    sample_index: int
    judge_job_ids: tuple[UUID, ...]
    geometry: Geometry
    minimum_agreement_quantile: float | None
    torch_threads: int


class SegmentJobSpec(Frozen):
    """One arm with one seed. `sets` maps the name of a sample set to its generation and sample index.

    `validation` is None in jobs from before there was the field; they cannot run any more.
    """

    arm: ArmSpec
    sets: dict[str, tuple[UUID, int]]
    pairs: PartRef
    validation: PartRef | None = None
    tests: tuple[NamedPart, ...]
    geometry: Geometry
    preset: str
    overrides: dict[str, Any]
    policy: Policy
    seed: Seed
    torch_threads: int
    slice_seconds: SliceSeconds = None
    allow_stand_ins: bool = False


class ReportJobSpec(Frozen):
    pipeline_id: UUID
