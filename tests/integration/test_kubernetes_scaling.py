"""What KEDA counts, asked of a real database: exactly the jobs for which a GPU worker is needed now."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
import yaml
from psycopg import sql
from sqlalchemy import Engine, make_url, text, update
from sqlmodel import col, select

from segsmith_shared.database.session import libpq_url, session_scope
from segsmith_shared.database.tables import Job, JobDependency, JobKind, JobStatus
from segsmith_shared.jobs import queue
from tests.fixtures.manifests import K8S

SCALED = K8S / "overlays" / "keda" / "scaled" / "scaled-job.yaml"
DOCS = K8S.parent / "docs" / "kubernetes.md"


@pytest.fixture(scope="module")
def query() -> str:
    scaled = next(yaml.safe_load_all(SCALED.read_text()))
    (trigger,) = scaled["spec"]["triggers"]
    return str(trigger["metadata"]["query"])


class Office:
    """Writes jobs as they may stand at some moment, and counts them as KEDA would."""

    def __init__(self, engine: Engine, query: str) -> None:
        self._engine = engine
        self._query = text(query)

    def job(
        self, status: JobStatus = JobStatus.QUEUED, *, queue: str = "gpu", not_before: datetime | None = None
    ) -> UUID:
        job = Job(id=uuid4(), kind=JobKind.PROBE, queue=queue, status=status, not_before=not_before)
        with session_scope(self._engine) as session:
            session.add(job)
        return job.id

    def needs(self, job_id: UUID, *needed: UUID, even_if_failed: bool = False) -> None:
        with session_scope(self._engine) as session:
            session.add_all(
                JobDependency(job_id=job_id, needs_id=need, even_if_failed=even_if_failed) for need in needed
            )

    def becomes(self, job_id: UUID, status: JobStatus) -> None:
        with session_scope(self._engine) as session:
            session.execute(update(Job).where(col(Job.id) == job_id).values(status=status))

    def counted(self) -> int:
        """What KEDA sees. At every count it must be what workers could claim and what they hold."""
        with session_scope(self._engine) as session:
            counted = int(session.execute(self._query).scalar_one())
            claimable = queue.claimable_counts(session).get("gpu", 0)
            held = select(Job.id).where(col(Job.queue) == "gpu", col(Job.status) == JobStatus.RUNNING)
            running = len(session.exec(held).all())
        assert counted == claimable + running
        return counted


@pytest.fixture
def office(engine: Engine, query: str) -> Office:
    return Office(engine, query)


def test_what_waits_and_what_runs_is_counted_on_the_gpu_queue_alone(office: Office) -> None:
    assert office.counted() == 0
    office.job()
    office.job(JobStatus.RUNNING)
    office.job(queue="cpu")
    office.job(JobStatus.RUNNING, queue="cpu")
    for status in (JobStatus.PAUSED, JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED):
        office.job(status)
    assert office.counted() == 2


def test_a_job_is_counted_once_its_needs_are_met_and_not_before(office: Office) -> None:
    first, second = office.job(JobStatus.RUNNING, queue="cpu"), office.job(JobStatus.SUCCEEDED)
    office.needs(office.job(), first, second)
    assert office.counted() == 0
    office.becomes(first, JobStatus.SUCCEEDED)
    assert office.counted() == 1


@pytest.mark.parametrize("end", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_job_that_runs_whatever_its_needs_end_is_counted_after_a_bad_one(office: Office, end: JobStatus) -> None:
    need = office.job(JobStatus.RUNNING, queue="cpu")
    office.needs(office.job(), need, even_if_failed=True)
    office.needs(office.job(), need)
    assert office.counted() == 0
    office.becomes(need, end)
    assert office.counted() == 1


def test_a_job_that_is_to_wait_is_counted_when_its_time_has_come(office: Office) -> None:
    now = datetime.now(UTC)
    office.job(not_before=now + timedelta(hours=1))
    assert office.counted() == 0
    office.job(not_before=now - timedelta(hours=1))
    assert office.counted() == 1


def test_the_account_of_the_docs_may_count_and_may_do_nothing_else(database_url: str, query: str) -> None:
    """The statements are those of docs/kubernetes.md, for a role that no other test has."""
    role, password = f"segsmith_keda_{uuid4().hex[:8]}", uuid4().hex
    block = DOCS.read_text().split("```sql\n")[1].split("```")[0]
    statements = block.replace("segsmith_keda", role).replace("'PASSWORD'", f"'{password}'")
    with psycopg.connect(libpq_url(database_url), autocommit=True) as owner:
        try:
            owner.execute(statements.encode())
            url = make_url(database_url).set(drivername="postgresql", username=role, password=password)
            with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as keda:
                assert keda.execute(query.encode()).fetchone() == (0,)
                for forbidden in ("SELECT * FROM api_key", "UPDATE job SET status = 'queued'", "SELECT spec FROM job"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        keda.execute(forbidden.encode())
        finally:
            owner.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
            owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
