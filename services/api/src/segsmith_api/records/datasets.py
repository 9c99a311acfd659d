"""Datasets, their versions and pairs in Postgres."""

from uuid import UUID

from sqlalchemy import func
from sqlmodel import Session, col, select

from segsmith_api.answers import DatasetAnswer, PairAnswer, VersionAnswer
from segsmith_api.pagination import Order, Page, PageRequest, newest_first, page_of
from segsmith_api.records.finding import check_exists, find
from segsmith_shared.database.tables import Dataset, DatasetVersion, Pair


def create(session: Session, name: str, description: str) -> DatasetAnswer:
    row = Dataset(name=name, description=description)
    session.add(row)
    session.flush()
    return DatasetAnswer.of(row)


def get(session: Session, dataset_id: UUID) -> DatasetAnswer:
    return _shown(session, [find(session, Dataset, dataset_id, noun="dataset")])[0]


def page(session: Session, asked: PageRequest) -> Page[DatasetAnswer]:
    return page_of(session, select(Dataset), newest_first(Dataset), asked, lambda rows: _shown(session, rows))


def version(session: Session, version_id: UUID) -> DatasetVersion:
    return find(session, DatasetVersion, version_id, noun="dataset version")


def versions_page(
    session: Session, asked: PageRequest, *, dataset_id: UUID | None = None, created_by_job_id: UUID | None = None
) -> Page[VersionAnswer]:
    query = select(DatasetVersion)
    if dataset_id is not None:
        check_exists(session, Dataset, dataset_id, noun="dataset")
        query = query.where(DatasetVersion.dataset_id == dataset_id)
    if created_by_job_id is not None:
        query = query.where(DatasetVersion.created_by_job_id == created_by_job_id)
    return page_of(
        session,
        query,
        newest_first(DatasetVersion),
        asked,
        lambda rows: [VersionAnswer.model_validate(r) for r in rows],
    )


def pair(session: Session, pair_id: UUID) -> Pair:
    return find(session, Pair, pair_id, noun="pair")


def pairs_page(session: Session, asked: PageRequest, version_id: UUID, name: str | None) -> Page[PairAnswer]:
    check_exists(session, DatasetVersion, version_id, noun="dataset version")
    query = select(Pair).where(Pair.version_id == version_id)
    if name is not None:
        query = query.where(Pair.name == name)
    return page_of(session, query, (Order(Pair.position),), asked, lambda rows: [PairAnswer.of(row) for row in rows])


def pairs_after(session: Session, version_id: UUID, position: int, limit: int) -> list[Pair]:
    """The next pairs of a version by position: a download walks them in short reads."""
    query = select(Pair).where(Pair.version_id == version_id, Pair.position > position)
    return list(session.exec(query.order_by(col(Pair.position)).limit(limit)))


def _shown(session: Session, rows: list[Dataset]) -> list[DatasetAnswer]:
    """With how many versions each has and which is the newest, in one query for all."""
    query = (
        select(
            DatasetVersion.dataset_id,
            func.count(),
            func.array_agg(col(DatasetVersion.id).op("ORDER BY")(col(DatasetVersion.number).desc())),
        )
        .where(col(DatasetVersion.dataset_id).in_([row.id for row in rows]))
        .group_by(col(DatasetVersion.dataset_id))
    )
    known = {dataset_id: (count, ids[0]) for dataset_id, count, ids in session.exec(query)}
    return [DatasetAnswer.of(row, *known.get(row.id, (0, None))) for row in rows]
