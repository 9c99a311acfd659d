"""A child ends when it is told to, when it will not listen, and when we die; and comes back when it crashes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segsmith_shared.embedded.supervise import LARGEST_LOG_BYTES, ChildFailed, ChildProcess, rotate, stop_all
from tests.fixtures.processes import eventually

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""
OWNER = """
import os, sys
from pathlib import Path
from segsmith_shared.embedded.supervise import ChildProcess
child = ChildProcess("sleeper", ["sleep", "600"], Path(sys.argv[1]), dict(os.environ))
child.start()
print(child.pid, flush=True)
sys.stdin.read()
"""


def child(tmp_path: Path, *command: str, **options: object) -> ChildProcess:
    return ChildProcess("child", command, tmp_path / "child.log", dict(os.environ), **options)  # type: ignore[arg-type]  # passed on as given


def says(child: ChildProcess, words: str) -> bool:
    return words in child.log_tail()


def test_a_child_that_ignores_the_stop_signal_is_killed_with_its_own_children(tmp_path: Path) -> None:
    started = child(tmp_path, "sh", "-c", f"sleep 600 & echo kid $!; exec {sys.executable} -c '{STUBBORN}'")
    started.start()
    eventually(lambda: says(started, "deaf"))
    kid = int(started.log_tail().split()[1])
    started.stop(grace_seconds=0.2)
    assert not started.running
    eventually(lambda: not Path(f"/proc/{kid}/exe").exists())


def test_a_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "log")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
    eventually(lambda: not Path(f"/proc/{pid}/exe").exists())


def test_a_child_survives_the_end_of_the_thread_that_asked_for_it(tmp_path: Path) -> None:
    from threading import Thread

    started = child(tmp_path, "sleep", "600")
    asking = Thread(target=started.start)
    asking.start()
    asking.join()
    with pytest.raises(ChildFailed, match="did not answer within"):
        started.wait_until_ready(lambda: False, timeout_seconds=0.5)
    assert started.running
    started.stop(grace_seconds=5)


def test_a_crashed_child_is_started_again_with_growing_pauses_until_it_is_stopped(tmp_path: Path) -> None:
    crashing = child(tmp_path, "sh", "-c", "date +%s.%N; exit 3", restarts=True)
    crashing.start()
    eventually(lambda: len(crashing.log_tail().split()) >= 3)
    crashing.stop(grace_seconds=5)
    first, second, third = (float(moment) for moment in crashing.log_tail().split()[:3])
    assert second - first >= 0.5
    assert third - second >= 1.0
    assert not crashing.running


def test_a_child_that_ends_while_starting_is_reported_with_its_last_words(tmp_path: Path) -> None:
    failing = child(tmp_path, "sh", "-c", "echo port 80 is not for you; exit 1")
    failing.start()
    with pytest.raises(ChildFailed, match="port 80 is not for you"):
        failing.wait_until_ready(lambda: False, timeout_seconds=10)
    failing.stop(grace_seconds=1)


def test_a_program_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    missing = child(tmp_path, "/no/such/program")
    missing.start()
    with pytest.raises(ChildFailed, match="No such file"):
        missing.wait_until_ready(lambda: False, timeout_seconds=10)


def test_stopping_many_takes_the_time_of_one(tmp_path: Path) -> None:
    deaf = [child(tmp_path, sys.executable, "-c", STUBBORN) for _ in range(4)]
    for one in deaf:
        one.start()
    eventually(lambda: deaf[0].log_tail().count("deaf") == len(deaf))
    begun = time.monotonic()
    stop_all(deaf, grace_seconds=1)
    assert time.monotonic() - begun < 3
    assert not any(one.running for one in deaf)


def test_the_stop_signal_is_the_one_asked_for(tmp_path: Path) -> None:
    script = "trap 'echo interrupted; exit 0' INT; echo waiting; while :; do sleep .05; done"
    polite = child(tmp_path, "bash", "-c", script, stop_signal=signal.SIGINT)
    polite.start()
    eventually(lambda: says(polite, "waiting"))
    polite.stop(grace_seconds=10)
    assert says(polite, "interrupted")


def test_an_old_large_log_makes_room(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    with log.open("wb") as file:
        file.truncate(LARGEST_LOG_BYTES + 1)
    rotate(log)
    assert not log.exists()
    assert (tmp_path / "child.log.1").stat().st_size == LARGEST_LOG_BYTES + 1
