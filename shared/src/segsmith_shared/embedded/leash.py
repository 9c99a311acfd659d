"""Ties a program to the life of its parent: run as a script, it becomes that program and dies when the parent dies.

`python -I -S leash.py PARENT_PID SIGNAL UID GID PROGRAM [ARGUMENT …]`; UID and GID may be `-`, which means unchanged.
A script of its own, because code between fork and exec in a threaded process can deadlock, and imports nothing of
segsmith, because it stands before every program that is started. Linux only, see prctl(2), PR_SET_PDEATHSIG.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def become(account_uid: int, account_gid: int) -> None:
    """Gives up root for good. Must come before the signal is asked for: changing the uid forgets it."""
    os.setgroups([])
    os.setgid(account_gid)
    os.setuid(account_uid)


def die_with_parent(parent_pid: int, death_signal: int) -> None:
    """Asks the kernel for `death_signal` at the parent's death, and looks whether that has happened already."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_PDEATHSIG")
    if os.getppid() != parent_pid:
        sys.exit(f"{parent_pid} ended before its child began")


def main() -> None:
    parent_pid, death_signal, uid, gid, *command = sys.argv[1:]
    if uid != "-":
        become(int(uid), int(gid))
    die_with_parent(int(parent_pid), signal.Signals(int(death_signal)))
    os.execvp(command[0], command)  # noqa: S606 - replacing itself by a program from a list is what this script is for


if __name__ == "__main__":
    main()
