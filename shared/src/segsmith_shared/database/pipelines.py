"""Pipelines in Postgres: planning one against the pairs it names, and writing all its rows in one transaction."""

from collections.abc import Mapping, Sequence
from uuid import UUID, uuid4

from sqlmodel import Session, col, select

from segsmith_shared.database.overlaps import Overlap, compare
from segsmith_shared.database.pairs import class_names_of, pairs_of
from segsmith_shared.database.tables import Dataset, DatasetVersion, Generation, Job, Model, Pair, Pipeline
from segsmith_shared.database.validation import pairs_trained_on, with_validation
from segsmith_shared.database.weights import require_weights
from segsmith_shared.jobs import plan as job_plan
from segsmith_shared.pairs.classes import classes_of
from segsmith_shared.plans.pipeline import PipelinePlan, plan_pipeline, required_weights
from segsmith_shared.plans.presets import Preset
from segsmith_shared.plans.procedure import with_procedure
from segsmith_shared.plans.recipes import StoredModel
from segsmith_shared.plans.specs import PartRef, PipelineSpec
from segsmith_shared.problems import InvalidInput, NotFound

SHOWN_OVERLAPS, LISTED_OVERLAPS = 5, 1000


class DifferentClasses(InvalidInput):
    """Two sets of pairs of one pipeline have labels that tell different things apart."""

    title = "The labels tell different classes apart"


class OverlappingPairs(InvalidInput):
    """Pictures to test or to validate with are also trained on, which would make every score worthless.

    The member `overlaps` lists them.
    """

    title = "Held-out pictures are also trained on"


def plan_for(session: Session, spec: PipelineSpec, torch_threads: int, pipeline_id: UUID | None = None) -> PipelinePlan:
    """The plan of `spec` against the stored pairs; writes nothing.

    Raises what `plan_pipeline` does, NotFound, OverlappingPairs, NoValidationPairs, DifferentClasses, and
    WeightsMissing unless stand-ins are allowed.
    """
    with session.begin_nested() as attempt:
        _, plan = _resolved(session, spec, torch_threads, pipeline_id or uuid4())
        attempt.rollback()
    return plan


def _resolved(
    session: Session, spec: PipelineSpec, torch_threads: int, pipeline_id: UUID
) -> tuple[PipelineSpec, PipelinePlan]:
    """The request with its validation pairs set aside, which may write a split, and its plan."""
    spec = with_procedure(spec)
    class_names = class_names_of(session, spec.pairs)
    _check_classes(session, spec, class_names)
    if not spec.allow_stand_ins:
        require_weights(session, required_weights(spec))
    models = _models_named(session, spec)
    _check_classes_of_models(session, models, class_names)
    trainings = [model.job_id for model in models.values()]
    spec = with_validation(session, spec, pipeline_id, trainings)
    sources = pairs_of(session, spec.pairs)
    notes = _check_overlaps(session, spec, sources, pairs_trained_on(session, trainings))
    grey = is_grey(session.get_one(DatasetVersion, spec.pairs.version_id))
    classes = classes_of(class_names)
    plan = plan_pipeline(
        spec,
        pipeline_id,
        len(sources),
        torch_threads,
        models,
        grey=grey,
        classes=classes,
        import_procedure=_import_procedure(session, spec.pairs),
        negatives=sum(pair.lesion_fraction == 0 for pair in sources),
    )
    plan.notes += notes
    return spec, plan


def _check_overlaps(
    session: Session, spec: PipelineSpec, sources: Sequence[Pair], seen_by_models: Sequence[Pair]
) -> list[str]:
    """Held-out pictures must be new to every training, also re-encoded, resized or mirrored. Raises OverlappingPairs.

    Returns what could not be checked, in words.
    """
    trained_on = [*sources, *seen_by_models]
    validation = pairs_of(session, spec.validation) if spec.validation else []
    held_out = [(f"test set {test.name!r}", pairs_of(session, test.pairs)) for test in spec.tests]
    checks = [(what, pairs, trained_on, "trained on") for what, pairs in held_out]
    checks += [("the validation pairs", validation, trained_on, "trained on")] if validation else []
    checks += [(what, pairs, validation, "validated with") for what, pairs in held_out if validation]
    unknown, notes = 0, []
    for what, pairs, others, use in checks:
        comparison = compare(session, pairs, others)
        unknown = max(unknown, comparison.unknown)
        refused = [each for each in comparison.overlaps if each.is_copy or not spec.allow_similar_tests]
        if refused:
            raise _overlap_problem(what, use, pairs, refused)
        if comparison.overlaps:
            notes.append(f"{len(comparison.overlaps)} of {len(pairs)} pictures of {what} resemble pictures {use}.")
        if comparison.in_groups:
            notes.append(
                f"{comparison.in_groups} of {len(pairs)} pictures of {what} belong to groups (near-duplicates, one "
                f"sequence or patient) of which others are {use}: the split's lists tear them apart."
            )
    if unknown:
        notes.append(
            f"{unknown} pairs were imported before fingerprints were kept: of these only exact copies were looked for "
            "among the held-out pictures. Import them again to compare re-encoded and mirrored ones too."
        )
    return notes


