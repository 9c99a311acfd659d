"""The data folder: made private, held by one process at a time, with passwords that are drawn once and stay."""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from segsmith_shared.problems import Conflict, Problem


class FolderInUse(Conflict):
    """Another process serves from this data folder."""

    title = "The data folder is in use"


class FolderUnusable(Problem):
    """The data folder cannot be read or written by this user."""

    status = 500
    title = "The data folder cannot be used"


@dataclass(frozen=True)
class Secrets:
    """Passwords of the three servers, and a name for this folder's data wherever it has to live."""

    identity: str
    postgres_password: str
    redis_password: str
    s3_access_key: str
    s3_secret_key: str


def prepare(folder: Path) -> Path:
    """The absolute data folder, made if need be (mode 0711: passable for Postgres's account, its list hidden).

    A folder that exists keeps its permissions. Raises FolderUnusable.
    """
    folder = folder.absolute()
    try:
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o711)
        for name in ("logs", "objects"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise FolderUnusable(f"{folder}: {error.strerror}", hint="Name a folder that you may write to.") from error
    return folder


@contextmanager
def held(folder: Path, patience_seconds: float = 15.0) -> Iterator[int]:
    """Holds the folder's lock and yields its descriptor, which the servers inherit.

    The lock is free only when we *and* every server are gone: after a `kill -9` the next start waits for the old
    servers to leave instead of meeting them. Raises FolderInUse naming the process that serves from this folder.
    """
    descriptor = _open_lock(folder / "lock")
    try:
        deadline = time.monotonic() + patience_seconds
        while not _try_lock(descriptor):
            holder = os.pread(descriptor, 32, 0).decode().strip()
            if time.monotonic() > deadline or (holder.isdigit() and _alive(int(holder))):
                raise FolderInUse(
                    f"{folder} is served by process {holder or '(unknown)'}.",
                    hint=f"Stop it (kill {holder or 'PID'}), or name another folder with --data.",
                    pid=int(holder) if holder.isdigit() else None,
                )
            time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def read_or_draw_secrets(folder: Path) -> Secrets:
    """The secrets of this folder, drawn at first use and kept in `secrets.json`, mode 0600."""
    path = folder / "secrets.json"
    if not path.exists():
        drawn = Secrets(
            identity=secrets.token_hex(8),
            postgres_password=secrets.token_urlsafe(24),
            redis_password=secrets.token_urlsafe(24),
            s3_access_key=f"segsmith{secrets.token_hex(6)}",
            s3_secret_key=secrets.token_urlsafe(30),
        )
        write_private(path, json.dumps(asdict(drawn), indent=2))
    return Secrets(**json.loads(path.read_text()))


def write_private(path: Path, text: str) -> None:
    """Writes the file whole or not at all, readable by its owner alone from the first byte on."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError as error:
        raise FolderUnusable(
            f"{path.parent} belongs to another user.", hint="Name another folder with --data."
        ) from error


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and only waits to be collected by its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
