"""Options of `segsmith run` as the typed request of a pipeline. Pure: no file is read twice, no server is asked."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from pydantic import ValidationError

from segsmith.command.importing import FolderOptions
from segsmith.problems import FolderNotFound
from segsmith_shared.plans.budget import budget_of
from segsmith_shared.plans.presets import PRESETS, UNAWARE_TRAINING, Preset, Procedure, preset_named
from segsmith_shared.plans.segmentation import preset_at as segmentation_at
from segsmith_shared.plans.segmentation import preset_named as segmentation_preset_named
from segsmith_shared.plans.specs import (
    ArmSpec,
    ClusteringSpec,
    EvaluationSpec,
    NamedPart,
    PartRef,
    PipelineSpec,
    QualityGateSpec,
    Recipe,
    SegmentationStudySpec,
    Strategy,
)
from segsmith_shared.plans.styling import StylingSpec, check_styling, styled_name
from segsmith_shared.problems import InvalidInput

PAPER = "Paper"
PAPER_PRESET = "paper-256-2023"


Redraw = Literal["lesion", "background", "full"]
LabelSource = Literal["drawn", "own", "exchanged"]
LEARNED_SHARE = 0.3
"""Of the images of an inpainting-aware training, for what its presets do not train for."""


@dataclass(frozen=True)
class HeldOutFolder:
    """Held-out pairs: `NAME=FOLDER` or `NAME=FOLDER:IDS`."""

    name: str
    folder: Path
    ids: Path | None = None


@dataclass(frozen=True)
class RunOptions:
    """What was asked for on the command line, apart from where the pairs are."""

    name: str = "run"
    preset: str = "tiny-cpu"
    k: int = 4
    seed: int = 0
    strategy: Strategy = "per_cluster"
    samples_per_source: int | None = None
    redraw: Redraw | None = None
    label: LabelSource | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    clusters: Mapping[str, list[str]] | None = None
    beside_paper: int | None = None
    segmentation_preset: str | None = None
    seeds: int = 3
    jobs: int = 1
    threads: int | None = None
    models: tuple[UUID, ...] = ()
    start_from: UUID | None = None
    stand_ins: bool = False
    evaluation: EvaluationSpec = field(default_factory=EvaluationSpec)
    styling: Mapping[str, Any] | None = None
    drop_near_copies: bool = False
    quality_gate: bool = False
    minimum_agreement_quantile: float | None = None
    judge_preset: str | None = None
    reading: FolderOptions = field(default_factory=FolderOptions)
    procedure: Procedure = "corrected"
    allow_similar_tests: bool = False
    validation_fraction: float = 0.2


def side_px(options: RunOptions) -> int:
    """The side of the pictures that the run's models draw. Raises the problem of a wrong preset or override."""
    return preset_named(options.preset).with_overrides(dict(options.overrides)).network.side_px


def pipeline_spec(options: RunOptions, pairs: PartRef, tests: Iterable[NamedPart]) -> PipelineSpec:
    """The request. Raises InvalidInput naming each value beyond its limits, or the problem of an unknown preset."""
    overrides = _learned_for(options) | dict(options.overrides)
    if options.samples_per_source is not None:
        overrides["sampling.samples_per_source"] = options.samples_per_source
    tests = tuple(tests)
    try:
        recipes = [_recipe(options, overrides)]
        if options.beside_paper:
            preset = preset_named(options.preset).with_overrides(overrides)
            images = budget_of(recipes[0], preset, _clustering(options).k).images
            given = "training.images_total" in overrides
            recipes.append(paper_recipe(preset, options.beside_paper, images if given else None))
        return PipelineSpec(
            name=options.name,
            pairs=pairs,
            tests=tests,
            seed=options.seed,
            preset=options.preset,
            procedure=options.procedure,
            clustering=_clustering(options),
            recipes=tuple(recipes),
            evaluation=options.evaluation,
            segmentation=_segmentation(options) if tests else None,
            drop_near_copies=options.drop_near_copies,
            quality_gate=_quality_gate(options),
            torch_threads=options.threads,
            allow_similar_tests=options.allow_similar_tests,
            allow_stand_ins=options.stand_ins,
        )
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise InvalidInput("; ".join(faults)) from error


def _recipe(options: RunOptions, overrides: dict[str, Any]) -> Recipe:
    """Train as the strategy says, or draw with the models that are there. Raises the problem of a wrong override."""
    styling = None if options.styling is None else dict(options.styling)
    styled = None if styling is None else StylingSpec().with_overrides(styling)
    if not options.models:
        preset = preset_named(options.preset).with_overrides(overrides)
        if styled is not None:
            check_styling(styled, preset)
    elif options.strategy not in {RunOptions.strategy, "imported"}:
        raise InvalidInput("Models that are there already are not trained.", hint="Give --strategy or --model.")
    return Recipe(
        overrides=overrides,
        generate_jobs=options.jobs,
        strategy="imported" if options.models else options.strategy,
        model_ids=options.models,
        warm_start_model_id=options.start_from,
        styling=styling,
    )


