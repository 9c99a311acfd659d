"""What a log shows of a run: each job once at its start and its end, and a line for each tenth in between."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from rich.console import Console

from segsmith.command.progress import Board, Lines
from segsmith.values import Event, Job

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def a_job(name: str) -> Job:
    return Job(id=uuid4(), kind="train", name=name, status="queued", created_at=BEGAN)


class Log:
    """A board over a console that is no terminal."""

    def __init__(self, jobs: list[Job]) -> None:
        self.text = io.StringIO()
        self.jobs = jobs
        self._board = Board(Lines(Console(file=self.text, markup=False, highlight=False, width=120)), lambda: self.jobs)
        self._count = 0

    def happens(self, job_id: UUID, kind: str, after_seconds: float, **data: Any) -> None:
        self._count += 1
        moment = BEGAN + timedelta(seconds=after_seconds)
        self._board.take(Event(id=self._count, job_id=job_id, kind=kind, data=data, created_at=moment))

    def lines(self) -> list[str]:
        return self.text.getvalue().splitlines()


def test_a_job_of_many_slices_starts_once_and_ends_once() -> None:
    job = a_job("train cluster 1")
    log = Log([job])
    for slice_number in range(3):
        log.happens(job.id, "status", 100 * slice_number, status="running")
        for step in range(100):
            log.happens(job.id, "progress", 100 * slice_number + step, done=100 * slice_number + step, total=300)
        log.happens(job.id, "status", 100 * slice_number + 100, status="queued")
    log.happens(job.id, "progress", 300, done=300, total=300, unit="images", loss=0.0314)
    log.happens(job.id, "status", 300, status="succeeded")
    lines = log.lines()
    assert lines[0].split() == ["train", "cluster", "1:", "started"]
    assert [line.split("cluster 1: ")[1].split(" %")[0] for line in lines[1:-1]] == [str(10 * n) for n in range(1, 10)]
    assert "succeeded  5 min 00 s" in lines[-1]
    assert "loss 0.0314" in lines[-1]


def test_jobs_added_later_are_shown_by_their_name() -> None:
    cluster, train = a_job("cluster"), a_job("train [bold]cluster 2[/bold]")
    log = Log([cluster])
    log.jobs.append(train)
    log.happens(train.id, "status", 0, status="running")
    assert "train [bold]cluster 2[/bold]: started" in log.lines()[0]


def test_a_failed_job_says_why_and_what_to_do() -> None:
    job = a_job("train")
    log = Log([job])
    log.happens(job.id, "status", 0, status="running")
    problem = {"detail": "The loss is not a number.", "hint": "Lower the learning rate."}
    log.happens(job.id, "status", 2, status="failed", problem=problem)
    assert "failed" in log.lines()[-2]
    assert log.lines()[-1].strip() == "train: The loss is not a number. Lower the learning rate."


def test_a_short_job_gets_few_lines() -> None:
    job = a_job("segment")
    log = Log([job])
    log.happens(job.id, "status", 0, status="running")
    for step in range(1, 101):
        log.happens(job.id, "progress", step / 4, done=step, total=100, unit="steps")
    log.happens(job.id, "status", 25, status="succeeded")
    assert [line.split(" %")[0].split()[-1] for line in log.lines()[1:-1]] == ["40", "80"]
