"""What the health command says of a process that is well, silent, gone or not there yet; in no time and no cost."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segsmith_shared.jobs.health import START_SECONDS, Health, complaints


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "health.json"


def ask(question: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "segsmith_shared.jobs.health", question]
    clean = {name: value for name, value in os.environ.items() if name != "HEALTH_FILE"}
    return subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=False)


def test_a_part_that_is_well_is_ready_until_it_falls_silent_and_live_for_longer(file: Path) -> None:
    health = Health(file, ["bell"])
    health.well("bell", ready_seconds=45, live_seconds=600)
    now = time.monotonic()
    assert complaints(file, "ready", now) == []
    assert complaints(file, "ready", now + 50) == ["bell: overdue for 5 s"]
    assert complaints(file, "live", now + 50) == []
    assert complaints(file, "live", now + 605) == ["bell: overdue for 5 s"]


def test_what_has_not_begun_is_not_ready_and_has_ten_minutes_to_begin(file: Path) -> None:
    Health(file, ["heart", "database"])
    now = time.monotonic()
    assert len(complaints(file, "ready", now)) == 2
    assert complaints(file, "live", now) == []
    assert len(complaints(file, "live", now + START_SECONDS)) == 2


def test_what_has_no_deadline_never_complains(file: Path) -> None:
    Health(file, []).well("bell")
    assert complaints(file, "live", time.monotonic() + 10**7) == []


def test_the_file_of_an_earlier_process_with_the_same_number_counts_for_nothing(file: Path) -> None:
    Health(file, []).well("heart")
    told = json.loads(file.read_text())
    file.write_text(json.dumps(told | {"born": "1"}))
    assert complaints(file, "live", time.monotonic()) == [f"process {os.getpid()}, which wrote {file}, is gone"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": 1, "born": "1", "parts": {"bell": {"live": 1}}}'])
def test_a_file_of_something_else_is_named_and_is_no_health(file: Path, content: str) -> None:
    file.write_text(content)
    (complaint,) = complaints(file, "live", time.monotonic())
    assert complaint.startswith(f"{file} is not what a worker writes")


def test_a_process_whose_health_file_cannot_be_written_goes_on_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Health(tmp_path / "nowhere" / "health.json", ["heart"]).well("heart")
    assert "cannot be written" in caplog.text


def test_the_command_answers_by_its_exit_code_and_one_line(file: Path) -> None:
    absent = ask("ready", HEALTH_FILE=str(file))
    assert (absent.returncode, absent.stderr.count("\n")) == (1, 1)
    assert "still starting" in absent.stderr
    Health(file, []).well("heart")
    well = ask("ready", HEALTH_FILE=str(file))
    assert (well.returncode, well.stdout, well.stderr) == (0, "", "")


def test_the_command_without_a_file_says_which_variable_it_wants() -> None:
    answer = ask("live")
    assert (answer.returncode, answer.stderr.count("\n")) == (1, 1)
    assert "HEALTH_FILE" in answer.stderr


def test_the_command_is_cheap_because_it_imports_nothing_that_is_not_pythons_own() -> None:
    program = "import sys, segsmith_shared.jobs.health; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "pydantic", "sqlalchemy", "celery", "structlog"} & set(loaded)
