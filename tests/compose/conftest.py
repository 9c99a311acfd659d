"""A compose stack of its own for these tests: other project, other port, other volumes; removed at the end."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from segsmith import Client
from segsmith_shared.embedded.ports import free_port

ROOT = Path(__file__).parents[2]
PROJECT = "segsmith-test"


@dataclass(frozen=True)
class ComposeStack:
    """`environment` is what `docker compose` and the `segsmith` command run with. COMPOSE_FILE picks the files."""

    environment: dict[str, str]

    def compose(self, *arguments: str, check: bool = True) -> str:
        """The standard output of `docker compose …`."""
        command = ["docker", "compose", "--project-name", PROJECT, *arguments]
        ran = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0 or not check, f"{' '.join(command)}\n{ran.stderr[-4000:]}"
        return ran.stdout

    def up(self) -> None:
        """Returns when all is healthy and what runs once has run."""
        self.compose("up", "--detach", "--wait", "--wait-timeout", "300", "--no-build")

    def containers(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.compose("ps", "--all", "--format", "json").splitlines()]

    def client(self) -> Client:
        return Client(self.environment["SEGSMITH_URL"], self.environment["SEGSMITH_API_KEY"])

    def logs(self) -> str:
        return self.compose("logs", "--tail", "60", check=False)


@pytest.fixture(scope="session")
def stack() -> Iterator[ComposeStack]:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no Docker engine answers here")
    subprocess.run([ROOT / "compose" / "make-env"], check=True, capture_output=True)
    key = next(line for line in (ROOT / ".env").read_text().splitlines() if line.startswith("SEGSMITH_FIRST_API_KEY="))
    port = str(free_port())
    own = {"SEGSMITH_PORT": port, "SEGSMITH_URL": f"http://127.0.0.1:{port}", "SEGSMITH_API_KEY": key.partition("=")[2]}
    stack = ComposeStack(dict(os.environ) | own)
    try:
        stack.up()
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "20")


def until(holds: Callable[[], bool], what: str, timeout_seconds: float = 600) -> None:
    """Ask again and again, and fail with `what` was waited for."""
    deadline = time.monotonic() + timeout_seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.5)
