"""Preloaded first by the fork server: it then dies with its worker, and so do the jobs' processes it forks."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask Linux for SIGKILL at the parent's death (prctl(2)); elsewhere nothing."""
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_PDEATHSIG")


def _is_fork_server() -> bool:
    return os.getpid() != 1 and any("multiprocessing.forkserver" in argument for argument in sys.orig_argv)


if _is_fork_server():
    die_with_parent()
    # systemd and Ctrl-C signal a whole group; the worker alone decides what its jobs do about it
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
