"""One child process per claim, forked from a server that has only imported: it can be asked, or made, to end."""

import ctypes
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import connection, forkserver
from pathlib import Path

from segsmith_shared.jobs import inside
from segsmith_shared.jobs.claim import Claim
from segsmith_shared.jobs.context import STOP_REASONS, StopReason
from segsmith_shared.settings import Settings

NEVER = float("inf")
CONTEXT = multiprocessing.get_context("forkserver")
ALWAYS_PRELOADED = (
    "segsmith_shared.jobs.tether",
    "segsmith_shared.jobs.inside",
    "segsmith_shared.jobs.probe",
    "segsmith_shared.storage.objects",
    "sqlalchemy.dialects.postgresql.psycopg",  # these two an engine would import when it is made: .15 s per child
    "psycopg",
)


def start_fork_server(preload: Sequence[str]) -> None:
    """Start the server from the calling thread, which must outlive all jobs, and wait until it has imported.

    Starting a child blocks until then, and a job claimed meanwhile would fall silent and be taken from us.
    """
    CONTEXT.set_forkserver_preload([*ALWAYS_PRELOADED, *preload])
    forkserver.ensure_running()
    first = CONTEXT.Process(target=os.getpid, name="segsmith warm-up")
    first.start()
    first.join()
    first.close()


class Child:
    """The process of one claim, as its worker sees it.

    `ask`, `take_back_pause` and `kill` may be called from any thread and from signal handlers: they only write memory
    and wake the thread in `wait`, which alone sends signals, while the process is surely still ours.
    """

    def __init__(self, claim: Claim, entry: str, settings: Settings) -> None:
        self.killed_for: str | None = None
        self.peak_memory_bytes = 0
        self._flag = CONTEXT.RawValue(ctypes.c_int, 0)
        self._grace_seconds = settings.stop_grace_seconds
        self._deadline = NEVER
        self._pid = 0
        self._process = CONTEXT.Process(
            target=inside.run, args=(claim, entry, settings, self._flag), name=f"segsmith {claim.kind}"
        )
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)

    def start(self) -> None:
        self._process.start()
        self._pid = self._process.pid or 0

    def ask(self, reason: StopReason) -> None:
        """Have the step stop at its next step; for a cancel or a shutdown, kill it when the grace is over."""
        self._flag.value = max(self._flag.value, STOP_REASONS.index(reason))
        if reason is not StopReason.PAUSE and self._deadline == NEVER:
            self._deadline = time.monotonic() + self._grace_seconds
        self._wake()

    def take_back_pause(self) -> None:
        if self._flag.value == STOP_REASONS.index(StopReason.PAUSE):
            self._flag.value = 0

    def kill(self, reason: str) -> None:
        """End it now; whatever it computes belongs to nobody any more."""
        self.killed_for = reason
        self._deadline = 0.0
        self._wake()

    def wait(self) -> int:
        """Wait for the end, enforcing deadlines. Returns the exit code: 0 means stored, negative is a signal."""
        while True:
            left_seconds = max(0.0, self._deadline - time.monotonic())
            timeout = None if left_seconds == NEVER else left_seconds
            ready = connection.wait([self._process.sentinel, self._wake_reader], timeout)
            if self._process.sentinel in ready:
                break
            if self._wake_reader in ready:
                os.read(self._wake_reader, 4096)
            if time.monotonic() >= self._deadline:
                self.killed_for = self.killed_for or "did not stop in time"
                self._process.kill()
                self._kill_group()
                self._deadline = time.monotonic() + 1  # a process deep in a driver dies late; ask again, do not spin
        self._process.join()
        self._kill_group()  # whatever processes its step left behind
        return self._process.exitcode or 0

    def close(self) -> None:
        self._process.close()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def sample_memory(self) -> int:
        """The highest resident size so far, in bytes: read from outside, because a killed process tells nothing."""
        with suppress(OSError, ValueError):  # gone meanwhile, or not Linux: the last sample stands; a zombie has none
            status = Path(f"/proc/{self._pid}/status").read_text()
            kilobytes = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), "0")
            self.peak_memory_bytes = max(self.peak_memory_bytes, int(kilobytes) * 1024)
        return self.peak_memory_bytes

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError):  # nobody left
            os.killpg(self._pid, signal.SIGKILL)

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # the pipe is full of wakes already
            os.write(self._wake_writer, b"!")
