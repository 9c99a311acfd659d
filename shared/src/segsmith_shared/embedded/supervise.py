"""Child processes that do not outlive us: started, watched, started again when they crash, and ended in time."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segsmith_shared.embedded.accounts import Account
from segsmith_shared.problems import Problem

log = logging.getLogger(__name__)

LEASH = Path(__file__).with_name("leash.py")
PROBE_PAUSE_SECONDS = 0.02
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 30.0
STEADY_SECONDS = 60.0  # a child that ran this long has earned a fresh back-off
LARGEST_LOG_BYTES = 32 * 2**20


class ChildFailed(Problem):
    """A child process ended, or did not answer, while it was being started."""

    status = 503
    title = "A process did not start"


@dataclass
class ChildProcess:
    """One program under our care.

    Each child is started and waited for by a thread of its own: the kernel ties the parent-death signal to the
    *thread* that forked, so that thread must live as long as the child. The child gets a session of its own, so that
    Ctrl-C reaches only us and we can end things in order.

    `environment` is the whole environment of the child. `keep_open` are file descriptors it inherits. `death_signal`
    reaches it when we die without stopping it; SIGKILL unless it has something to put in order without us.
    """

    name: str
    command: Sequence[str]
    log_file: Path
    environment: Mapping[str, str]
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    keep_open: tuple[int, ...] = ()
    standard_input: Path = Path(os.devnull)
    folder: Path | None = None
    restarts: bool = False
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _keeper: threading.Thread | None = field(default=None, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _ended: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    @property
    def pid(self) -> int | None:
        """The process id while the child runs, else None."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def running(self) -> bool:
        return self.pid is not None

    def start(self) -> None:
        """Starts the program. Raises OSError where it cannot be started at all."""
        rotate(self.log_file)
        self._stopping.clear()
        self._ended.clear()
        failures: list[OSError] = []
        begun = threading.Event()
        self._keeper = threading.Thread(
            target=self._keep, args=(begun, failures), name=f"keeper of {self.name}", daemon=True
        )
        self._keeper.start()
        begun.wait()
        if failures:
            raise failures[0]

    def wait_until_ready(self, is_ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Asks `is_ready` until it says yes. Raises ChildFailed with the end of the log when the child ends first."""
        deadline = time.monotonic() + timeout_seconds
        while not is_ready():
            if self._ended.wait(PROBE_PAUSE_SECONDS):
                raise ChildFailed(f"{self.name} ended while starting. Its log ends: {self.log_tail()}")
            if time.monotonic() > deadline:
                raise ChildFailed(f"{self.name} did not answer within {timeout_seconds:g} s. Log: {self.log_tail()}")

    def request_stop(self) -> None:
        """Sends the stop signal and returns at once; nothing is started again after this."""
        with self._lock:
            self._stopping.set()
            self._signal(self.stop_signal)

    def stop(self, grace_seconds: float) -> None:
        """Stop signal, then after `grace_seconds` SIGKILL to the child and all of its process group."""
        self.request_stop()
        if self._keeper is None:
            return
        self._keeper.join(grace_seconds)
        while self._keeper.is_alive():
            with self._lock:
                self._kill_group()
            self._keeper.join(1.0)

    def log_tail(self, lines: int = 8) -> str:
        """The last lines of the log, for error messages."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as text:
            text.seek(max(0, text.seek(0, os.SEEK_END) - 4096))
            return "\n".join(text.read().decode(errors="replace").splitlines()[-lines:])

    def _keep(self, begun: threading.Event, failures: list[OSError]) -> None:
        backoff_seconds = FIRST_BACKOFF_SECONDS
        while True:
            started_at = time.monotonic()
            try:
                process = self._spawn()
            except OSError as error:
                failures.append(error)  # start() raises the first; a restart tries again later
                process = None
            begun.set()
            exit_code = process.wait() if process is not None else None
            if not self.restarts or self._stopping.is_set():
                break
            if time.monotonic() - started_at > STEADY_SECONDS:
                backoff_seconds = FIRST_BACKOFF_SECONDS
            log.warning("%s ended (%s); starting it again in %g s", self.name, exit_code, backoff_seconds)
            if self._stopping.wait(backoff_seconds):
                break
            backoff_seconds = min(2 * backoff_seconds, LONGEST_BACKOFF_SECONDS)
        self._ended.set()

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        with self._lock, self.log_file.open("ab") as output, self.standard_input.open("rb") as given:
            if self._stopping.is_set():
                return None
            self._process = subprocess.Popen(
                leashed(self.command, self.death_signal, self.account),
                stdin=given,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                cwd=self.folder,
                start_new_session=True,
                pass_fds=self.keep_open,
            )
        return self._process

    def _signal(self, which: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(which)

    def _kill_group(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def leashed(command: Sequence[str], death_signal: signal.Signals, account: Account | None = None) -> list[str]:
    """The command line that runs `command` as `account` and sends it `death_signal` when this process dies."""
    uid, gid = (str(account.uid), str(account.gid)) if account else ("-", "-")
    leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(death_signal)), uid, gid]
    return [*leash, *command]


def stop_all(children: Iterable[ChildProcess], grace_seconds: float) -> None:
    """Ends all at once; the whole takes `grace_seconds`, not a multiple."""
    children = list(children)
    for child in children:
        child.request_stop()
    deadline = time.monotonic() + grace_seconds
    for child in children:
        child.stop(max(0.0, deadline - time.monotonic()))


def rotate(log_file: Path) -> None:
    """Keeps one older log, so that a long-lived folder does not fill the disk."""
    if log_file.exists() and log_file.stat().st_size > LARGEST_LOG_BYTES:
        log_file.replace(log_file.with_suffix(".log.1"))
