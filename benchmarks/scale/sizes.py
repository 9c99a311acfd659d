"""How large the simulated installation is."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Size:
    """Rows to load and workers to simulate.

    One large pipeline: `clusters` trainings of which half are done, `generate_jobs` that need them all, and
    `waiting_jobs` behind those, which are older than the trainings and so stand before them in the queue. Beside it
    `ended_pipelines` of 1,000 jobs each.
    """

    pairs: int
    clusters: int
    generate_jobs: int
    waiting_jobs: int
    ended_pipelines: int
    workers: int
    worker_processes: int
    claimed_jobs: int
    claim_seconds: float
    stored_objects: int

    @property
    def jobs(self) -> int:
        return 3 + self.clusters + self.generate_jobs + self.waiting_jobs + 1000 * self.ended_pipelines


_FULL = Size(
    pairs=1_000_000,
    clusters=1000,
    generate_jobs=64,
    waiting_jobs=68_933,
    ended_pipelines=30,
    workers=200,
    worker_processes=4,
    claimed_jobs=4000,
    claim_seconds=40.0,
    stored_objects=3000,
)
SIZES = {
    "small": Size(
        pairs=1500,
        clusters=20,
        generate_jobs=8,
        waiting_jobs=300,
        ended_pipelines=1,
        workers=8,
        worker_processes=2,
        claimed_jobs=60,
        claim_seconds=10.0,
        stored_objects=40,
    ),
    "jobs": replace(_FULL, pairs=10_000),
    "full": _FULL,
}
"""`jobs` has all the jobs and few of the pairs: minutes less, for claims."""
