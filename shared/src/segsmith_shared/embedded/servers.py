"""Postgres, Valkey and S3 as our own child processes: what compose gives with Docker, without Docker."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from segsmith_shared.embedded.folder import Secrets, held, prepare, read_or_draw_secrets
from segsmith_shared.embedded.object_server import object_server_answers, object_server_child
from segsmith_shared.embedded.ports import HOST, free_port
from segsmith_shared.embedded.postgres import Postgres, postgres_in
from segsmith_shared.embedded.supervise import ChildFailed, ChildProcess, stop_all
from segsmith_shared.embedded.valkey import valkey_answers, valkey_child, valkey_url
from segsmith_shared.storage.client import ensure_bucket, s3_client

BUCKET = "segsmith"
START_SECONDS = 60.0
STOP_SECONDS = 10.0
PORT_ATTEMPTS = 3


@dataclass(frozen=True)
class EmbeddedServers:
    """Three running servers. `environment` is what `segsmith_shared.settings.Settings` reads."""

    folder: Path
    environment: dict[str, str]
    children: tuple[ChildProcess, ...]

    @classmethod
    @contextmanager
    def start(cls, folder: Path, *, durable: bool = True) -> Iterator["EmbeddedServers"]:
        """Starts the three on free loopback ports with their data in `folder`, and stops them when the block ends.

        Data and passwords stay in the folder from start to start; ports change. A server that crashes later is
        started again on its port. They die with this process, however it ends. `durable=False` spares the disk
        (tests). Raises FolderInUse, FolderUnusable, ChildFailed.
        """
        folder = prepare(folder)
        with ExitStack() as undo:
            lock = undo.enter_context(held(folder))
            secrets = read_or_draw_secrets(folder)
            children: list[ChildProcess] = []
            undo.callback(lambda: stop_all(children, STOP_SECONDS))
            environment = _start_all(folder, secrets, durable, (lock,), children)
            for child in children:
                child.restarts = True
            yield cls(folder, environment, tuple(children))

    def wait(self) -> None:
        """Returns at Ctrl-C or SIGTERM. Only for the main thread of a process that does nothing else."""
        wait_for_stop_signal()


def wait_for_stop_signal() -> None:
    """Sleeps until SIGINT or SIGTERM. Main thread only."""
    asked = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        asked.set()

    previous = {which: signal.signal(which, stop) for which in (signal.SIGINT, signal.SIGTERM)}
    try:
        asked.wait()
    finally:
        for which, handler in previous.items():
            signal.signal(which, handler)


def _start_all(
    folder: Path, secrets: Secrets, durable: bool, lock: tuple[int, ...], children: list[ChildProcess]
) -> dict[str, str]:
    """Fills `children` as they start, so that the caller can stop them whatever happens. Returns the environment."""
    postgres = postgres_in(folder, secrets, durable)
    redis_port = _start(
        children,
        lambda port: valkey_child(folder, secrets, port, durable, lock),
        lambda port: valkey_answers(secrets, port),
    )
    postgres.install(lock)
    postgres_port = _start(
        children, lambda port: postgres.child(port, folder / "logs" / "postgres.log", lock), postgres.answers
    )
    s3_port = _start(
        children,
        lambda port: object_server_child(folder, secrets, port, lock),
        lambda port: object_server_answers(secrets, port),
    )
    postgres.ensure_database(postgres_port)
    ensure_bucket(s3_client(f"{HOST}:{s3_port}", secrets.s3_access_key, secrets.s3_secret_key), BUCKET)
    return _environment(postgres, secrets, postgres_port, redis_port, s3_port)


def _start(
    children: list[ChildProcess], child_on: Callable[[int], ChildProcess], answers_on: Callable[[int], bool]
) -> int:
    """Starts a server and waits for its answer; a port that somebody took in between costs another attempt."""
    for attempt in range(1, PORT_ATTEMPTS + 1):
        port = free_port()
        child = child_on(port)
        children.append(child)
        child.start()
        try:
            child.wait_until_ready(lambda: answers_on(port), START_SECONDS)  # noqa: B023 - called within this round
        except ChildFailed:
            if attempt == PORT_ATTEMPTS or "in use" not in child.log_tail(lines=30):
                raise
            child.stop(STOP_SECONDS)
            children.remove(child)
        else:
            return port
    raise AssertionError("unreachable: the last attempt returns or raises")


def _environment(
    postgres: Postgres, secrets: Secrets, postgres_port: int, redis_port: int, s3_port: int
) -> dict[str, str]:
    return {
        "DATABASE_URL": postgres.url(postgres_port),
        "REDIS_URL": valkey_url(secrets, redis_port),
        "S3_ENDPOINT": f"{HOST}:{s3_port}",
        "S3_ACCESS_KEY": secrets.s3_access_key,
        "S3_SECRET_KEY": secrets.s3_secret_key,
        "S3_BUCKET": BUCKET,
        "S3_REGION": "us-east-1",
        "S3_SECURE": "false",
    }