def _learned_for(options: RunOptions) -> dict[str, Any]:
    """What to redraw, and the training that an inpainting-aware model needs for it, where one is trained."""
    wanted = {name: value for name in ("redraw", "label") if (value := getattr(options, name)) is not None}
    overrides: dict[str, Any] = {f"sampling.{name}": value for name, value in wanted.items()}
    if not options.models and preset_named(options.preset).training.inpainting_aware:
        if options.redraw in {"background", "full"}:
            overrides[f"training.region_{options.redraw}_share"] = LEARNED_SHARE
        if options.label in {"own", "exchanged"}:
            overrides["training.label_given_share"] = LEARNED_SHARE
    return overrides


def paper_recipe(preset: Preset, source_limit: int, images_total: int | None = None) -> Recipe:
    """The paper's way beside ours: same network, unconditional ε and RePaint's jumps, as much training altogether.

    One model of all pairs, redrawing `source_limit` sources once each with the paper's 960 evaluations. It sees
    `images_total` images, by default as many as the networks of all clusters together.
    """
    paper = PRESETS[PAPER_PRESET]
    batch = min(preset.sampling.batch, source_limit)  # a batch is always full: more than there is to do would be waste
    kept = {"samples_per_source": 1, "batch": batch, "redraw": preset.sampling.redraw}
    # how many classes the network draws is the labels' to say, of which nothing is known here
    overrides = preset.model_dump(mode="json", exclude={"name": True, "network": {"classes"}}) | {
        "diffusion": paper.diffusion.model_dump(mode="json"),
        "sampling": paper.sampling.model_dump(mode="json") | kept,
    }
    overrides["training"] |= UNAWARE_TRAINING
    if images_total is None:
        del overrides["training"]["images_total"]
    else:
        overrides["training"] |= {"images_total": images_total, "warm_start_images": 0}
    return Recipe(name=PAPER, overrides=overrides, strategy="full", source_limit=source_limit)


def parse_override(text: str) -> tuple[str, Any]:
    """`field=value` of a preset; the value is read as JSON where it is JSON, else as text."""
    name, equals, value = text.partition("=")
    if not (equals and name and value):
        raise InvalidInput(f"{text!r} is not FIELD=VALUE.", hint="Fields: segsmith preset show NAME")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def parse_test(text: str) -> HeldOutFolder:
    """`NAME=FOLDER` or `NAME=FOLDER:IDS`. Raises InvalidInput, FolderNotFound."""
    name, equals, place = text.partition("=")
    if not (equals and name and place):
        raise InvalidInput(f"{text!r} is not NAME=FOLDER or NAME=FOLDER:IDS.")
    if Path(place).is_dir():
        return HeldOutFolder(name, Path(place))
    folder, _, ids = place.rpartition(":")
    if not (folder and Path(folder).is_dir() and Path(ids).is_file()):
        raise FolderNotFound(f"{place} is neither a folder nor FOLDER:IDS.")
    return HeldOutFolder(name, Path(folder), Path(ids))


def read_clusters(file: Path, k: int) -> dict[str, list[str]]:
    """A clustering from JSON: `{cluster: [names]}`, or `{k: {cluster: [names]}}`, of which the wanted k is taken."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FolderNotFound(f"{file} cannot be read as JSON: {error}") from error
    if isinstance(document, dict) and document and all(isinstance(inner, dict) for inner in document.values()):
        if str(k) not in document:
            raise InvalidInput(f"{file} has no clustering with k = {k}.", hint=f"It has k = {', '.join(document)}.")
        document = document[str(k)]
    if not isinstance(document, dict) or not all(_is_names(inner) for inner in document.values()):
        raise InvalidInput(f"{file} is not {{cluster: [pair names]}}.")
    return document


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _clustering(options: RunOptions) -> ClusteringSpec:
    if options.clusters is not None:
        return ClusteringSpec(method="imported", k=len(options.clusters), imported=dict(options.clusters))
    return ClusteringSpec(k=options.k)


def _quality_gate(options: RunOptions) -> QualityGateSpec | None:
    quantile = options.minimum_agreement_quantile
    if not options.quality_gate:
        if quantile is not None:
            raise InvalidInput("--minimum-agreement-quantile is the quality gate's.", hint="Add --quality-gate.")
        return None
    preset, overrides = segmentation_at(preset_named(options.preset).network.side_px)
    if options.judge_preset:
        preset, overrides = segmentation_preset_named(options.judge_preset).preset, {}
    return QualityGateSpec(preset=preset, overrides=overrides, minimum_agreement_quantile=quantile)


def _segmentation(options: RunOptions) -> SegmentationStudySpec:
    preset, overrides = segmentation_at(preset_named(options.preset).network.side_px)
    if options.segmentation_preset:
        preset, overrides = segmentation_preset_named(options.segmentation_preset).preset, {}
    study = SegmentationStudySpec(
        preset=preset, overrides=overrides, seeds=options.seeds, validation_fraction=options.validation_fraction
    )
    if options.styling is None:
        return study
    styled = f"{styled_name(Recipe().name)}-1"
    arms = (
        ArmSpec(name="styled", real=False, sets=(styled,)),
        ArmSpec(name="real + styled", real=True, sets=(styled,)),
    )
    return study.model_copy(update={"arms": (*study.arms, *arms)})
