"""Log lines carry who they belong to, and never the values of local variables."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from segsmith_shared.telemetry import configure_logging, identified, logger


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_names_its_service_and_its_job(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    configure_logging("worker")
    with identified(job_id="7"):
        logger("here").info("claimed", attempt=1)
    logger("here").info("idle")
    claimed, idle = lines(capsys)
    assert {"service": "worker", "job_id": "7", "event": "claimed", "attempt": 1}.items() <= claimed.items()
    assert "job_id" not in idle


def test_a_library_line_carries_the_same_identity(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    configure_logging("api")
    with identified(request_id="abc"):
        logging.getLogger("uvicorn.error").warning("slow after %d s", 3)
    [line] = lines(capsys)
    assert line["event"] == "slow after 3 s"
    assert line["request_id"] == "abc"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_does_not_print_passwords_held_in_variables(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log_format: str
) -> None:
    monkeypatch.setenv("LOG_FORMAT", log_format)
    configure_logging("api")

    def connect(password: str) -> None:
        raise ConnectionError("refused")

    try:
        connect("hunter2 in a variable"[:7])
    except ConnectionError:
        logger("here").exception("no database")
    written = capsys.readouterr().err
    assert "ConnectionError: refused" in written
    assert "hunter2'" not in written


def test_the_level_of_the_environment_is_obeyed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "error")
    configure_logging("api")
    logger("here").info("hidden")
    assert capsys.readouterr().err == ""
