"""What the product asks of the database, asked through its own functions, with times, plans and memory."""

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

REPEATABLE = ("SELECT", "UPDATE", "DELETE", "WITH")
"""Statements that can run twice in one transaction; an INSERT would meet its own rows."""


@dataclass(frozen=True)
class Question:
    """A function of the product, called in a transaction that is then rolled back."""

    name: str
    ask: Callable[[Session], Any]


@dataclass(frozen=True)
class Statement:
    """One statement as it reached the server."""

    text: str
    parameters: Any
    seconds: float


@dataclass
class Answer:
    """What a question cost: in all, and in the database; the plan of its slowest statement; or how it failed.

    `blocks` are the 8 KiB pages that this plan touched: they tell of work also where a busy machine spoils the times.
    """

    name: str
    seconds: float = 0.0
    database_seconds: float = 0.0
    statements: int = 0
    blocks: int = 0
    peak_memory_bytes: int = 0
    failure: str | None = None
    slowest: str = ""
    plan: list[str] = field(default_factory=list)


def answer(engine: Engine, question: Question) -> Answer:
    """Ask once; then let the database explain the slowest statement, run again within the same transaction."""
    told = Answer(question.name)
    _forget_peak_memory()
    with Session(engine) as session, _listening(engine) as heard:
        began = time.perf_counter()
        try:
            question.ask(session)
            session.flush()
            _note_costs(told, heard, time.perf_counter() - began)
            if heard:
                slowest = max(heard, key=lambda statement: statement.seconds)
                told.slowest, told.plan = slowest.text, _plan(session, slowest)
                told.blocks = _blocks(told.plan)
            session.rollback()
        except (SQLAlchemyError, psycopg.Error) as error:  # a limit of the server or of its protocol: a finding
            _note_costs(told, heard, time.perf_counter() - began)
            told.failure = str(error).splitlines()[0][:200]
            session.invalidate()
    return told


def _note_costs(told: Answer, heard: Sequence[Statement], seconds: float) -> None:
    told.seconds = told.seconds or seconds
    told.peak_memory_bytes = _peak_memory_bytes()
    told.statements = len(heard)
    told.database_seconds = sum(statement.seconds for statement in heard)


def _plan(session: Session, statement: Statement) -> list[str]:
    if not statement.text.lstrip().upper().startswith(REPEATABLE) or isinstance(statement.parameters, list):
        return []
    cursor = session.connection().connection.cursor()
    cursor.execute("SET LOCAL statement_timeout = 0")
    cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {statement.text}", statement.parameters)
    return [str(row[0]) for row in cursor.fetchall()]


def _blocks(plan: Sequence[str]) -> int:
    """What the first line on buffers says, which is of the whole plan."""
    line = next((line for line in plan if "Buffers: shared" in line), "")
    return sum(int(count) for count in re.findall(r"(?:hit|read)=(\d+)", line.partition(",")[0]))


@contextmanager
def _listening(engine: Engine) -> Iterator[list[Statement]]:
    heard: list[Statement] = []

    def before(connection: Any, *_rest: Any) -> None:
        connection.info["statement_began"] = time.perf_counter()

    def after(connection: Any, _cursor: Any, text: str, parameters: Any, *_rest: Any) -> None:
        heard.append(Statement(text, parameters, time.perf_counter() - connection.info["statement_began"]))

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    try:
        yield heard
    finally:
        event.remove(engine, "before_cursor_execute", before)
        event.remove(engine, "after_cursor_execute", after)


def _forget_peak_memory() -> None:
    """Linux then counts this process's peak anew."""
    if os.access("/proc/self/clear_refs", os.W_OK):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
