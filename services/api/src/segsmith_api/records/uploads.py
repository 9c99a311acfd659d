"""Uploads in Postgres: which parts are there, and the one moment in which an upload becomes an import job."""

from collections.abc import Sequence
from uuid import UUID, uuid5

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from segsmith_api.answers import UploadAnswer
from segsmith_api.records.finding import check_exists, find
from segsmith_shared.database.tables import Dataset, Upload, UploadPart
from segsmith_shared.database.tables.columns import now
from segsmith_shared.problems import Conflict, InvalidInput, NotFound

SHOWN_MISSING = 20


class UploadIncomplete(Conflict):
    """Parts of the upload have not arrived."""

    title = "Parts of the upload are missing"


class UploadClosed(Conflict):
    """The upload was closed before; its import has begun."""

    title = "The upload is closed"


class PartsChanged(Conflict):
    """A part was sent again while the upload was being closed."""

    title = "The upload changed while it was checked"


class WrongOrder(InvalidInput):
    """What was uploaded to a dataset is imported as pairs; what was not, as weights or as a model."""

    title = "The upload is for something else"


def create(session: Session, dataset_id: UUID | None, filename: str, size_bytes: int, part_bytes: int) -> UploadAnswer:
    if dataset_id is not None:
        check_exists(session, Dataset, dataset_id, noun="dataset")
    row = Upload(dataset_id=dataset_id, filename=filename, size_bytes=size_bytes, part_bytes=part_bytes)
    session.add(row)
    session.flush()
    return shown(session, row)


def get(session: Session, upload_id: UUID, *, for_update: bool = False) -> Upload:
    return find(session, Upload, upload_id, noun="upload", for_update=for_update)


def shown(session: Session, row: Upload) -> UploadAnswer:
    return UploadAnswer.of(
        row, parts_of(session, row.id), part_count(row), import_job_id(row) if row.closed_at else None
    )


def parts_of(session: Session, upload_id: UUID) -> list[UploadPart]:
    query = select(UploadPart).where(UploadPart.upload_id == upload_id).order_by(col(UploadPart.number))
    return list(session.exec(query))


def part_count(row: Upload) -> int:
    return -(-row.size_bytes // row.part_bytes)


def expected_size_bytes(row: Upload, number: int) -> int:
    """The exact size of a part. Raises NotFound for a number the upload does not have."""
    count = part_count(row)
    if number >= count:
        raise NotFound(f"Upload {row.id} has parts 0 to {count - 1}, not {number}.")
    return min(row.part_bytes, row.size_bytes - number * row.part_bytes)


def check_open(row: Upload) -> None:
    """Raises UploadClosed, naming the import job."""
    if row.closed_at is not None:
        job_id = import_job_id(row)
        raise UploadClosed(
            f"The upload was closed at {row.closed_at.isoformat()}.",
            hint=f"Follow job {job_id}.",
            job_id=str(job_id),
        )


def store_part(session: Session, part: UploadPart) -> None:
    """Writes the part's row, or replaces it. The upload's row is locked, so that closing sees all or nothing of it."""
    check_open(get(session, part.upload_id, for_update=True))
    values = part.model_dump()
    changed = {name: values[name] for name in ("size_bytes", "digest")}
    session.execute(
        insert(UploadPart).values(**values).on_conflict_do_update(index_elements=["upload_id", "number"], set_=changed)
    )


def check_complete(row: Upload, parts: Sequence[UploadPart]) -> None:
    """Raises UploadIncomplete with the first missing numbers."""
    there = {part.number for part in parts}
    missing = [number for number in range(part_count(row)) if number not in there]
    if missing:
        raise UploadIncomplete(
            f"{len(missing)} of {part_count(row)} parts have not arrived.",
            hint="Send them; GET the upload lists all that are missing.",
            missing=missing[:SHOWN_MISSING],
        )


def close(session: Session, upload_id: UUID, sha256: str, checked: Sequence[UploadPart]) -> Upload:
    """Marks the upload closed with the digest that was taken over the `checked` parts."""
    row = get(session, upload_id, for_update=True)
    check_open(row)
    if [part.digest for part in parts_of(session, upload_id)] != [part.digest for part in checked]:
        raise PartsChanged("A part was replaced while the upload was being closed.", hint="Close it again.")
    row.sha256 = sha256
    row.closed_at = now()
    session.add(row)
    session.flush()
    return row


def import_job_id(row: Upload) -> UUID:
    """The id that the job importing this upload has or will have: there can be only one."""
    return uuid5(row.id, "import")


def check_size(size_bytes: int, maximum_bytes: int) -> None:
    """Raises InvalidInput when an archive is larger than this installation takes."""
    if size_bytes > maximum_bytes:
        raise InvalidInput(
            f"{size_bytes} bytes are more than the {maximum_bytes} an upload may have here.",
            hint="Split the dataset, or raise MAXIMUM_UPLOAD_BYTES.",
        )
