"""Many workers at once: each claims, beats and finishes as a worker does, on a connection of its own."""

import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from uuid import uuid4

import numpy as np
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from benchmarks.scale.sizes import Size
from segsmith_shared.database.session import engine_for, session_scope
from segsmith_shared.database.tables import JobKind
from segsmith_shared.jobs import plan, queue, states
from segsmith_shared.jobs.heartbeat import BEAT
from segsmith_shared.jobs.outcomes import Finished
from segsmith_shared.jobs.probe import ProbeSpec
from segsmith_shared.plans.pipeline import PlannedJob

QUEUE = "gpu"


@dataclass(frozen=True)
class Claimed:
    """What all workers did together; seconds of single claims as quantiles."""

    workers: int
    claims: int
    seconds: float
    claims_per_second: float
    claim_median_seconds: float
    claim_p95_seconds: float
    finish_p95_seconds: float
    refusals: int


@dataclass(frozen=True)
class _Part:
    """What one process's workers did: seconds of claims, of finishes, and in all."""

    claims: list[float]
    finishes: list[float]
    refusals: int
    seconds: float


def measure(url: str, size: Size) -> Claimed:
    """Queue probes behind what is queued already, and let `workers` take them from each other for a while."""
    engine = engine_for(url)
    with session_scope(engine) as session:
        jobs = [
            PlannedJob(uuid4(), JobKind.PROBE, "probe", QUEUE, ProbeSpec(steps=0)) for _ in range(size.claimed_jobs)
        ]
        plan.submit(session, jobs)
    engine.dispose()
    each = size.workers // size.worker_processes
    with ProcessPoolExecutor(size.worker_processes, mp_context=get_context("spawn")) as pool:
        began = time.perf_counter()
        parts = list(pool.map(_shift, [(url, each, size.claim_seconds)] * size.worker_processes))
    seconds = max(part.seconds for part in parts)
    claims, finishes = (np.concatenate(times) for times in zip(*((p.claims, p.finishes) for p in parts), strict=True))
    assert time.perf_counter() - began >= seconds
    return Claimed(
        workers=each * size.worker_processes,
        claims=len(claims),
        seconds=seconds,
        claims_per_second=len(claims) / seconds,
        claim_median_seconds=float(np.median(claims)),
        claim_p95_seconds=float(np.quantile(claims, 0.95)),
        finish_p95_seconds=float(np.quantile(finishes, 0.95)),
        refusals=sum(part.refusals for part in parts),
    )


def _shift(order: tuple[str, int, float]) -> _Part:
    """One process's workers, until nothing can be claimed or time is over."""
    url, workers, seconds = order
    engine = engine_for(url, pool_size=workers, application="segsmith bench worker")
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda _: _connect(engine), range(workers)))
        began = time.perf_counter()
        found = list(pool.map(lambda number: _work(engine, f"bench {number}", began + seconds), range(workers)))
    ended = time.perf_counter() - began
    engine.dispose()
    claims = [took for times, _, _ in found for took in times]
    finishes = [took for _, times, _ in found for took in times]
    return _Part(claims, finishes, sum(refusals for _, _, refusals in found), ended)


def _connect(engine: Engine) -> None:
    with session_scope(engine) as session:
        session.connection()


def _work(engine: Engine, name: str, until: float) -> tuple[list[float], list[float], int]:
    """Seconds of each claim and of each finish, and how often the database refused; then a worker tries again."""
    claims: list[float] = []
    finishes: list[float] = []
    refusals = 0
    while time.perf_counter() < until:
        try:
            if not _round(engine, name, claims, finishes):
                break
        except OperationalError:
            refusals += 1
    return claims, finishes, refusals


def _round(engine: Engine, name: str, claims: list[float], finishes: list[float]) -> bool:
    """Claim, beat, finish, and look what else can start; False where nothing could be claimed."""
    began = time.perf_counter()
    with session_scope(engine) as session:
        claim = states.claim(session, QUEUE, name)
    if claim is None:
        return False
    claims.append(time.perf_counter() - began)
    with session_scope(engine) as session:
        _beat(session, claim.job_id, claim.fence)
    began = time.perf_counter()
    with session_scope(engine) as session:
        states.write_outcome(session, claim, Finished())
    finishes.append(time.perf_counter() - began)
    with session_scope(engine) as session:
        queue.claimable_counts(session)
    return True


def _beat(session: Session, job_id: object, fence: int) -> None:
    values = {"job_id": job_id, "fence": fence, "peak_memory_bytes": 1}
    session.connection().connection.cursor().execute(BEAT, values)
