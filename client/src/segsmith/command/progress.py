"""Jobs while they run: bars in a terminal, plain lines in a log."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Protocol, Self
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from segsmith.command.tables import duration
from segsmith.values import ENDED, Event, Job

SIGNS = {"succeeded": "✓", "failed": "✗", "cancelled": "–"}
SHOWN_FIGURES = 3
QUIET_SECONDS = 10.0


@dataclass
class JobLine:
    """What is known of one job from its events."""

    name: str
    status: str = "queued"
    done: int = 0
    total: int = 0
    unit: str = ""
    figures: dict[str, object] = field(default_factory=dict)
    started_at: datetime | None = None
    seconds: float = 0.0

    @property
    def tenths(self) -> int:
        return 10 * self.done // self.total if self.total else 0

    def told_figures(self) -> str:
        numbers = [(name, value) for name, value in self.figures.items() if isinstance(value, int | float)]
        return "  ".join(f"{name} {value:.4g}" for name, value in numbers[:SHOWN_FIGURES])


class View(Protocol):
    """Where progress is shown."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def started(self, identity: UUID, line: JobLine) -> None: ...
    def advanced(self, identity: UUID, line: JobLine) -> None: ...
    def ended(self, identity: UUID, line: JobLine) -> None: ...
    def said(self, line: JobLine, text: str) -> None: ...
    def counted(self, done: int, total: int) -> None: ...


class Bars:
    """A terminal: one bar per running job, one line per finished one above them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            transient=True,
            refresh_per_second=4,
        )
        self._tasks: dict[UUID, TaskID] = {}
        self._jobs_task = self._bars.add_task("jobs", total=None, unit="", figures="", visible=False)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def started(self, identity: UUID, line: JobLine) -> None:
        self._tasks[identity] = self._bars.add_task(line.name, total=None, unit="", figures="")

    def advanced(self, identity: UUID, line: JobLine) -> None:
        if identity in self._tasks:
            self._bars.update(
                self._tasks[identity],
                completed=line.done,
                total=line.total,
                unit=line.unit,
                figures=line.told_figures(),
            )

    def ended(self, identity: UUID, line: JobLine) -> None:
        if identity in self._tasks:
            self._bars.remove_task(self._tasks.pop(identity))
        self._console.print(_ending(line))

    def said(self, line: JobLine, text: str) -> None:
        self._console.print(f"  {line.name}: {text}")

    def counted(self, done: int, total: int) -> None:
        self._bars.update(self._jobs_task, completed=done, total=total, visible=total > 1)


class Lines:
    """A log: a line when a job starts, at every tenth of it (short jobs at fewer) and when it ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: dict[UUID, tuple[int, float]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def started(self, identity: UUID, line: JobLine) -> None:
        self._console.print(f"  {line.name}: started")

    def advanced(self, identity: UUID, line: JobLine) -> None:
        tenths, seconds = self._told.get(identity, (0, 0.0))
        if tenths < line.tenths < 10 and line.seconds - seconds >= QUIET_SECONDS:
            self._told[identity] = line.tenths, line.seconds
            figures = line.told_figures()
            self._console.print(
                f"  {line.name}: {10 * line.tenths} % ({line.done}/{line.total} {line.unit})"
                f" after {duration(line.seconds)}{f', {figures}' if figures else ''}"
            )

    def ended(self, identity: UUID, line: JobLine) -> None:
        self._console.print(_ending(line))

    def said(self, line: JobLine, text: str) -> None:
        self._console.print(f"  {line.name}: {text}")

    def counted(self, done: int, total: int) -> None:
        return None


def view_on(console: Console) -> View:
    """Bars in a terminal, lines elsewhere."""
    return Bars(console) if console.is_terminal else Lines(console)


class Board:
    """The jobs of a run, moved by its events and shown on a view."""

    def __init__(self, view: View, known_jobs: Callable[[], Iterable[Job]]) -> None:
        self._view = view
        self._known_jobs = known_jobs
        self._lines: dict[UUID, JobLine] = {}
        self._learn_jobs()

    def take(self, event: Event) -> None:
        """Show what an event says. A job that was not there before (a training per cluster) is looked up."""
        if event.job_id not in self._lines:
            self._learn_jobs()
        line = self._lines.setdefault(event.job_id, JobLine("job"))
        if line.started_at:
            line.seconds = (event.created_at - line.started_at) / timedelta(seconds=1)
        if event.kind == "status":
            self._take_status(event, line, str(event.data.get("status", line.status)))
        elif event.kind == "progress":
            self._take_progress(event, line)
        elif event.kind == "message":
            self._view.said(line, str(event.data.get("text", "")))

    def _take_status(self, event: Event, line: JobLine, status: str) -> None:
        previous, line.status = line.status, status
        if status == "running" and line.started_at is None:
            line.started_at = event.created_at
            self._view.started(event.job_id, line)
        elif status in ENDED and previous not in ENDED:
            self._view.ended(event.job_id, line)
            problem = event.data.get("problem")
            if isinstance(problem, dict):
                self._view.said(line, f"{problem.get('detail', '')} {problem.get('hint', '')}".strip())
        elif status == "paused" and previous != status:
            self._view.said(line, "paused")
        ended = sum(line.status in ENDED for line in self._lines.values())
        self._view.counted(ended, len(self._lines))

    def _take_progress(self, event: Event, line: JobLine) -> None:
        figures = dict(event.data)
        line.done, line.total = int(figures.pop("done", 0)), int(figures.pop("total", 0))
        line.unit = str(figures.pop("unit", ""))
        line.figures = figures
        self._view.advanced(event.job_id, line)

    def _learn_jobs(self) -> None:
        for job in self._known_jobs():
            self._lines.setdefault(job.id, JobLine(job.name or job.kind))


def _ending(line: JobLine) -> str:
    figures = line.told_figures()
    took = f"  {duration(line.seconds)}" if line.started_at else ""
    load = f"  load {os.getloadavg()[0]:.1f}" if line.started_at else ""
    return f"{SIGNS.get(line.status, '?')} {line.name}: {line.status}{took}{load}{f'  {figures}' if figures else ''}"
