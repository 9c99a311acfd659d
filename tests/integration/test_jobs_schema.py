"""The migrations and the models must tell the same story, to however many callers at once."""

from concurrent.futures import ThreadPoolExecutor

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, MetaData, text
from sqlmodel import SQLModel

from segsmith_shared.database.migrate import upgrade
from segsmith_shared.database.session import engine_for
from segsmith_shared.database.tables import Job, JobKind


def test_the_migrated_database_has_exactly_the_tables_of_the_models(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_four_services_that_start_together_migrate_once(empty_database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upgrade, [empty_database_url] * 4))
    engine = engine_for(empty_database_url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM alembic_version")) == 1
        assert connection.scalar(text("SELECT count(*) FROM job")) == 0
    engine.dispose()


def test_jobs_that_wait_at_the_upgrade_cost_claims_nothing_from_then_on(empty_database_url: str) -> None:
    upgrade(empty_database_url, "0004")
    engine = engine_for(empty_database_url)
    tables = MetaData()
    tables.reflect(engine, only=["job", "job_dependency"])
    job, dependency = tables.tables["job"], tables.tables["job_dependency"]
    jobs = [Job(kind=JobKind.PROBE, name=name, queue="cpu", spec={}) for name in ("needed", "waiting", "free")]
    with engine.begin() as connection:
        for each in jobs:
            given = {column.name: getattr(each, column.name) for column in job.columns}
            connection.execute(job.insert().values({k: v for k, v in given.items() if v is not None}))
        needed, waiting, _ = jobs
        row = {"job_id": waiting.id, "needs_id": needed.id, "even_if_failed": False}
        connection.execute(dependency.insert().values(row))
    upgrade(empty_database_url)
    with engine.connect() as connection:
        assert list(connection.scalars(text("SELECT name FROM job WHERE waits"))) == ["waiting"]
    engine.dispose()


def test_sets_of_single_samples_are_called_so_after_the_upgrade(empty_database_url: str) -> None:
    upgrade(empty_database_url, "0005")
    engine = engine_for(empty_database_url)
    with engine.begin() as connection:
        statements = (
            "INSERT INTO dataset (id, name, description) VALUES (gen_random_uuid(), 'd', '')",
            "INSERT INTO dataset_version (id, dataset_id, number, label, origin, pair_count, digest, class_names, "
            "report, provenance) SELECT gen_random_uuid(), id, n, label, origin, 1, 'x', '[]', '{}', '{}' FROM dataset,"
            " (VALUES (1, 'Diff-2', 'synthetic'), (2, 'Styled-Diff-1 (checked, judged)', 'synthetic'), "
            "(3, 'trial-2', 'real')) AS given (n, label, origin)",
            "INSERT INTO pipeline (id, name, spec, plan) VALUES (gen_random_uuid(), 'p', "
            '\'{"segmentation": {"arms": [{"name": "a-1", "sets": ["Diff-2"]}]}}\', \'{}\')',
        )
        for statement in statements:
            connection.execute(text(statement.replace(":", "\\:") if "pipeline" in statement else statement))
    upgrade(empty_database_url)
    with engine.connect() as connection:
        labels = list(connection.scalars(text("SELECT label FROM dataset_version ORDER BY number")))
        arms = connection.scalar(text("SELECT spec #> '{segmentation,arms}' FROM pipeline"))
    engine.dispose()
    assert labels == ["Diff-sample-2", "Styled-Diff-sample-1 (checked, judged)", "trial-2"]
    assert arms == [{"name": "a-1", "sets": ["Diff-sample-2"]}]
