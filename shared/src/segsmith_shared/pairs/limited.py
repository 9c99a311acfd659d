"""Child processes that read what strangers sent: little memory, little time, no secrets, replaced when they die.

A request is one JSON object per line on the child's stdin; the answer is one JSON line on its stdout, followed by the
binary blobs that the line announces. Nothing is ever pickled. A child ends by itself when its parent does: its stdin
ends.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import IO, Any, Self

Document = dict[str, Any]
Answer = tuple[Document, list[bytes]]

_PASSED_ON = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUTF8": "1"}
_LOG_BYTES = 2**20


@dataclass(frozen=True)
class ProcessLimits:
    """What one child may use: address space in all, processor and clock time per request, bytes per file it writes."""

    memory_bytes: int = 3 * 2**29
    cpu_seconds: float = 30.0
    clock_seconds: float = 300.0
    file_bytes: int = _LOG_BYTES


class ChildDied(Exception):
    """A limited child ended without an answer. `signal_number` is what killed it, where a signal did."""

    def __init__(self, return_code: int, last_words: str) -> None:
        super().__init__(f"ended with code {return_code}: {last_words or 'no message'}")
        self.signal_number = -return_code if return_code < 0 else None

    @property
    def ran_out_of_time(self) -> bool:
        return self.signal_number in {signal.SIGPROF, signal.SIGALRM, signal.SIGXCPU}


@dataclass(frozen=True)
class _Child:
    process: subprocess.Popen[bytes]
    requests: IO[bytes]
    answers: IO[bytes]
    log: IO[bytes]

    @classmethod
    def start(cls, command: list[str]) -> Self:
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _ONE_THREAD
        log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment)
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("Popen made no pipes")
        return cls(process, process.stdin, process.stdout, log)

    def last_words(self) -> str:
        self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - 2000))
        return self.log.read().decode(errors="replace").strip()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.requests, self.answers, self.log):
            with suppress(BrokenPipeError):
                stream.close()


class LimitedProcess:
    """One child running `module` (which calls `serve`), started at the first request and again after it died."""

    def __init__(self, module: str, limits: ProcessLimits) -> None:
        self._command = [sys.executable, "-m", module, json.dumps(asdict(limits))]
        self._child: _Child | None = None

    def ask(self, request: Document, on_note: Callable[[Document], None] | None = None) -> Answer:
        """The child's answer; notes it sends before (e.g. progress) go to `on_note`. Raises ChildDied."""
        self._child = child = self._child or _Child.start(self._command)
        try:
            child.requests.write(json.dumps(request).encode() + b"\n")
            child.requests.flush()
            while True:
                head = _read_head(child.answers)
                if "note" not in head:
                    return head, [_read_exactly(child.answers, size) for size in head.pop("blob_bytes")]
                if on_note is not None:
                    on_note(head["note"])
        except (BrokenPipeError, EOFError):
            return_code, last_words = child.process.wait(), child.last_words()
            self.close()
            raise ChildDied(return_code, last_words) from None

    def interrupt(self) -> None:
        """Kill the child from any thread; whoever waits in `ask` gets ChildDied."""
        child = self._child
        if child is not None:
            child.process.kill()

    def close(self) -> None:
        """End the child at once; an answer on its way is lost. Safe to call twice."""
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def _read_head(stream: IO[bytes]) -> Document:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    head: Document = json.loads(line)
    return head


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError
    return data


def serve(handle: Callable[[Document, Callable[[Document], None]], tuple[Document, Iterable[bytes]]]) -> None:
    """The child's side: limit itself, then answer requests until stdin ends. `handle(request, note)` does the work."""
    limits = ProcessLimits(**json.loads(sys.argv[1]))
    # Answers travel on a private copy of stdout: a library that prints cannot garble them.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    limit_this_process(limits)

    def note(document: Document) -> None:
        answers.write(json.dumps({"note": document}).encode() + b"\n")
        answers.flush()

    for line in sys.stdin.buffer:
        # Default actions of both timers end the process, also inside a C decoder that never returns to Python.
        signal.setitimer(signal.ITIMER_PROF, limits.cpu_seconds)
        signal.setitimer(signal.ITIMER_REAL, limits.clock_seconds)
        head, blobs = handle(json.loads(line), note)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        kept = list(blobs)
        answers.write(json.dumps(head | {"blob_bytes": [len(blob) for blob in kept]}).encode() + b"\n")
        answers.writelines(kept)
        answers.flush()


def limit_this_process(limits: ProcessLimits) -> None:
    """Bound memory and written files for good, and leave no core file with somebody's pictures behind."""
    for kind, bound in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (bound if hard == resource.RLIM_INFINITY else min(bound, hard),) * 2)
