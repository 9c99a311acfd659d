"""Datasets and their versions."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response
from fastapi.responses import JSONResponse, StreamingResponse
from sqlmodel import Session

from segsmith_api.answers import DatasetAnswer, SplitAnswer, VersionAnswer
from segsmith_api.archive import archive_of
from segsmith_api.bodies import NewDataset, NewSplit
from segsmith_api.dependencies import Here, OnceOnly, Paged, Reading
from segsmith_api.idempotency import Reply
from segsmith_api.object_responses import download
from segsmith_api.pagination import Page
from segsmith_api.records import datasets, splits
from segsmith_api.routes import router_of

router = router_of("datasets")


@router.post("/datasets", status_code=201, response_model=DatasetAnswer)
def create_dataset(body: NewDataset, once: OnceOnly) -> Response:
    """Create an empty dataset; upload an archive next."""

    def work(session: Session) -> Reply:
        answer = datasets.create(session, body.name, body.description)
        return Reply(201, answer, f"/v1/datasets/{answer.id}")

    return once(work)


@router.get("/datasets")
def list_datasets(session: Reading, asked: Paged) -> Page[DatasetAnswer]:
    """Datasets, newest first."""
    return datasets.page(session, asked)


@router.get("/datasets/{dataset_id}")
def get_dataset(dataset_id: UUID, session: Reading) -> DatasetAnswer:
    """One dataset."""
    return datasets.get(session, dataset_id)


@router.get("/datasets/{dataset_id}/versions")
def list_versions_of_dataset(dataset_id: UUID, session: Reading, asked: Paged) -> Page[VersionAnswer]:
    """A dataset's versions, newest first."""
    return datasets.versions_page(session, asked, dataset_id=dataset_id)


@router.get("/versions")
def list_versions(
    session: Reading,
    asked: Paged,
    created_by_job_id: Annotated[UUID | None, Query(description="e.g. an import job")] = None,
) -> Page[VersionAnswer]:
    """Versions of all datasets, newest first."""
    return datasets.versions_page(session, asked, created_by_job_id=created_by_job_id)


@router.get("/versions/{version_id}")
def get_version(version_id: UUID, session: Reading) -> VersionAnswer:
    """One version; it never changes."""
    return VersionAnswer.model_validate(datasets.version(session, version_id))


@router.get("/versions/{version_id}/report")
def get_version_report(version_id: UUID, session: Reading) -> JSONResponse:
    """What the import found: counts, and every file that was left out, with the reason."""
    return JSONResponse(datasets.version(session, version_id).report)


@router.get("/versions/{version_id}/archive", response_class=StreamingResponse)
def download_version(version_id: UUID, here: Here, session: Reading) -> StreamingResponse:
    """A zip with `images/`, `masks/`, `provenance.jsonl` and, for labels of classes, `classes.json`, made as sent."""
    version = datasets.version(session, version_id)
    return download(archive_of(here, version), "application/zip", f"{version.label or 'version'}-{version.number}.zip")


@router.post("/versions/{version_id}/splits", status_code=201, response_model=SplitAnswer)
def create_split(version_id: UUID, body: NewSplit, once: OnceOnly) -> Response:
    """Divide a version, by names or by seeded fractions."""

    def work(session: Session) -> Reply:
        answer = splits.create(session, version_id, body)
        return Reply(201, answer, f"/v1/splits/{answer.id}")

    return once(work)


@router.get("/versions/{version_id}/splits")
def list_splits(version_id: UUID, session: Reading, asked: Paged) -> Page[SplitAnswer]:
    """A version's splits, newest first."""
    return splits.page(session, asked, version_id)


@router.get("/splits/{split_id}")
def get_split(split_id: UUID, session: Reading) -> SplitAnswer:
    """One split."""
    return splits.get(session, split_id)
