"""The whole product on one machine: the three servers, then migrations, the first key, and every service."""

import http.client
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from segsmith_shared.authentication import ensure_first_key
from segsmith_shared.database.migrate import upgrade
from segsmith_shared.database.session import engine_for, session_scope
from segsmith_shared.embedded.folder import write_private
from segsmith_shared.embedded.ports import HOST, free_port
from segsmith_shared.embedded.servers import EmbeddedServers
from segsmith_shared.embedded.supervise import ChildProcess, stop_all
from segsmith_shared.problems import Conflict, Problem

API_START_SECONDS = 90.0
STOP_SECONDS = 20.0
KEY_FILE, STATE_FILE = "first-api-key", "stack.json"

AS_IN_CONTAINERS = {"OMP_WAIT_POLICY": "PASSIVE", "NO_ALBUMENTATIONS_UPDATE": "1"}
"""What the images set too: torch's waiting threads sleep (spinning ones made a busy machine many times slower), and no
library asks the internet for news. The caller's own environment goes first."""


class PortTaken(Conflict):
    """Another program listens where the API should."""

    title = "The port is taken"


class ServiceNotInstalled(Problem):
    """A distribution of the product is missing from this environment."""

    status = 500
    title = "A service is not installed"


@dataclass(frozen=True)
class Stack:
    """A running stack. `children` are the services by name (`api`, `caretaker`, `gpu-1` …, `cpu-1` …).

    `api_key` is the first key; None where somebody removed it from the data folder. `key_is_new` at the first start.
    """

    folder: Path
    url: str
    api_key: str | None
    key_is_new: bool
    servers: EmbeddedServers
    children: Mapping[str, ChildProcess]

    @classmethod
    @contextmanager
    def start(
        cls,
        folder: Path,
        *,
        api_port: int | None = None,
        gpu_workers: int = 1,
        cpu_workers: int = 1,
        durable: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator["Stack"]:
        """Starts everything with its data in `folder`, and stops it when the block ends, within seconds.

        Without `api_port` a free one is taken. `environment` adds to what the services see. A service that crashes
        is started again; logs are in `folder/logs`. While it runs, `folder/stack.json` (mode 0600) tells url, api_key
        and pids. Raises PortTaken, ServiceNotInstalled, ChildFailed, FolderInUse, FolderUnusable.
        """
        api_port = api_port or free_port()
        _check_before_start(api_port)
        with ExitStack() as undo:
            servers = undo.enter_context(EmbeddedServers.start(folder, durable=durable))
            api_key, key_is_new = _prepare_database(servers)
            seen = AS_IN_CONTAINERS | dict(os.environ) | dict(environment or {}) | servers.environment
            seen |= {"SEGSMITH_HOST": HOST, "SEGSMITH_PORT": str(api_port), "PYTHONUNBUFFERED": "1"}
            modules = _modules(gpu_workers, cpu_workers)
            children = {name: _service(name, module, servers.folder, seen) for name, module in modules.items()}
            undo.callback(lambda: stop_all(children.values(), STOP_SECONDS))
            for child in children.values():
                child.start()
            children["api"].wait_until_ready(lambda: api_answers(api_port), API_START_SECONDS)
            for child in children.values():
                child.restarts = True
            stack = cls(servers.folder, f"http://{HOST}:{api_port}", api_key, key_is_new, servers, children)
            state_file = servers.folder / STATE_FILE
            undo.callback(lambda: state_file.unlink(missing_ok=True))
            write_private(state_file, json.dumps(stack.state(), indent=2))
            yield stack

    def state(self) -> dict[str, object]:
        """What `stack.json` holds for the command line and for tests."""
        pids = {name: child.pid for name, child in self.children.items()}
        servers = {child.name: child.pid for child in self.servers.children}
        return {"url": self.url, "api_key": self.api_key, "pids": {"stack": os.getpid(), **servers, **pids}}


def api_answers(port: int) -> bool:
    """Whether the API and what it depends on are ready."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _modules(gpu_workers: int, cpu_workers: int) -> dict[str, str]:
    return (
        {"api": "segsmith_api", "caretaker": "segsmith_api.caretaker"}
        | {f"gpu-{number}": "segsmith_worker" for number in range(1, gpu_workers + 1)}
        | {f"cpu-{number}": "segsmith_evaluator" for number in range(1, cpu_workers + 1)}
    )


def _check_before_start(api_port: int) -> None:
    for distribution in ("segsmith_api", "segsmith_worker", "segsmith_evaluator"):
        if find_spec(distribution) is None:
            raise ServiceNotInstalled(f"{distribution} is not installed here.", hint="Run `make install`.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, api_port))
        except OSError as error:
            hint = "Name another one: make up PORT=8001"
            raise PortTaken(f"{HOST}:{api_port} cannot be served: {error.strerror}.", hint=hint) from error


def _prepare_database(servers: EmbeddedServers) -> tuple[str | None, bool]:
    """Migrates, and returns the first API key and whether it was made now."""
    url = servers.environment["DATABASE_URL"]
    upgrade(url)
    engine = engine_for(url)
    try:
        with session_scope(engine) as session:
            made = ensure_first_key(session)
            if made is not None:  # before the commit: a key that nobody could ever read would lock the owner out
                write_private(servers.folder / KEY_FILE, made)
    finally:
        engine.dispose()
    kept = servers.folder / KEY_FILE
    return (kept.read_text() if kept.exists() else None), made is not None


def _service(name: str, module: str, folder: Path, environment: Mapping[str, str]) -> ChildProcess:
    return ChildProcess(
        name=name,
        command=[sys.executable, "-m", module],
        log_file=folder / "logs" / f"{name}.log",
        environment=environment,
    )
