"""Runs tests against a changed module without touching its file: a forked child imports the change in its place."""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Literal, NoReturn

Outcome = Literal["killed", "survived", "timed out"]

_GRACE_SECONDS = 20.0
_POLL_SECONDS = 0.02
_ARGUMENTS = ("-p", "pytest_timeout", "-p", "no:cacheprovider", "-q", "-x", "--tb=line")
_USAGE_ERRORS = (4, 5)  # pytest: wrong arguments, no test collected


class TestsNotRun(RuntimeError):
    """Pytest could not even collect the tests: the outcome would say nothing of the change."""


@dataclass(frozen=True)
class Trial:
    """A module with another source, and the tests that should notice."""

    module: str
    source: str
    tests: Sequence[str]
    timeout_s: float


@dataclass
class _Running:
    number: int
    trial: Trial
    log: Path
    started: float
    interrupted: float | None = field(default=None)


class _Replaced(importlib.abc.MetaPathFinder):
    """Finds one module, whose file stays as it is, with another source."""

    def __init__(self, module: str, source: str) -> None:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise TestsNotRun(f"there is no module {module}")
        self._module, self._path, self._source = module, spec.origin, source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._module:
            return None
        return importlib.util.spec_from_file_location(
            fullname, self._path, loader=_Loader(fullname, self._path, self._source)
        )


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self._changed = source

    def get_code(self, fullname: str) -> CodeType:
        """Never the cached bytecode, which is the unchanged module's."""
        return compile(self._changed, self.path, "exec", dont_inherit=True)


def run_trials(trials: Sequence[Trial], *, jobs: int) -> Iterator[tuple[int, Outcome, float, str]]:
    """(number of the trial, outcome, seconds, what pytest printed) as trials end, `jobs` of them at a time.

    Modules that the caller has imported, such as torch, are not imported again in each trial. Raises
    TestsNotRun where pytest finds no test or does not understand its arguments.
    """
    running: dict[int, _Running] = {}
    waiting = iter(enumerate(trials))
    with tempfile.TemporaryDirectory(prefix="segsmith-mutation-") as folder:
        try:
            while True:
                while len(running) < jobs and (following := next(waiting, None)) is not None:
                    number, trial = following
                    log = Path(folder) / f"{number}.log"
                    running[_start(trial, log)] = _Running(number, trial, log, time.monotonic())
                if not running:
                    return
                for process, status in _ended(running):
                    ended = running.pop(process)
                    printed = ended.log.read_text(errors="replace")
                    ended.log.unlink()
                    yield ended.number, _outcome(ended, status, printed), time.monotonic() - ended.started, printed
                _interrupt_late(running)
                time.sleep(_POLL_SECONDS)
        finally:
            _stop(running)


def _start(trial: Trial, log: Path) -> int:
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        _be_child(trial, log)
    return process


def _be_child(trial: Trial, log: Path) -> NoReturn:
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        file = os.open(log, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.meta_path.insert(0, _Replaced(trial.module, trial.source))
        import pytest

        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # importing all that are installed takes most of a trial
        code = int(pytest.main([*_ARGUMENTS, *trial.tests]))
    except BaseException:  # noqa: BLE001  # a forked child never returns into its parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _ended(running: dict[int, _Running]) -> list[tuple[int, int]]:
    found = [os.waitpid(process, os.WNOHANG) for process in running]
    return [(process, status) for process, status in found if process]


def _outcome(ended: _Running, status: int, printed: str) -> Outcome:
    if ended.interrupted is not None:
        return "timed out"
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) in _USAGE_ERRORS:
        raise TestsNotRun(printed[-2000:])
    return "survived" if status == 0 else "killed"


def _interrupt_late(running: dict[int, _Running]) -> None:
    """Ctrl-C first, so that fixtures stop the servers they have started; then the whole process group is killed."""
    now = time.monotonic()
    for process, each in running.items():
        if each.interrupted is None and now - each.started > each.trial.timeout_s:
            each.interrupted = now
            os.kill(process, signal.SIGINT)
        elif each.interrupted is not None and now - each.interrupted > _GRACE_SECONDS:
            os.killpg(process, signal.SIGKILL)


def _stop(running: dict[int, _Running]) -> None:
    for process in running:
        os.kill(process, signal.SIGINT)
    deadline = time.monotonic() + _GRACE_SECONDS
    for process in running:
        while os.waitpid(process, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                os.killpg(process, signal.SIGKILL)
            time.sleep(_POLL_SECONDS)
