"""The three real servers, once per test session, and a fresh database, bucket and broker for every test that asks."""

import secrets
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg import sql
from sqlalchemy import Engine, make_url

from segsmith_shared.database.migrate import upgrade
from segsmith_shared.database.session import engine_for
from segsmith_shared.embedded import EmbeddedServers
from segsmith_shared.settings import Settings
from segsmith_shared.settings import settings as settings_of_process
from segsmith_shared.storage.objects import ObjectStore

TEMPLATE = "migrated_template"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and every process under it would: the tests of Ctrl-C need it heard.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def reachable_folder() -> Iterator[Path]:
    """A folder that Postgres's account may pass through also when root runs the tests; pytest's own are 0700."""
    with tempfile.TemporaryDirectory(prefix="segsmith-tests-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest.fixture(scope="session")
def servers(reachable_folder: Path) -> Iterator[EmbeddedServers]:
    """Postgres, Valkey and S3, running for the whole session without fsync."""
    with EmbeddedServers.start(reachable_folder / "servers", durable=False) as running:
        yield running


@pytest.fixture(scope="session")
def template_database(servers: EmbeddedServers) -> str:
    """A database with every migration applied, never connected to again, from which each test gets its own."""
    execute(servers, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    upgrade(url_of(servers, TEMPLATE))
    return TEMPLATE


@pytest.fixture
def empty_database_url(servers: EmbeddedServers) -> Iterator[str]:
    """A database without tables: for tests of the migrations themselves."""
    yield from new_database(servers, "template0")


@pytest.fixture
def database_url(servers: EmbeddedServers, template_database: str) -> Iterator[str]:
    """A migrated, empty database of this test's own."""
    yield from new_database(servers, template_database)


@pytest.fixture
def environment(
    servers: EmbeddedServers, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """The environment of the services: own database, own bucket, emptied broker. Set in this process too."""
    with redis.Redis.from_url(servers.environment["REDIS_URL"]) as broker:
        broker.flushall()
    variables = servers.environment | {"DATABASE_URL": database_url, "S3_BUCKET": f"test-{secrets.token_hex(6)}"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings_of_process.cache_clear()
    yield variables
    settings_of_process.cache_clear()


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return settings_of_process()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = engine_for(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def object_store(settings: Settings) -> ObjectStore:
    return ObjectStore.from_settings(settings)


def new_database(servers: EmbeddedServers, template: str) -> Iterator[str]:
    """Yields the URL of a copy of `template`, and drops it with whoever is still connected."""
    name = f"test_{secrets.token_hex(6)}"
    identifiers = sql.Identifier(name), sql.Identifier(template)
    execute(servers, sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*identifiers))
    yield url_of(servers, name)
    execute(servers, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def url_of(servers: EmbeddedServers, database: str) -> str:
    url = make_url(servers.environment["DATABASE_URL"]).set(database=database)
    return url.render_as_string(hide_password=False)


def execute(servers: EmbeddedServers, statement: sql.Composed) -> None:
    url = make_url(servers.environment["DATABASE_URL"]).set(drivername="postgresql", database="postgres")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(statement)
