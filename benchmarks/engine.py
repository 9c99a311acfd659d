"""What the job engine costs: a no-op job, a child process, and the way from a request to a claim.

Baselines: two bare commits of one row, which no durable claim-and-finish can undercut; a fresh interpreter that imports
torch, which is what a job would cost without the fork server.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from uuid import uuid4

from sqlalchemy import Engine, text
from sqlmodel import col, func, select

from segsmith_shared.database.migrate import upgrade
from segsmith_shared.database.session import engine_for, session_scope
from segsmith_shared.database.tables import Job, JobKind, JobStatus
from segsmith_shared.embedded import EmbeddedServers
from segsmith_shared.embedded.supervise import leashed
from segsmith_shared.jobs import plan, states
from segsmith_shared.jobs.bell import ring
from segsmith_shared.jobs.child import CONTEXT, start_fork_server
from segsmith_shared.jobs.outcomes import Finished
from segsmith_shared.jobs.probe import ProbeSpec
from segsmith_shared.plans.pipeline import PlannedJob

NO_OP_JOBS = 400
CHILDREN = 12
REQUESTS = 15
WORKER = "from segsmith_shared.jobs.worker import serve; serve('cpu', {'probe': 'segsmith_shared.jobs.probe:run'}, [])"


def measure() -> dict[str, float | str]:
    """The figures; Postgres is the embedded one, with fsync on."""
    with _servers() as environment:
        engine = engine_for(environment["DATABASE_URL"])
        jobs_per_second = _no_op_jobs_per_second(engine)
        commits_per_second = _bare_commit_pairs_per_second(engine)
        latencies = _request_latencies(engine, environment)
        engine.dispose()
    child_seconds, fresh_seconds = _child_start_seconds(), _fresh_interpreter_seconds()
    return {
        "no_op_jobs_per_second": jobs_per_second,
        "bare_commit_pairs_per_second": commits_per_second,
        "no_op_jobs_against_bare_commits_ratio": jobs_per_second / commits_per_second,
        "child_start_seconds": child_seconds,
        "fresh_interpreter_with_torch_seconds": fresh_seconds,
        "child_start_ratio": fresh_seconds / child_seconds,
        "submit_to_claimed_seconds": latencies[0],
        "submit_to_finished_seconds": latencies[1],
    }


def _no_op_jobs_per_second(engine: Engine) -> float:
    """Claim to finish, one worker, no child process; the jobs are of one pipeline's size and have no needs."""
    with session_scope(engine) as session:
        plan.submit(session, [_probe() for _ in range(NO_OP_JOBS)])
    began = time.perf_counter()
    done = 0
    while _claim_and_finish(engine):
        done += 1
    assert done == NO_OP_JOBS
    return done / (time.perf_counter() - began)


def _claim_and_finish(engine: Engine) -> bool:
    with session_scope(engine) as session:
        claim = states.claim(session, "cpu", "benchmark")
    if claim is None:
        return False
    with session_scope(engine) as session:
        states.write_outcome(session, claim, Finished())
    return True


def _bare_commit_pairs_per_second(engine: Engine) -> float:
    touch = text("UPDATE alembic_version SET version_num = version_num")
    began = time.perf_counter()
    for _ in range(2 * NO_OP_JOBS):
        with engine.begin() as connection:
            connection.execute(touch)
    return NO_OP_JOBS / (time.perf_counter() - began)


def _request_latencies(engine: Engine, environment: Mapping[str, str]) -> tuple[float, float]:
    """Medians from before the request's transaction to the claim and to the end, with an idle worker that listens."""
    to_claimed, to_finished = [], []
    with _worker(environment):
        for number in range(REQUESTS + 1):
            began = time.time()
            with session_scope(engine) as session:
                (job,) = plan.submit(session, [_probe()])
            ring("cpu", redis_url=environment["REDIS_URL"])
            ended = _wait_for(engine, job)
            assert ended.claimed_at
            assert ended.finished_at
            if number:  # the first finds the worker still starting
                to_claimed.append(ended.claimed_at.timestamp() - began)
                to_finished.append(ended.finished_at.timestamp() - began)
    return median(to_claimed), median(to_finished)


def _child_start_seconds() -> float:
    """From `start()` to the child's first line, out of a fork server that has imported torch."""
    start_fork_server(["torch", "benchmarks.engine"])
    return median([_one_child_seconds() for _ in range(CHILDREN + 1)][1:])


def _one_child_seconds() -> float:
    reader, writer = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=_tell_the_time, args=(writer,))
    began = time.monotonic()
    child.start()
    seconds: float = reader.recv() - began
    child.join()
    return seconds


def _tell_the_time(writer: Connection) -> None:
    writer.send(time.monotonic())


def _fresh_interpreter_seconds() -> float:
    def once() -> float:
        began = time.monotonic()
        tell = "import torch, time; print(time.monotonic())"
        told = subprocess.run([sys.executable, "-c", tell], capture_output=True, text=True, check=True).stdout
        return float(told) - began

    return median([once() for _ in range(3)])


@contextmanager
def _servers() -> Iterator[Mapping[str, str]]:
    with tempfile.TemporaryDirectory(prefix="segsmith-bench-") as name:
        Path(name).chmod(0o711)  # Postgres may run under another account, and passes through
        with EmbeddedServers.start(Path(name) / "data") as servers:
            upgrade(servers.environment["DATABASE_URL"])
            yield servers.environment


@contextmanager
def _worker(environment: Mapping[str, str]) -> Iterator[None]:
    command = leashed([sys.executable, "-c", WORKER], signal.SIGKILL)
    variables = os.environ | environment | {"LOG_LEVEL": "WARNING"}
    worker = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL)  # stdout carries our figures
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(60)


def _wait_for(engine: Engine, job: Job, timeout_seconds: float = 120.0) -> Job:
    deadline = time.monotonic() + timeout_seconds
    finished = select(Job).where(col(Job.id) == job.id, col(Job.status) == JobStatus.SUCCEEDED)
    while time.monotonic() < deadline:
        with session_scope(engine) as session:
            if found := session.exec(finished).one_or_none():
                return found
            session.exec(select(func.pg_sleep(0.02))).one()
    raise TimeoutError(f"job {job.id} did not finish")


def _probe() -> PlannedJob:
    return PlannedJob(uuid4(), JobKind.PROBE, "no-op", "cpu", ProbeSpec(steps=0))
