"""A folder with spoilt files goes through the whole stack: each is named, and all good pairs are there."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from segsmith import Client
from segsmith_shared.database.tables import JobStatus
from segsmith_shared.embedded.stack import Stack
from tests.fixtures.pair_folders import REAL_DATA, draw_folder, needs_real_data, plant

pytestmark = pytest.mark.timeout(600)
MEMORY_BOUND_KIB = 500 * 1024
PAPER_PAIRS = 348


def drawn_pairs(folder: Path) -> int:
    return len(draw_folder(folder, 20))


def papers_pairs(folder: Path) -> int:
    """A copy of the polyps that the paper trained on."""
    kvasir = REAL_DATA / "kvasir-seg"
    names = (kvasir / "paper-348.txt").read_text().split()
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
        for name in names:
            shutil.copy(kvasir / kind / f"{name}.jpg", folder / kind)
    return PAPER_PAIRS


@pytest.mark.parametrize("good_pairs", [drawn_pairs, pytest.param(papers_pairs, marks=needs_real_data)])
def test_every_planted_file_is_named_nothing_else_is_lost_and_the_api_stays_small(
    good_pairs: Callable[[Path], int], tmp_path: Path
) -> None:
    good = good_pairs(tmp_path / "polyps")
    planted = plant(tmp_path / "polyps")
    with (
        Stack.start(tmp_path / "stack", gpu_workers=0, durable=False) as stack,
        Client(stack.url, stack.api_key or "") as client,
    ):
        dataset = client.datasets.create("planted")
        job = client.jobs.wait(client.import_folder(dataset.id, tmp_path / "polyps").id)
        assert job.status == JobStatus.SUCCEEDED, job.problem
        version = client.version_made_by(job)
        findings = client.versions.report(version.id)["findings"]
        peak_kib = peak_memory_kib(stack.children["api"].pid)
    errors = {Path(each["file"]).name: each["code"] for each in findings if each["severity"] == "error"}
    assert errors == {Path(file).name: code for file, code in planted.items()}
    assert version.pair_count == good
    print(f"{good} pairs: the API's peak was {peak_kib / 1024:.0f} MiB")  # noqa: T201  # a figure for docs/measurements.md
    assert peak_kib < MEMORY_BOUND_KIB


def peak_memory_kib(pid: int | None) -> int:
    """The largest resident memory the process ever had, as the kernel counted it."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
