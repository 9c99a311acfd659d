"""Generations in Postgres: whose models they use, and the moment when their samples become dataset versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, insert, literal, literal_column, text, update
from sqlalchemy import select as sa_select
from sqlmodel import Session, col, select

from segsmith_shared.database.among import among
from segsmith_shared.database.pairs import drawing_order
from segsmith_shared.database.tables import (
    DatasetVersion,
    Generation,
    Job,
    Model,
    Origin,
    Pair,
    Sample,
)
from segsmith_shared.pairs.agreement import LOW_AGREEMENT
from segsmith_shared.plans.synthetic_sets import sample_set_name
from segsmith_shared.problems import Conflict

CLOSING_MINUTES = 10
ROWS_AT_ONCE = 5000
NEAR_COPY = "near_copy"
"""Why the copy check leaves a sample out, beside the reasons why a sampled pair is never accepted."""
CHECKS = {NEAR_COPY: "checked", LOW_AGREEMENT: "judged"}
"""What the label of a set says once samples were left out of it for this reason, or none had to be."""


def models_of(session: Session, generation: Generation) -> Sequence[Model]:
    """The models of the generation's recipe in its pipeline, by cluster; not the one that those started from.

    Imported ones are those that its order names, in that order.
    """
    if generation.spec["strategy"] == "imported":
        wanted = [UUID(model_id) for model_id in generation.spec["model_ids"]]
        rows = {row.id: row for row in session.exec(select(Model).where(col(Model.id).in_(wanted)))}
        return [rows[model_id] for model_id in wanted if model_id in rows]
    query = select(Model).join(Job, col(Model.job_id) == col(Job.id)).where(Job.pipeline_id == generation.pipeline_id)
    if generation.spec["strategy"] == "per_cluster":
        query = query.where(col(Model.cluster).is_not(None))
    return session.exec(query.where(Model.recipe == generation.recipe).order_by(col(Model.cluster))).all()


def close_generation_when_done(session: Session, generation_id: UUID, job_id: UUID) -> None:
    """Write the sets as dataset versions if no other generate or style job of this generation is still to end.

    Runs in the finishing transaction of each of them, which take turns, so exactly one is the last.
    """
    if _others_are_unfinished(session, generation_id, job_id):
        return
    _take_the_time(session)
    generation = session.get_one(Generation, generation_id, with_for_update=True)
    generation.counts = _counts(session, generation_id)
    indexes = select(Sample.sample_index).where(Sample.generation_id == generation_id).distinct()
    generation.version_ids = {
        str(index): str(_close_set(session, generation, index).id) for index in sorted(session.exec(indexes))
    }
    session.add(generation)


def leave_out(
    session: Session,
    *,
    generation_id: UUID,
    sample_index: int,
    sample_ids: Sequence[UUID],
    reason: str,
    job_id: UUID,
) -> None:
    """Mark these samples of a closed set as rejected, and write what is left as a further version, the set from now on.

    `reason` is one of CHECKS. The versions before stay as they are. Runs in the finishing transaction of the job
    `job_id`.
    """
    _take_the_time(session)
    generation = session.get_one(Generation, generation_id, with_for_update=True)
    rejected = update(Sample).where(among(col(Sample.id), sample_ids)).values(accepted=False, rejection_reason=reason)
    session.execute(rejected.execution_options(synchronize_session=False))
    before = session.get_one(DatasetVersion, UUID(generation.version_ids[str(sample_index)]))
    version = _close_set(session, generation, sample_index)
    checks = [*before.provenance.get("checks", []), CHECKS[reason]]
    version.label = f"{version.label} ({', '.join(checks)})"
    unchecked = before.provenance.get("unchecked_version_id", str(before.id))
    version.provenance = {**version.provenance, "checks": checks, "unchecked_version_id": unchecked}
    version.created_by_job_id = job_id
    generation.counts = _counts(session, generation_id)
    generation.version_ids = {**generation.version_ids, str(sample_index): str(version.id)}
    session.add_all([version, generation])


def store_agreements(session: Session, documents: Mapping[UUID, dict[str, Any]]) -> None:
    """Write what the judges found of each of these samples."""
    for sample in session.exec(select(Sample).where(among(col(Sample.id), documents))):
        sample.agreement = documents[sample.id]
        session.add(sample)


def set_version_id(generation: Generation, sample_index: int) -> UUID:
    """The version that holds a set as it is now. Raises Conflict before the set is closed."""
    version_id = generation.version_ids.get(str(sample_index))
    if version_id is None:
        raise Conflict(f"Set {sample_set_name(generation.recipe, sample_index)} is not closed yet.")
    return UUID(version_id)


def accepted_samples(session: Session, generation_id: UUID, sample_index: int) -> list[Sample]:
    """The accepted samples of one set, in the order of their sources."""
    query = select(Sample).join(Pair, col(Sample.source_pair_id) == col(Pair.id)).order_by(col(Pair.position))
    return list(session.exec(query.where(*_accepted(generation_id, sample_index))))


def count_accepted(session: Session, generation_id: UUID, sample_index: int) -> int:
    """How many samples of one set are accepted."""
    return session.exec(select(func.count()).select_from(Sample).where(*_accepted(generation_id, sample_index))).one()


def accepted_after(
    session: Session, generation_id: UUID, sample_index: int, position: int, limit: int
) -> list[tuple[Sample, int]]:
    """The next accepted samples of one set, each with its source's position, by which they are walked."""
    query = select(Sample, Pair.position).join(Pair, col(Sample.source_pair_id) == col(Pair.id))
    query = query.where(*_accepted(generation_id, sample_index), Pair.position > position)
    return list(session.exec(query.order_by(col(Pair.position)).limit(limit)))


