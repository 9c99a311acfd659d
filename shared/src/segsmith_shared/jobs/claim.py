"""A job as one worker holds it: everything a child process needs, and the fencing number that makes it the owner."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from segsmith_shared.database.tables import Job


@dataclass(frozen=True)
class Claim:
    """Valid while the job is running under this `fence`; any later claim has a higher one."""

    job_id: UUID
    fence: int
    pipeline_id: UUID | None
    kind: str
    name: str
    queue: str
    spec: dict[str, Any]
    slice_number: int
    slice_state: dict[str, Any] | None
    wrap_up_seconds: float

    @classmethod
    def of(cls, job: Job) -> "Claim":
        return cls(
            job.id,
            job.fence,
            job.pipeline_id,
            job.kind,
            job.name,
            job.queue,
            job.spec,
            job.slice_number,
            job.slice_state,
            job.wrap_up_seconds,
        )
