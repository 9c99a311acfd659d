"""The measurement of a large installation runs at a small size, and what it found to be costly stays mended."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("scale")
    command = [sys.executable, "-m", "benchmarks.scale", "--size", "small", "--output", str(output)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "### claim a job behind blocked ones" in (output / "scale.md").read_text()
    found: dict[str, Any] = json.loads((output / "scale.json").read_text())
    return found


def blocks(figures: dict[str, Any], question: str) -> int:
    (found,) = [told["blocks"] for told in figures["answers"] if told["name"].startswith(question)]
    return int(found)


def test_every_question_is_answered_and_most_with_a_plan(figures: dict[str, Any]) -> None:
    assert [told["failure"] for told in figures["answers"] if told["failure"]] == []
    assert sum(bool(told["plan"]) for told in figures["answers"]) > 25
    assert {row["table"]: row["rows"] for row in figures["tables"]}["sample"] == figures["size"]["pairs"]


def test_many_workers_claim_together_and_are_timed(figures: dict[str, Any]) -> None:
    claims, size = figures["claims"], figures["size"]
    assert claims["workers"] == size["workers"]
    freed = size["generate_jobs"] + size["waiting_jobs"]  # by the trainings that were claimed to their end
    assert 0 < claims["claims"] <= size["claimed_jobs"] + size["clusters"] // 2 + freed
    assert 0 < claims["claim_median_seconds"] <= claims["claim_p95_seconds"]


def test_three_hundred_blocked_jobs_cost_a_claim_nothing(figures: dict[str, Any]) -> None:
    assert 0 < blocks(figures, "claim a job behind blocked ones") < 150
    assert 0 < blocks(figures, "how many jobs can start") < 150


def test_the_first_page_of_samples_reads_a_page_and_not_the_set(figures: dict[str, Any]) -> None:
    assert 0 < blocks(figures, "samples, first page") < 1500 / 2


def test_the_end_of_a_generate_job_looks_at_its_own_generation_alone(figures: dict[str, Any]) -> None:
    assert 0 < blocks(figures, "is this the generation's last job") < 20
