"""Uploads: a file arrives in parts, in any order, each as often as need be; closing it begins its import."""

import tempfile
from pathlib import Path as FilePath
from typing import Annotated
from uuid import UUID

from anyio import to_thread
from fastapi import Header, Path, Request, Response
from sqlmodel import Session

from segsmith_api.answers import JobDetail, PartAnswer, UploadAnswer
from segsmith_api.bodies import CloseUpload, NewUpload
from segsmith_api.dependencies import Here, OnceOnly, Reading
from segsmith_api.idempotency import Once, Reply
from segsmith_api.import_orders import check_order, import_job
from segsmith_api.incoming import receive_part, sha256_in, sha256_of_parts
from segsmith_api.installation import Installation
from segsmith_api.metrics import UPLOADED_BYTES
from segsmith_api.records import jobs, uploads
from segsmith_api.routes import router_of
from segsmith_shared.database.tables import UploadPart
from segsmith_shared.jobs.plan import submit

router = router_of("uploads")

PART_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post("/datasets/{dataset_id}/uploads", status_code=201, response_model=UploadAnswer)
def create_upload(dataset_id: UUID, body: NewUpload, here: Here, once: OnceOnly) -> Response:
    """Announce an archive; the answer says how long its parts are."""
    return _begin(dataset_id, body, here, once)


@router.post("/uploads", status_code=201, response_model=UploadAnswer)
def create_weights_upload(body: NewUpload, here: Here, once: OnceOnly) -> Response:
    """Announce a pretrained file, a bundle of them, or a model; the answer says how long its parts are."""
    return _begin(None, body, here, once)


@router.get("/uploads/{upload_id}")
def get_upload(upload_id: UUID, session: Reading) -> UploadAnswer:
    """Which parts are there: an upload that was cut off goes on with those `missing`."""
    return uploads.shown(session, uploads.get(session, upload_id))


@router.put("/uploads/{upload_id}/parts/{number}", openapi_extra=PART_BODY)
async def put_part(
    upload_id: UUID,
    number: Annotated[int, Path(ge=0, lt=2**31)],
    request: Request,
    here: Here,
    content_digest: Annotated[str | None, Header(description="RFC 9530, e.g. `sha-256=:BASE64:`")] = None,
) -> PartAnswer:
    """Send one part as it is. Sending it again replaces it, until the upload is closed."""
    promised = sha256_in(content_digest)
    size_bytes = await to_thread.run_sync(_expected_size, here, upload_id, number)
    with tempfile.NamedTemporaryFile(prefix="segsmith-part-") as file:
        digest = await receive_part(request, file, size_bytes, promised)
        part = UploadPart(upload_id=upload_id, number=number, size_bytes=size_bytes, digest=digest)
        await to_thread.run_sync(_store, here, FilePath(file.name), part, limiter=here.storing)
    UPLOADED_BYTES.inc(size_bytes)
    return PartAnswer.of(part)


@router.post("/uploads/{upload_id}/close", status_code=202, response_model=JobDetail)
async def close_upload(upload_id: UUID, body: CloseUpload, here: Here, once: OnceOnly) -> Response:
    """Check the whole file's SHA-256 and begin its import. Reading many gigabytes takes minutes; wait for it."""
    if known := await to_thread.run_sync(once.known):
        return known
    try:
        parts = await to_thread.run_sync(_verify, here, upload_id, body, limiter=here.closing)
    except uploads.UploadClosed:
        if known := await to_thread.run_sync(once.known):  # closed meanwhile by this very request, sent twice
            return known
        raise

    def work(session: Session) -> Reply:
        row = uploads.close(session, upload_id, body.sha256, parts)
        job = import_job(uploads.import_job_id(row), row, body)
        submit(session, [job])
        return Reply(202, jobs.detail(session, job.id), f"/v1/jobs/{job.id}", {job.queue: 1})

    return await to_thread.run_sync(once, work)


def _begin(dataset_id: UUID | None, body: NewUpload, here: Installation, once: Once) -> Response:
    uploads.check_size(body.size_bytes, here.settings.maximum_upload_bytes)

    def work(session: Session) -> Reply:
        part_bytes = here.settings.upload_part_bytes
        answer = uploads.create(session, dataset_id, body.filename, body.size_bytes, part_bytes)
        return Reply(201, answer, f"/v1/uploads/{answer.id}")

    return once(work)


def _expected_size(here: Installation, upload_id: UUID, number: int) -> int:
    with here.transaction() as session:
        row = uploads.get(session, upload_id)
        uploads.check_open(row)
        return uploads.expected_size_bytes(row, number)


def _store(here: Installation, path: FilePath, part: UploadPart) -> None:
    """Object first, row second: a row never names bytes that are not there."""
    here.objects.put_file(path)
    with here.transaction() as session:
        uploads.store_part(session, part)


def _verify(here: Installation, upload_id: UUID, body: CloseUpload) -> list[UploadPart]:
    """The parts, once their bytes in a row have the promised digest. Holds no connection while it reads."""
    with here.transaction() as session:
        row = uploads.get(session, upload_id)
        uploads.check_open(row)
        check_order(row, body)
        parts = uploads.parts_of(session, upload_id)
    uploads.check_complete(row, parts)
    sha256_of_parts(here.objects, [part.digest for part in parts], body.sha256)
    return parts
