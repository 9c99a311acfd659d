"""Postgres refuses to run as root: which account runs it then, and what that account can reach."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from segsmith_shared.problems import Problem


class NoUnprivilegedAccount(Problem):
    """Started as root on a system without an account that Postgres could run as."""

    status = 500
    title = "Postgres does not run as root"


@dataclass(frozen=True)
class Account:
    """Who a program runs as."""

    uid: int
    gid: int


def account_for(data_folder: Path) -> Account | None:
    """The account for Postgres; None means the present one will do.

    As root: whoever owns the data already, else `postgres`, else `nobody` (initdb wants a name for its uid).
    Raises NoUnprivilegedAccount.
    """
    if os.geteuid() != 0:
        return None
    if data_folder.exists() and (owner := data_folder.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise NoUnprivilegedAccount(
        "This process is root and the system has neither an account `postgres` nor `nobody`.",
        hint="Start as an ordinary user, or add one: useradd --system postgres",
    )


def can_reach(account: Account | None, path: Path) -> bool:
    """Whether the account may pass through every folder above and including `path` (permission bits only)."""
    if account is None:
        return True
    return all(_may_enter(account, folder.stat()) for folder in (path, *path.parents) if folder.is_dir())


def _may_enter(account: Account, folder: os.stat_result) -> bool:
    if folder.st_uid == account.uid:
        return bool(folder.st_mode & stat.S_IXUSR)
    if folder.st_gid == account.gid:
        return bool(folder.st_mode & stat.S_IXGRP)
    return bool(folder.st_mode & stat.S_IXOTH)