def drawn_samples(session: Session, generation_id: UUID, sample_index: int, count: int, seed: int) -> list[Sample]:
    """At most `count` accepted samples of one set, in the order of their sources, drawn by the seed."""
    query = select(Sample, Pair.position).join(Pair, col(Sample.source_pair_id) == col(Pair.id))
    query = query.where(*_accepted(generation_id, sample_index)).order_by(drawing_order(seed)).limit(count)
    return [sample for sample, _ in sorted(session.exec(query), key=lambda found: found[1])]


def regions_by_source(
    session: Session, generation_id: UUID, sample_index: int, sources: Sequence[Pair]
) -> dict[UUID, str]:
    """Of each of these sources with an accepted sample in the set the object that holds what was redrawn of it."""
    query = select(Sample.source_pair_id, Sample.region_digest).where(
        *_accepted(generation_id, sample_index), among(col(Sample.source_pair_id), (pair.id for pair in sources))
    )
    return dict(session.exec(query).all())


def _accepted(generation_id: UUID, sample_index: int) -> tuple[ColumnElement[bool], ...]:
    return (
        col(Sample.generation_id) == generation_id,
        col(Sample.sample_index) == sample_index,
        col(Sample.accepted).is_(True),
    )


def _others_are_unfinished(session: Session, generation_id: UUID, job_id: UUID) -> bool:
    """Whether another generate or style job of the generation is still to end.

    Asked at the end of each of them, so it looks for one, in the words of the index `job_of_generation`.
    """
    unfinished = (
        select(Job.id)
        .where(text("kind IN ('generate', 'style') AND status <> 'succeeded'"))
        .where(literal_column("spec ->> 'generation_id'") == str(generation_id), col(Job.id) != job_id)
    )
    return session.exec(unfinished.limit(1)).first() is not None


def _take_the_time(session: Session) -> None:
    """A set of a million samples takes longer to write than a statement usually may."""
    session.execute(text(f"SET LOCAL statement_timeout = '{CLOSING_MINUTES}min'"))