def _overlap_problem(what: str, use: str, pairs: Sequence[Pair], overlaps: Sequence[Overlap]) -> OverlappingPairs:
    shown = "; ".join(overlap.in_words() for overlap in overlaps[:SHOWN_OVERLAPS])
    more = f"; and {len(overlaps) - SHOWN_OVERLAPS} more" if len(overlaps) > SHOWN_OVERLAPS else ""
    return OverlappingPairs(
        f"{len(overlaps)} of {len(pairs)} pictures of {what} are also {use}: {shown}{more}.",
        hint="Take them out of one of the two, e.g. with a list of ids at import."
        + ("" if any(each.is_copy for each in overlaps) else " Or allow_similar_tests, if they show other patients."),
        overlaps=[overlap.in_words() for overlap in overlaps[:LISTED_OVERLAPS]],
    )


def _check_classes(session: Session, spec: PipelineSpec, class_names: Sequence[str]) -> None:
    """Labels are compared with each other, and drawn to, value by value: each has to mean the same everywhere."""
    others = {f"Test set {test.name!r}": test.pairs for test in spec.tests}
    others |= {f"The labels of recipe {r.name}": r.labels_from for r in spec.recipes if r.labels_from is not None}
    for what, reference in others.items():
        named = class_names_of(session, reference)
        if named != list(class_names):
            raise DifferentClasses(
                f"{what} tell apart {_in_words(named)}, the pairs themselves {_in_words(class_names)}.",
                hint="Import both with the same classes, by the same names and in the same order.",
            )


def _check_classes_of_models(session: Session, models: Mapping[UUID, StoredModel], class_names: Sequence[str]) -> None:
    """A model draws the classes of the pairs that it was trained on, in their order; one alone is the lesion."""
    if len(class_names) < 2:
        return
    jobs = {
        job.id: job for job in session.exec(select(Job).where(col(Job.id).in_([m.job_id for m in models.values()])))
    }
    for model_id, model in models.items():
        trained_on = jobs[model.job_id].spec.get("pairs")
        if trained_on is None:
            continue  # an imported checkpoint, which names no classes
        learned = class_names_of(session, PartRef.model_validate(trained_on))
        if len(learned) == len(class_names) and learned != list(class_names):
            raise DifferentClasses(
                f"Model {model_id} draws {_in_words(learned)}; the pairs tell apart {_in_words(class_names)}.",
                hint="Choose a model that was trained on the same classes in the same order, or train one.",
            )


def _in_words(class_names: Sequence[str]) -> str:
    return ", ".join(class_names) or "lesion and background, without names"


def _import_procedure(session: Session, reference: PartRef) -> str | None:
    """How the import of these pairs read their labels; None for a version that no import made."""
    procedure = session.get_one(DatasetVersion, reference.version_id).report.get("procedure")
    return None if procedure is None else str(procedure)


def is_grey(version: DatasetVersion) -> bool:
    """Whether its import found all pictures without colour; no for a version that no import made."""
    statistics = version.report.get("statistics") or {}
    return version.pair_count > 0 and statistics.get("grey_pictures") == version.pair_count


def _models_named(session: Session, spec: PipelineSpec) -> dict[UUID, StoredModel]:
    """The stored models that the recipes name. Raises NotFound for the first that is not there."""
    wanted = [model_id for recipe in spec.recipes for model_id in recipe.model_ids]
    wanted += [recipe.warm_start_model_id for recipe in spec.recipes if recipe.warm_start_model_id]
    rows = {row.id: row for row in session.exec(select(Model).where(col(Model.id).in_(wanted)))} if wanted else {}
    for model_id in wanted:
        if model_id not in rows:
            raise NotFound(f"There is no model {model_id}.", hint="`segsmith models list` shows those there are.")
    return {row.id: _stored_model(row) for row in rows.values()}


def _stored_model(row: Model) -> StoredModel:
    told_clusters = row.clustering_id is not None and row.cluster is None
    return StoredModel(row.job_id, Preset.model_validate(row.preset), told_clusters)


def submit_pipeline(session: Session, spec: PipelineSpec, torch_threads: int) -> Pipeline:
    """Write the pipeline, its generations (a dataset for each) and its jobs into the caller's transaction.

    Ring the queues after the commit.
    """
    pipeline = Pipeline(name=spec.name)
    spec, plan = _resolved(session, spec, torch_threads, pipeline.id)
    pipeline.spec = spec.model_dump(mode="json")
    pipeline.plan = plan.as_document()
    session.add(pipeline)
    datasets = {
        generation.id: Dataset(name=f"{spec.name}: {generation.recipe}", description="Synthetic sets of a pipeline")
        for generation in plan.generations
    }
    session.add_all(datasets.values())
    session.flush()
    for generation in plan.generations:
        session.add(
            Generation(
                id=generation.id,
                pipeline_id=pipeline.id,
                recipe=generation.recipe,
                source_version_id=generation.order.pairs.version_id,
                dataset_id=datasets[generation.id].id,
                spec=generation.order.model_dump(mode="json"),
            )
        )
    session.flush()
    job_plan.submit(session, plan.jobs, pipeline_id=pipeline.id)
    return pipeline
