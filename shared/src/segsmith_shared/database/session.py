"""The one way to Postgres: engines with time limits, and transactions that end with their block."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, create_engine, make_url
from sqlmodel import Session

from segsmith_shared.service_addresses import postgres_address

LIMITS = {"statement_timeout": "60s", "lock_timeout": "15s", "idle_in_transaction_session_timeout": "120s"}
CONNECTION: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "options": " ".join(f"-c {name}={value}" for name, value in LIMITS.items()),
}


def engine_for(url: str, *, pool_size: int = 5, application: str = "segsmith") -> Engine:
    """A pool of connections to `postgresql+psycopg://…` or, which is the same, `postgres://…`.

    No statement runs, waits for a lock or idles without limit.
    A connection whose server has gone is noticed within half a minute (keepalives) and replaced before use (pre-ping).
    """
    return create_engine(
        postgres_address(url),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=30,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={**CONNECTION, "application_name": application},
    )


def libpq_url(url: str) -> str:
    """The same database for psycopg itself, for what is no transaction: LISTEN, and a connection of a thread's own."""
    return make_url(postgres_address(url)).set(drivername="postgresql").render_as_string(hide_password=False)


@contextmanager
def session_scope(engine: Engine) -> Iterator[Session]:
    """One transaction: committed when the block ends, rolled back when it raises. Rows stay readable afterwards."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session
