"""`make up` and what the demo makes of it: services start, come back after a crash, and leave nothing behind."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from segsmith_shared.embedded.ports import free_port
from segsmith_shared.embedded.stack import PortTaken, Stack, api_answers
from tests.fixtures.processes import eventually, processes_in

COMMAND = [sys.executable, "-m", "segsmith_shared.embedded", "--data"]
ASK_AND_EXIT_WITH_7 = """
import os, sys, urllib.request
headers = {"Authorization": "Bearer " + os.environ["SEGSMITH_API_KEY"]}
asked = urllib.request.Request(os.environ["SEGSMITH_URL"] + "/v1/datasets", headers=headers)
sys.exit(7 if urllib.request.urlopen(asked).status == 200 else 1)
"""


@pytest.fixture(scope="module")
def folder(reachable_folder: Path) -> Path:
    return reachable_folder / "stack"


@contextmanager
def up(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int, dict[str, int]]]:
    """`make up`, until it says where its logs are; yields the process, the API's port and the pids of stack.json."""
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, str(folder), "--port", str(port)], stderr=subprocess.PIPE, text=True, process_group=0
    )
    assert process.stderr is not None
    try:
        said = [process.stderr.readline() for _ in range(3)]
        assert said[2].startswith("logs:"), "".join(said)
        state = folder / "stack.json"
        assert state.stat().st_mode & 0o777 == 0o600
        yield process, port, json.loads(state.read_text())["pids"]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        eventually(lambda: processes_in(folder) == [])


def all_gone(pids: dict[str, int]) -> bool:
    return not any(Path(f"/proc/{pid}/exe").exists() for pid in pids.values())


@pytest.mark.slow
def test_a_crashed_service_comes_back_and_a_killed_stack_leaves_no_process(folder: Path) -> None:
    with up(folder) as (process, port, pids):
        assert {"api", "caretaker", "gpu-1", "cpu-1", "postgres", "valkey", "s3"} <= set(pids)
        os.kill(pids["api"], signal.SIGKILL)
        eventually(lambda: all_gone({"api": pids["api"]}))
        eventually(lambda: api_answers(port), timeout_seconds=60)
        process.kill()
        process.wait()
        eventually(lambda: not api_answers(port) and all_gone(pids) and processes_in(folder) == [])


@pytest.mark.slow
def test_a_command_beside_the_stack_gets_url_and_key_and_its_exit_code_counts(folder: Path) -> None:
    ended = subprocess.run(
        [*COMMAND, str(folder), "exec", "--", sys.executable, "-c", ASK_AND_EXIT_WITH_7], check=False
    )
    assert ended.returncode == 7
    assert processes_in(folder) == []
    assert not (folder / "stack.json").exists()


def test_a_taken_port_is_named_before_anything_starts(folder: Path) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        port = somebody.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)), Stack.start(folder, api_port=port):
            pass
    assert processes_in(folder) == []
