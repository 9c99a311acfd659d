"""The one way to Postgres: engines with time limits, and transactions that end with their block."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, create_engine
from sqlmodel import Session

STATEMENT_SECONDS = 60
LOCK_SECONDS = 15
IDLE_IN_TRANSACTION_SECONDS = 120


def engine_for(url: str, *, pool_size: int = 5, application: str = "segsmith") -> Engine:
    """A pool of connections to `postgresql+psycopg://…`. No statement runs, waits for a lock or idles without limit.

    A connection whose server has gone is noticed within half a minute (keepalives) and replaced before use (pre-ping).
    """
    milliseconds = {
        "statement_timeout": STATEMENT_SECONDS * 1000,
        "lock_timeout": LOCK_SECONDS * 1000,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_SECONDS * 1000,
    }
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=30,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={
            "connect_timeout": 10,
            "application_name": application,
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "options": " ".join(f"-c {name}={value}" for name, value in milliseconds.items()),
        },
    )


@contextmanager
def session_scope(engine: Engine) -> Iterator[Session]:
    """One transaction: committed when the block ends, rolled back when it raises. Rows stay readable afterwards."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session
