"""What was uploaded in parts becomes one file again, for the jobs that read it."""

from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from sqlmodel import Session, col, select

from segsmith_shared.database.tables import Upload, UploadPart
from segsmith_shared.problems import Conflict, NotFound, Problem
from segsmith_shared.storage.objects import Digest, ObjectStore


class UploadDamaged(Problem):
    """The stored parts do not add up to the file that was closed."""

    status = 500
    title = "The upload is damaged"


def closed_upload(session: Session, upload_id: UUID, dataset_id: UUID | None) -> tuple[Upload, list[UploadPart]]:
    """A closed upload of this dataset (None: of no dataset) with its parts in order. Raises NotFound, Conflict."""
    upload = session.get(Upload, upload_id)
    if upload is None or upload.dataset_id != dataset_id:
        whose = f"Dataset {dataset_id} has" if dataset_id else "There is"
        raise NotFound(f"{whose} no upload {upload_id}.")
    if upload.closed_at is None:
        raise Conflict(f"Upload {upload.id} is not closed.", hint="Send all parts, then close it.")
    query = select(UploadPart).where(UploadPart.upload_id == upload.id).order_by(col(UploadPart.number))
    return upload, list(session.exec(query))


def fetch_upload(
    objects: ObjectStore, upload: Upload, parts: Iterable[UploadPart], file: Path, on_part: Callable[[], None]
) -> None:
    """Write the parts in a row to `file`. Whatever `on_part` raises ends it. Raises UploadDamaged."""
    digest = sha256()
    with file.open("wb") as output:
        for part in parts:
            on_part()
            for chunk in objects.open_stream(Digest(part.digest)):
                digest.update(chunk)
                output.write(chunk)
    if digest.hexdigest() != upload.sha256:
        raise UploadDamaged(
            f"Upload {upload.id} has SHA-256 {digest.hexdigest()}, not {upload.sha256}.", hint="Upload it again."
        )
