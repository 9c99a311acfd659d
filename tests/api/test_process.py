"""The API as it is deployed: a process of its own, measured from outside."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from uuid import uuid4

import httpx
import psutil
import pytest
from sqlalchemy import Engine

from segsmith_shared.authentication import create_key
from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import JobKind
from segsmith_shared.embedded.supervise import leashed
from segsmith_shared.jobs import plan
from segsmith_shared.jobs.probe import ProbeSpec
from segsmith_shared.plans.pipeline import PlannedJob
from tests.fixtures.api_room import sent_events

DEADLINE_SECONDS = 180.0
PART_BYTES = 8 * 2**20
SENT_BYTES = 160 * 2**20
MEMORY_BOUND_BYTES = 500 * 2**20


@pytest.fixture
def key(engine: Engine) -> str:
    with session_scope(engine) as session:
        return create_key(session, "test")[1]


@contextmanager
def api_process(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`python -m segsmith_api` on a free port, answering."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    variables = os.environ | environment | {"SEGSMITH_PORT": str(port), "LOG_LEVEL": "WARNING"}
    with subprocess.Popen(leashed([sys.executable, "-m", "segsmith_api"], signal.SIGKILL), env=variables) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_live(process, url)
            yield process, url
        finally:
            process.kill()


def wait_until_live(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        assert process.poll() is None, "the API ended"
        assert time.monotonic() < deadline
        try:
            httpx.get(f"{url}/livez").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return


def test_sigterm_ends_open_streams_and_the_process(environment: dict[str, str], engine: Engine, key: str) -> None:
    job = PlannedJob(uuid4(), JobKind.PROBE, "probe", "cpu", ProbeSpec())
    with session_scope(engine) as session:
        plan.submit(session, [job])
    headers = {"Authorization": f"Bearer {key}"}
    with (
        api_process(environment) as (process, url),
        httpx.stream("GET", f"{url}/v1/jobs/{job.id}/events", headers=headers, timeout=30) as response,
    ):
        events = sent_events(response)
        assert next(events).event == "status"
        process.send_signal(signal.SIGTERM)
        assert list(events) == []
        assert process.wait(10) == 0


def test_gigabytes_may_pass_through_a_process_that_stays_small(environment: dict[str, str], key: str) -> None:
    """Parts arrive eight at once; what the process holds does not depend on how many follow."""
    part = os.urandom(PART_BYTES)
    count = SENT_BYTES // PART_BYTES
    headers = {"Authorization": f"Bearer {key}"}
    with api_process(environment) as (process, url), httpx.Client(base_url=url, headers=headers, timeout=120) as client:
        dataset_id = client.post("/v1/datasets", json={"name": "large"}).json()["id"]
        announced = {"filename": "large.tar", "size_bytes": SENT_BYTES}
        upload = client.post(f"/v1/datasets/{dataset_id}/uploads", json=announced).json()
        assert upload["part_count"] == count

        def send(number: int) -> int:
            assert client.put(f"/v1/uploads/{upload['id']}/parts/{number}", content=part).status_code == 200
            return psutil.Process(process.pid).memory_info().rss

        with ThreadPoolExecutor(8) as pool:
            memory = list(pool.map(send, range(count)))
        digest = sha256()
        for _ in range(count):
            digest.update(part)
        closed = client.post(f"/v1/uploads/{upload['id']}/close", json={"sha256": digest.hexdigest()})
        assert closed.status_code == 202, closed.text
        memory.append(psutil.Process(process.pid).memory_info().rss)
    assert max(memory) < MEMORY_BOUND_BYTES
