"""An uploaded weight file on this machine's disk, for the steps that read one."""

from pathlib import Path
from uuid import UUID

from segsmith_shared.database.tables import Upload
from segsmith_shared.jobs.context import StepContext
from segsmith_shared.storage.uploads import closed_upload, fetch_upload


class StopAsked(Exception):
    """Nothing is kept of an import that is stopped; it starts again."""


def go_on_or_stop(context: StepContext) -> None:
    """Raises StopAsked when somebody wants the job to end."""
    if context.stop_requested():
        raise StopAsked


def fetched(context: StepContext, upload_id: UUID, file: Path) -> Upload:
    """Write a closed upload of no dataset to `file`, its digest checked. Raises StopAsked, NotFound, UploadDamaged."""
    with context.reading() as session:
        upload, parts = closed_upload(session, upload_id, None)
    fetch_upload(context.objects, upload, parts, file, on_part=lambda: go_on_or_stop(context))
    return upload
