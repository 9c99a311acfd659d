"""`segsmith run`: from a folder of pairs to synthetic pairs and a report, in one command."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import typer

from segsmith.command.dataset import (
    ClassesOption,
    FolderArgument,
    ForegroundOption,
    GroupColumnOption,
    GroupPatternOption,
    IdsOption,
    LabelsOption,
    StrictOption,
    report_on,
)
from segsmith.command.importing import (
    FolderOptions,
    Imported,
    import_options,
    import_pairs,
    packed,
    upload_archive,
)
from segsmith.command.invocation import Invocation, Shown, command
from segsmith.command.pipeline import plan_in_words, shown_results
from segsmith.command.request import (
    HeldOutFolder,
    LabelSource,
    Redraw,
    RunOptions,
    parse_override,
    parse_test,
    pipeline_spec,
    read_clusters,
    side_px,
)
from segsmith.command.results import collect, watch_to_the_end
from segsmith_shared.pairs.classes import classes_of
from segsmith_shared.plans.pipeline import plan_pipeline
from segsmith_shared.plans.presets import Preset, Procedure
from segsmith_shared.plans.recipes import StoredModel
from segsmith_shared.plans.specs import EvaluationSpec, NamedPart, PartRef, Strategy
from segsmith_shared.problems import InvalidInput

TRAIN, TEST = "train", "test"


def register(app: typer.Typer) -> None:
    """Add the command to the whole."""
    command(app, "run")(run)


def run(
    here: Invocation,
    folder: FolderArgument,
    ids: IdsOption = None,
    classes: ClassesOption = None,
    labels: LabelsOption = "auto",
    foreground: ForegroundOption = None,
    strict: StrictOption = False,
    group_pattern: GroupPatternOption = None,
    group_column: GroupColumnOption = None,
    test: Annotated[list[str] | None, typer.Option(help="Held-out pairs NAME=FOLDER[:IDS]; repeat for more.")] = None,
    test_fraction: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share to hold out where no --test is given.")
    ] = 0.2,
    validation_fraction: Annotated[
        float,
        typer.Option(
            min=0.01, max=0.9, help="Share of the training pairs to set aside for validating segmentation models."
        ),
    ] = 0.2,
    procedure: Annotated[
        Procedure, typer.Option(help="corrected, or authors: every field as their code has it, as far as it can be.")
    ] = "corrected",
    name: Annotated[str | None, typer.Option(help="Name of the run; the folder's unless given.")] = None,
    preset: Annotated[str, typer.Option(help="Size and compute: segsmith preset list.")] = "tiny-cpu",
    k: Annotated[int, typer.Option(min=1, help="Number of clusters, each with a model of its own.")] = 4,
    strategy: Annotated[
        Strategy,
        typer.Option(
            help="A network per cluster, one without clusters (full), one that is told them (conditioned), or --model."
        ),
    ] = "per_cluster",
    clusters: Annotated[Path | None, typer.Option(help="JSON of a clustering instead: {cluster: [names]}.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    samples_per_source: Annotated[int | None, typer.Option(min=1, help="The preset's unless given.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="FIELD=VALUE of the preset; repeat for more.")] = None,
    beside_paper: Annotated[
        int | None, typer.Option(min=1, help="Also redraw so many sources the paper's way.")
    ] = None,
    segmentation_preset: Annotated[str | None, typer.Option(help="The one of --preset's side unless given.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Segmentation models per arm.")] = 3,
    ms_ssim_pairs: Annotated[int, typer.Option(min=10, help="Pairs of pictures that MS-SSIM compares.")] = 2000,
    redraw: Annotated[
        Redraw | None, typer.Option(help="The lesion, the background around it (RePolyp), or the full picture.")
    ] = None,
    label: Annotated[
        LabelSource | None,
        typer.Option(help="Labels drawn with the picture, or given: own, or exchanged with others'."),
    ] = None,
    styling: Annotated[bool, typer.Option("--styling", help="Also style the sets after their sources.")] = False,
    styling_set: Annotated[
        list[str] | None,
        typer.Option("--styling-set", help="FIELD=VALUE of styling; repeat for more. Implies --styling."),
    ] = None,
    drop_near_copies: Annotated[
        bool, typer.Option("--drop-near-copies", help="Leave near-copies of training pictures out of the sets.")
    ] = False,
    quality_gate: Annotated[
        bool, typer.Option("--quality-gate", help="Let judges trained on real pairs score whether labels fit.")
    ] = False,
    minimum_agreement_quantile: Annotated[
        float | None,
        typer.Option(help="Drop samples that agree less than this quantile of real pairs, e.g. .05."),
    ] = None,
    judge_preset: Annotated[
        str | None,
        typer.Option(help="Segmentation preset of the quality gate's judges; of --preset's side unless given."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Jobs that share the drawing, for several workers.")] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of each job; the server's unless given.")
    ] = None,
    model: Annotated[
        list[UUID] | None, typer.Option(help="Draw with this model instead of training; repeat for more.")
    ] = None,
    start_from: Annotated[
        UUID | None, typer.Option(help="Model of the same network that trainings start from.")
    ] = None,
    stand_ins: Annotated[
        bool, typer.Option("--stand-ins", help="Where pretrained weights are missing, use built-in ones and say so.")
    ] = False,
    allow_similar_tests: Annotated[
        bool, typer.Option("--allow-similar-tests", help="Test also on pictures that resemble training pictures.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Stay until the end, or only submit.")] = True,
    cancel_on_interrupt: Annotated[bool, typer.Option(help="Ctrl-C also cancels the run on the server.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only the graph and the cost; nothing is sent.")] = False,
    output: Annotated[Path | None, typer.Option(help="Folder for the report and the sets.")] = None,
) -> Shown:
    """Upload a folder of pairs, cluster, train, draw synthetic pairs, measure, segment, report."""
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is no folder.", hint="Name a folder of images and masks.")
    options = RunOptions(
        name=name or folder.resolve().name,
        preset=preset,
        k=k,
        seed=seed,
        strategy=strategy,
        samples_per_source=samples_per_source,
        redraw=redraw,
        label=label,
        overrides=dict(map(parse_override, set_ or [])),
        clusters=read_clusters(clusters, k) if clusters else None,
        beside_paper=beside_paper,
        segmentation_preset=segmentation_preset,
        seeds=seeds,
        jobs=jobs,
        threads=threads,
        models=tuple(model or ()),
        start_from=start_from,
        stand_ins=stand_ins,
        evaluation=EvaluationSpec(ms_ssim_pairs=ms_ssim_pairs),
        styling=dict(map(parse_override, styling_set or [])) if styling or styling_set else None,
        drop_near_copies=drop_near_copies,
        quality_gate=quality_gate,
        minimum_agreement_quantile=minimum_agreement_quantile,
        judge_preset=judge_preset,
        reading=FolderOptions(
            classes,
            labels,
            foreground,
            strict,
            group_pattern=group_pattern,
            group_column=group_column,
            procedure=procedure,
        ),
        procedure=procedure,
        allow_similar_tests=allow_similar_tests,
        validation_fraction=validation_fraction,
    )
    tests = [parse_test(text) for text in test or []]
    _check_before_sending(options, tests, test_fraction)
    if dry_run:
        return _plan(here, folder, ids, options, tests, test_fraction)
    pairs, named_tests = _bring_pairs(here, folder, ids, options, tests, test_fraction)
    pipeline = here.client.pipelines.submit(pipeline_spec(options, pairs, named_tests))
    here.note(f"Pipeline {pipeline.id} ({pipeline.name})")
    for note in (pipeline.plan or {}).get("notes", ()):
        here.note(note)
    if not watch:
        return Shown(pipeline, f"Pipeline {pipeline.id}\nWatch it: segsmith watch {pipeline.id}")
    watch_to_the_end(here, pipeline.id, cancel_on_interrupt=cancel_on_interrupt)
    return shown_results(collect(here, pipeline.id, output))


def _check_before_sending(options: RunOptions, tests: Sequence[HeldOutFolder], test_fraction: float) -> None:
    """Meet wrong options before minutes of upload, on stand-in identities. Raises InvalidInput."""
    _wanted(options, None)
    pipeline_spec(options, *_stand_ins(tests, test_fraction))


def _stand_ins(tests: Sequence[HeldOutFolder], test_fraction: float) -> tuple[PartRef, list[NamedPart]]:
    pairs = PartRef(version_id=uuid4())
    names = [test.name for test in tests] or ([TEST] if test_fraction else [])
    return pairs, [NamedPart(name=name, pairs=PartRef(version_id=uuid4())) for name in names]


def _plan(
    here: Invocation,
    folder: Path,
    ids: Path | None,
    options: RunOptions,
    tests: Sequence[HeldOutFolder],
    test_fraction: float,
) -> Shown:
    """The graph and the cost, from what an offline check of the folder accepts."""
    report = report_on(here, folder, _wanted(options, ids))
    sources = report.accepted if tests else round(report.accepted * (1 - test_fraction))
    if tests or test_fraction:
        sources = round(sources * (1 - options.validation_fraction))
    spec = pipeline_spec(options, *_stand_ins(tests, test_fraction))
    named = [*options.models, *([options.start_from] if options.start_from else [])]
    models = {model_id: _stored_model(here, model_id) for model_id in named}
    threads = options.threads or 1  # they do not change the cost
    classes = classes_of(report.class_names)
    plan = plan_pipeline(
        spec, uuid4(), sources, threads, models, classes=classes, import_procedure=options.procedure
    ).as_document()
    return Shown(plan, plan_in_words(plan))


def _stored_model(here: Invocation, model_id: UUID) -> StoredModel:
    found = here.client.models.get(model_id)
    return StoredModel(found.job_id, Preset.model_validate(found.preset), found.told_clusters)


def _bring_pairs(
    here: Invocation,
    folder: Path,
    ids: Path | None,
    options: RunOptions,
    tests: Sequence[HeldOutFolder],
    test_fraction: float,
) -> tuple[PartRef, list[NamedPart]]:
    """Upload and import the pairs and every test set, or hold a share of the pairs out."""
    imported = _import(here, folder, _wanted(options, ids), options.name)
    version_id = imported.version.id
    if tests:
        brought = [
            (test.name, _import(here, test.folder, _wanted_of_test(options, test), f"{options.name}: {test.name}"))
            for test in tests
        ]
        named = [NamedPart(name=name, pairs=PartRef(version_id=each.version.id)) for name, each in brought]
        return PartRef(version_id=version_id), named
    if not test_fraction:
        return PartRef(version_id=version_id), []
    shares = {TRAIN: 1 - test_fraction, TEST: test_fraction}
    split = here.client.versions.split(version_id, options.name, fractions=shares, seed=options.seed)
    here.note(f"Held out for testing: {split.counts.get(TEST)} of {imported.version.pair_count} pairs")
    held_out = PartRef(version_id=version_id, split_id=split.id, part=TEST)
    return PartRef(version_id=version_id, split_id=split.id, part=TRAIN), [NamedPart(name=TEST, pairs=held_out)]


def _wanted(options: RunOptions, ids: Path | None) -> dict[str, Any]:
    """The import's options, with the side at which lesions might vanish."""
    return import_options(ids, replace(options.reading, side_px=side_px(options)))


def _wanted_of_test(options: RunOptions, test: HeldOutFolder) -> dict[str, Any]:
    """Without groups: a test set is whole, and its names need not look like those of the other folder."""
    reading = replace(options.reading, side_px=side_px(options), group_pattern=None, group_column=None)
    return import_options(test.ids, reading)


def _import(here: Invocation, folder: Path, wanted: dict[str, Any], dataset_name: str) -> Imported:
    archive = packed(here, folder)
    upload = here.client.uploads.begin(here.client.datasets.create(dataset_name).id, archive)
    imported = import_pairs(here, upload_archive(here, upload, archive, options=wanted), archive)
    here.note(imported.report.in_words())
    return imported
