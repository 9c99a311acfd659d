"""What one API process holds: its settings, its pool of database connections, its object store."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from anyio import CapacityLimiter
from fastapi import Request
from sqlalchemy import Engine
from sqlmodel import Session

from segsmith_shared.database.session import engine_for, session_scope
from segsmith_shared.settings import Settings
from segsmith_shared.storage.objects import ObjectStore

POOL_SIZE = 20
"""With as much overflow this is what the 40 threads of the routes can use at once."""

PARTS_AT_ONCE = 8
"""The S3 client holds a part in memory while it sends it."""

CLOSINGS_AT_ONCE = 2
EVENT_READS_AT_ONCE = 4
"""However many event streams are open, they share so many threads and connections."""


@dataclass
class Installation:
    """Made once per process; `stopping` is set when the server is told to end, so that open streams end too.

    The limiters bound how much of memory, disk and threads the slow kinds of request can take from the others.
    """

    settings: Settings
    engine: Engine
    objects: ObjectStore
    loop: asyncio.AbstractEventLoop | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    storing: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(PARTS_AT_ONCE))
    closing: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(CLOSINGS_AT_ONCE))
    watching: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(EVENT_READS_AT_ONCE))

    @classmethod
    def connect(cls, settings: Settings) -> "Installation":
        engine = engine_for(settings.database_url.get_secret_value(), pool_size=POOL_SIZE, application="segsmith-api")
        return cls(settings, engine, ObjectStore.from_settings(settings))

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """One transaction, committed at the end of the block: before the answer is sent, never after."""
        with session_scope(self.engine) as session:
            yield session

    def stop(self) -> None:
        """Ends the open event streams. Safe to call from a signal handler or another thread."""
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.stopping.set)

    def close(self) -> None:
        self.engine.dispose()


def installation_of(request: Request) -> Installation:
    """The installation of the application that serves this request."""
    installation: Installation = request.app.state.installation
    return installation


def session_of(request: Request) -> Iterator[Session]:
    """A session that takes its connection at the first query and gives it back before the answer is sent."""
    with installation_of(request).transaction() as session:
        yield session