def _counts(session: Session, generation_id: UUID, sample_index: int | None = None) -> dict[str, Any]:
    """How many samples were asked for, accepted, and rejected by reason: of a generation, or of one set."""
    query = select(Sample.accepted, Sample.rejection_reason, func.count()).where(Sample.generation_id == generation_id)
    if sample_index is not None:
        query = query.where(Sample.sample_index == sample_index)
    rows = session.exec(query.group_by(col(Sample.accepted), col(Sample.rejection_reason))).all()
    rejected = {reason: count for accepted, reason, count in rows if not accepted}
    return {
        "requested": sum(count for _, _, count in rows),
        "accepted": sum(count for accepted, _, count in rows if accepted),
        "rejected": dict(sorted(rejected.items(), key=str)),
    }


def _close_set(session: Session, generation: Generation, index: int) -> DatasetVersion:
    """The accepted samples of one index as a version; each keeps its source's name. Postgres copies the rows."""
    content = _Content.of(session, generation.id, index)
    number = session.exec(
        select(func.coalesce(func.max(DatasetVersion.number), 0)).where(
            DatasetVersion.dataset_id == generation.dataset_id
        )
    ).one()
    version = DatasetVersion(
        dataset_id=generation.dataset_id,
        number=number + 1,
        label=sample_set_name(generation.recipe, index),
        origin=Origin.SYNTHETIC,
        pair_count=content.count,
        digest=content.digest,
        class_names=session.get_one(DatasetVersion, generation.source_version_id).class_names,
        report=_counts(session, generation.id, index),
        provenance={
            "generation_id": str(generation.id),
            "source_version_id": str(generation.source_version_id),
            "sample_index": index,
            "derived_from_patients": generation.spec["preset"]["sampling"]["redraw"] != "full",
        },
        created_by_job_id=content.first_job_id,
    )
    session.add(version)
    session.flush()
    _copy_pairs(session, generation, index, version)
    return version


@dataclass(frozen=True)
class _Content:
    """What a set holds: how many accepted samples, their digest, and the job of the first of them."""

    count: int
    digest: str
    first_job_id: UUID | None

    @classmethod
    def of(cls, session: Session, generation_id: UUID, index: int) -> "_Content":
        """Read a few thousand rows at a time."""
        query = (
            select(Sample.source_pair_id, Sample.image_digest, Sample.label_digest, Sample.job_id)
            .join(Pair, col(Sample.source_pair_id) == col(Pair.id))
            .where(*_accepted(generation_id, index))
            .order_by(col(Pair.position))
        )
        count, sha, first_job_id = 0, sha256(), None
        for source, image, label, job_id in session.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}):
            sha.update(f"{source} {index} {image} {label}\n".encode())
            count, first_job_id = count + 1, first_job_id or job_id
        return cls(count, sha.hexdigest(), first_job_id)


def _copy_pairs(session: Session, generation: Generation, index: int, version: DatasetVersion) -> None:
    side_px = int(generation.spec["preset"]["network"]["side_px"])
    columns: dict[str, Any] = {
        "id": func.gen_random_uuid(),
        "version_id": literal(version.id),
        "position": func.row_number().over(order_by=col(Pair.position)) - 1,
        "name": col(Pair.name).concat(f"~{index}"),
        "image_digest": col(Sample.image_digest),
        "label_digest": col(Sample.label_digest),
        "thumbnail_digest": col(Sample.thumbnail_digest),
        "overlay_digest": col(Sample.overlay_digest),
        "width_px": literal(side_px),
        "height_px": literal(side_px),
        "lesion_fraction": col(Sample.lesion_fraction),
        "lesion_count": col(Sample.lesion_count),
    }
    rows = sa_select(*columns.values()).join(Pair, col(Sample.source_pair_id) == col(Pair.id))
    session.execute(insert(Pair).from_select(list(columns), rows.where(*_accepted(generation.id, index))))
