"""Generations in Postgres: whose models they use, and the moment when their samples become dataset versions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, col, select

from segsmith_shared.database.among import among
from segsmith_shared.database.pairs import drawing_order
from segsmith_shared.database.tables import (
    DatasetVersion,
    Generation,
    Job,
    JobKind,
    JobStatus,
    Model,
    Origin,
    Pair,
    Sample,
)
from segsmith_shared.pairs.agreement import LOW_AGREEMENT
from segsmith_shared.problems import Conflict

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
    unfinished = session.exec(
        select(func.count())
        .select_from(Job)
        .where(col(Job.kind).in_((JobKind.GENERATE, JobKind.STYLE)), col(Job.id) != job_id)
        .where(col(Job.status) != JobStatus.SUCCEEDED)
        .where(col(Job.spec)["generation_id"].astext == str(generation_id))
    ).one()
    if unfinished:
        return
    generation = session.get_one(Generation, generation_id, with_for_update=True)
    samples = _samples_of(session, generation_id)
    generation.counts = _counts(samples)
    generation.version_ids = {
        str(index): str(_close_set(session, generation, index, [s for s in samples if s.sample_index == index]).id)
        for index in sorted({sample.sample_index for sample in samples})
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
    generation = session.get_one(Generation, generation_id, with_for_update=True)
    for sample in session.exec(select(Sample).where(col(Sample.id).in_(sample_ids))):
        sample.accepted, sample.rejection_reason = False, reason
        session.add(sample)
    session.flush()
    samples = _samples_of(session, generation_id)
    before = session.get_one(DatasetVersion, UUID(generation.version_ids[str(sample_index)]))
    version = _close_set(session, generation, sample_index, [s for s in samples if s.sample_index == sample_index])
    checks = [*before.provenance.get("checks", []), CHECKS[reason]]
    version.label = f"{version.label} ({', '.join(checks)})"
    unchecked = before.provenance.get("unchecked_version_id", str(before.id))
    version.provenance = {**version.provenance, "checks": checks, "unchecked_version_id": unchecked}
    version.created_by_job_id = job_id
    generation.counts = _counts(samples)
    generation.version_ids = {**generation.version_ids, str(sample_index): str(version.id)}
    session.add_all([version, generation])


def store_agreements(session: Session, documents: Mapping[UUID, dict[str, Any]]) -> None:
    """Write what the judges found of each of these samples."""
    for sample in session.exec(select(Sample).where(col(Sample.id).in_(documents))):
        sample.agreement = documents[sample.id]
        session.add(sample)


def set_version_id(generation: Generation, sample_index: int) -> UUID:
    """The version that holds a set as it is now. Raises Conflict before the set is closed."""
    version_id = generation.version_ids.get(str(sample_index))
    if version_id is None:
        raise Conflict(f"Set {set_label(generation.recipe, sample_index)} is not closed yet.")
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


def set_label(recipe: str, sample_index: int) -> str:
    """Diff-2 for the second sample of each source of recipe Diff (paper: Diff-N)."""
    return f"{recipe}-{sample_index}"


def _accepted(generation_id: UUID, sample_index: int) -> tuple[ColumnElement[bool], ...]:
    return (
        col(Sample.generation_id) == generation_id,
        col(Sample.sample_index) == sample_index,
        col(Sample.accepted).is_(True),
    )


def _samples_of(session: Session, generation_id: UUID) -> list[Sample]:
    query = select(Sample).join(Pair, col(Sample.source_pair_id) == col(Pair.id))
    query = query.where(Sample.generation_id == generation_id).order_by(col(Sample.sample_index), col(Pair.position))
    return list(session.exec(query))


def _counts(samples: list[Sample]) -> dict[str, Any]:
    rejected = Counter(sample.rejection_reason for sample in samples if not sample.accepted)
    return {
        "requested": len(samples),
        "accepted": sum(sample.accepted for sample in samples),
        "rejected": dict(sorted(rejected.items(), key=str)),
    }


def _close_set(session: Session, generation: Generation, index: int, samples: list[Sample]) -> DatasetVersion:
    """The accepted samples of one index as a version; each keeps its source's name."""
    accepted = [sample for sample in samples if sample.accepted]
    names = _source_names(session, accepted)
    number = session.exec(
        select(func.coalesce(func.max(DatasetVersion.number), 0)).where(
            DatasetVersion.dataset_id == generation.dataset_id
        )
    ).one()
    side_px = int(generation.spec["preset"]["network"]["side_px"])
    version = DatasetVersion(
        dataset_id=generation.dataset_id,
        number=number + 1,
        label=set_label(generation.recipe, index),
        origin=Origin.SYNTHETIC,
        pair_count=len(accepted),
        digest=_digest(accepted),
        report=_counts(samples),
        provenance={
            "generation_id": str(generation.id),
            "source_version_id": str(generation.source_version_id),
            "sample_index": index,
            "derived_from_patients": generation.spec["preset"]["sampling"]["redraw"] != "full",
        },
        created_by_job_id=accepted[0].job_id if accepted else None,
    )
    session.add(version)
    session.flush()
    session.add_all(
        Pair(
            version_id=version.id,
            position=position,
            name=f"{names[sample.source_pair_id]}~{index}",
            image_digest=sample.image_digest,
            label_digest=sample.label_digest,
            thumbnail_digest=sample.thumbnail_digest,
            overlay_digest=sample.overlay_digest,
            width_px=side_px,
            height_px=side_px,
            lesion_fraction=sample.lesion_fraction,
            lesion_count=sample.lesion_count,
        )
        for position, sample in enumerate(accepted)
    )
    return version


def _source_names(session: Session, samples: list[Sample]) -> dict[UUID, str]:
    ids = {sample.source_pair_id for sample in samples}
    return dict(session.exec(select(Pair.id, Pair.name).where(col(Pair.id).in_(ids))).all())


def _digest(samples: list[Sample]) -> str:
    lines = (f"{s.source_pair_id} {s.sample_index} {s.image_digest} {s.label_digest}\n" for s in samples)
    return sha256("".join(lines).encode()).hexdigest()
