"""What an operator does to a stack, and what a power cut does: no finished work is lost, no result is another."""

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.compose.conftest import ROOT, ComposeStack, until

pytestmark = pytest.mark.timeout(3600)

SEGSMITH = Path(sys.executable).parent / "segsmith"
RUN = [
    "--preset", "tiny-cpu", "--k", "2", "--test-fraction", ".25", "--seed", "11", "--seeds", "1", "--threads", "1",
    "--samples-per-source", "2", "--ms-ssim-pairs", "20", "--set", "training.images_total=1200", "--stand-ins",
]  # fmt: skip
LONG_LIVED = ("worker-gpu", "redis", "postgres", "s3", "api", "caretaker", "evaluator")


@pytest.fixture(scope="module")
def drawn(stack: ComposeStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "pairs"
    draw = ("dataset", "draw", str(folder), "--pairs", "24", "--side", "64", "--seed", "11")
    subprocess.run([SEGSMITH, *draw], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def undisturbed(stack: ComposeStack, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of the files of the sets that a run makes which nobody disturbs."""
    return Run.submit(stack, drawn).digests(tmp_path_factory.mktemp("undisturbed"))


@dataclass(frozen=True)
class Run:
    """One pipeline on the stack, watched from outside."""

    stack: ComposeStack
    pipeline_id: str

    @classmethod
    def submit(cls, stack: ComposeStack, drawn: Path) -> "Run":
        return cls(stack, json.loads(segsmith(stack, "run", drawn, *RUN, "--no-watch", "--json"))["id"])

    def digests(self, folder: Path) -> dict[str, str]:
        """Wait for the end, which must be a good one; SHA-256 by file of the sets."""
        told = json.loads(segsmith(self.stack, "watch", self.pipeline_id, "--output", folder, "--json"))
        assert told["status"] == "succeeded", self.stack.logs()
        sets = folder / "sets"
        files = sorted([*sets.glob("*/images/*"), *sets.glob("*/masks/*")])
        assert files
        return {str(file.relative_to(sets)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    def until_running(self, kind: str, share: float = 0.0) -> None:
        """Wait until a job of this kind runs and has done such a share, or until all of the kind have ended."""

        def seen() -> bool:
            with self.stack.client() as client:
                jobs = [job for job in client.pipelines.get(self.pipeline_id).jobs if job.kind == kind]
            assert not {job.status for job in jobs} & {"failed", "cancelled"}, self.stack.logs()
            ended = bool(jobs) and all(job.status == "succeeded" for job in jobs)
            return ended or any(
                job.status == "running" and job.progress.done >= share * max(job.progress.total, 1) for job in jobs
            )

        until(seen, f"a running job of kind {kind}")


def segsmith(stack: ComposeStack, *arguments: object) -> str:
    command = [str(SEGSMITH), *map(str, arguments)]
    ran = subprocess.run(command, env=stack.environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-4000:] + stack.logs()
    return ran.stdout


def test_everything_is_healthy_and_only_the_api_is_published(stack: ComposeStack) -> None:
    by_service = {container["Service"]: container for container in stack.containers()}
    once = {name for name, each in by_service.items() if each["State"] == "exited"}
    assert once == {"prepare", "s3-volume"}
    assert {by_service[name]["ExitCode"] for name in once} == {0}
    assert {each["Health"] for name, each in by_service.items() if name not in once} == {"healthy"}
    published = {name for name, each in by_service.items() if any(p["PublishedPort"] for p in each["Publishers"] or ())}
    assert published == {"api"}


def test_no_container_is_root_or_can_write_to_its_root(stack: ComposeStack) -> None:
    for service in LONG_LIVED:
        assert stack.compose("exec", "-T", service, "id", "-u").strip() != "0"
        tried = stack.compose("exec", "-T", service, "sh", "-c", "touch /here 2>&1 || true")
        assert "Read-only file system" in tried


def test_the_smoke_test_passes(stack: ComposeStack) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "tests/smoke"],
        cwd=ROOT, env=stack.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-4000:]


def test_any_container_may_be_killed_in_the_middle_of_a_pipeline(
    stack: ComposeStack, drawn: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    run = Run.submit(stack, drawn)
    run.until_running("train", 0.1)
    for service in LONG_LIVED[:-1]:
        stack.compose("kill", service)
        stack.up()
        run.until_running("train", 0.1)
    run.until_running("evaluate")
    stack.compose("kill", LONG_LIVED[-1])
    stack.up()
    assert run.digests(tmp_path) == undisturbed


def test_a_restart_and_going_down_with_volumes_kept_lose_nothing(
    stack: ComposeStack, drawn: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    run = Run.submit(stack, drawn)
    run.until_running("train", 0.3)
    stack.compose("restart")
    stack.up()
    run.until_running("generate")
    stack.compose("down")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{stack.environment['SEGSMITH_URL']}/livez")
    stack.up()
    assert run.digests(tmp_path) == undisturbed


def test_more_workers_can_be_had_at_any_time(stack: ComposeStack) -> None:
    stack.compose("up", "--detach", "--wait", "--no-build", "--scale", "worker-gpu=2")
    assert sum(each["Service"] == "worker-gpu" for each in stack.containers()) == 2
    stack.compose("up", "--detach", "--wait", "--no-build", "--scale", "worker-gpu=1")
