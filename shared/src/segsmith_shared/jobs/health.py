"""How a worker or the caretaker is, left in a small file: `python -m segsmith_shared.jobs.health live` reads it.

An orchestrator asks twice a minute for as long as we live, so that nothing but the standard library is imported here.
Moments are of the kernel's monotonic clock: all processes of a machine share it, and nobody can set it.
"""

import argparse
import json
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

log = logging.getLogger(__name__)

NEVER = math.inf
START_SECONDS = 600.0
QUESTIONS = ("live", "ready")
Question = Literal["live", "ready"]


@dataclass(frozen=True)
class Deadlines:
    """A part that has not said again by then that it is well is not: not ready, or beyond help."""

    ready_until: float
    live_until: float


class Health:
    """The writer's side; `file` None writes nothing. Its methods may be called from any thread.

    Not ready means that work would not begin now, and passes by itself; not live means that only a new start helps.
    Each of `parts` has ten minutes to be well for the first time, and is not ready until then.
    """

    def __init__(self, file: Path | None, parts: Sequence[str]) -> None:
        self._file = file
        self._writing = threading.Lock()
        now = time.monotonic()
        self._parts = {part: Deadlines(ready_until=now, live_until=now + START_SECONDS) for part in parts}
        self._write()

    def well(self, part: str, *, ready_seconds: float = NEVER, live_seconds: float = NEVER) -> None:
        """The part is well now; for so long this holds unless it says so again."""
        now = time.monotonic()
        self._parts[part] = Deadlines(now + ready_seconds, now + live_seconds)
        self._write()

    def _write(self) -> None:
        if self._file is None:
            return
        with self._writing:
            parts = {part: asdict(deadlines) for part, deadlines in self._parts.items()}
            new = self._file.with_suffix(".new")
            try:
                new.write_text(json.dumps({"pid": os.getpid(), "born": born(os.getpid()), "parts": parts}))
                new.replace(self._file)
            except OSError as error:  # work goes on; whoever watches hears of it by the deadlines
                log.warning("the health file %s cannot be written: %s", self._file, error)


def complaints(file: Path, question: Question, now: float) -> list[str]:
    """What speaks against `live` or `ready` at the moment `now` of the monotonic clock; nothing when all is well."""
    try:
        told = json.loads(file.read_text())
        parts = {part: Deadlines(**deadlines) for part, deadlines in told["parts"].items()}
        writer = (int(told["pid"]), told["born"])
    except FileNotFoundError:
        return [f"{file} is not there: the process is still starting, or HEALTH_FILE names another file for it"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return [f"{file} is not what a worker writes: {error}"]
    if born(writer[0]) != writer[1]:
        return [f"process {writer[0]}, which wrote {file}, is gone"]
    late = {part: now - (each.live_until if question == "live" else each.ready_until) for part, each in parts.items()}
    return [f"{part}: overdue for {seconds:.0f} s" for part, seconds in late.items() if seconds > 0]


def born(pid: int) -> str | None:
    """When the process was started, in the kernel's count: after a restart in one container, pid 1 is another."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return after_name.split()[19]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m segsmith_shared.jobs.health", description=__doc__)
    parser.add_argument("question", choices=QUESTIONS, help="ready: work begins at once; live: no new start is needed")
    parser.add_argument("--file", default=os.environ.get("HEALTH_FILE"), help="default: HEALTH_FILE")
    arguments = parser.parse_args()
    if not arguments.file:
        sys.exit("segsmith: name the health file: HEALTH_FILE=/tmp/health.json, for the service and for this command.")
    against = complaints(Path(arguments.file), arguments.question, time.monotonic())
    if against:
        sys.exit(f"segsmith: not {arguments.question}: {'; '.join(against)}")


if __name__ == "__main__":
    main()
