"""PostgreSQL in the foreground on loopback TCP, from the wheel's `initdb` and `postgres` alone."""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from segsmith_shared.embedded.accounts import Account, account_for, can_reach
from segsmith_shared.embedded.binaries import POSTGRES_FOLDER, POSTGRES_MAJOR, copy_postgres, postgres_site
from segsmith_shared.embedded.folder import FolderUnusable, Secrets, write_private
from segsmith_shared.embedded.ports import HOST
from segsmith_shared.embedded.supervise import ChildFailed, ChildProcess, leashed

USER = DATABASE = "segsmith"
SHARED_HOME = Path("/var/lib/segsmith")
CLEAN_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",  # 18's default keeps three more processes for disk reads
    "jit": "off",
    "logging_collector": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Postgres:
    """A data folder with its programs and the account they run as; `home` holds both and is ours."""

    home: Path
    account: Account | None
    secrets: Secrets
    durable: bool

    @property
    def data(self) -> Path:
        return self.home / "data"

    def url(self, port: int, database: str = DATABASE) -> str:
        return f"postgresql+psycopg://{USER}:{self.secrets.postgres_password}@{HOST}:{port}/{database}"

    def program(self, name: str) -> str:
        site = self.home / "programs"
        return str((site if site.exists() else postgres_site()) / POSTGRES_FOLDER / "bin" / name)

    def install(self, keep_open: Sequence[int]) -> None:
        """Makes the data folder at first use, and copies the programs where the account cannot reach them.

        Raises ChildFailed with initdb's words, FolderUnusable for data of another PostgreSQL version.
        """
        site = postgres_site()
        if not can_reach(self.account, site / POSTGRES_FOLDER / "bin"):
            copy_postgres(site, self.home / "programs")
        elif (self.home / "programs").exists():
            shutil.rmtree(self.home / "programs")
        if not self.data.exists():
            self._initialise(keep_open)
        version = (self.data / "PG_VERSION").read_text().strip()
        if version != str(POSTGRES_MAJOR):
            raise FolderUnusable(
                f"{self.data} was written by PostgreSQL {version}; installed is {POSTGRES_MAJOR}.",
                hint="Start with the older segsmith and dump the database, or name another folder.",
            )
        # We hold the folder's lock, so no postmaster of this folder lives; but its old number may be taken by now.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def child(self, port: int, log_file: Path, keep_open: tuple[int, ...]) -> ChildProcess:
        settings = SETTINGS | ({} if self.durable else NOT_DURABLE) | {"port": str(port)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return ChildProcess(
            name="postgres",
            command=[self.program("postgres"), "-D", str(self.data), *options],
            log_file=log_file,
            environment=CLEAN_ENVIRONMENT,
            account=self.account,
            stop_signal=signal.SIGINT,  # fast: SIGTERM would wait for every client to leave
            death_signal=signal.SIGINT,
            keep_open=keep_open,
            folder=self.home,
        )

    def answers(self, port: int) -> bool:
        try:
            with self._connect(port):
                return True
        except psycopg.OperationalError:
            return False

    def ensure_database(self, port: int) -> None:
        with self._connect(port) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
            if found is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))

    def _connect(self, port: int) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=HOST,
            port=port,
            user=USER,
            password=self.secrets.postgres_password,
            dbname="postgres",
            autocommit=True,
            connect_timeout=5,
        )

    def _initialise(self, keep_open: Sequence[int]) -> None:
        """initdb into a draft folder that gets its name only when complete, so that a cut start is begun anew."""
        draft, password_file = self.home / "data.draft", self.home / "password.draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        write_private(password_file, self.secrets.postgres_password)
        if self.account is not None:
            os.chown(draft, self.account.uid, self.account.gid)
            os.chown(password_file, self.account.uid, self.account.gid)
        options = ["-D", str(draft), "-U", USER, f"--pwfile={password_file}", "--auth=scram-sha-256"]
        options += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        options += ["--no-instructions"] if self.durable else ["--no-instructions", "--no-sync"]
        ended = subprocess.run(
            leashed([self.program("initdb"), *options], signal.SIGKILL, self.account),
            env=CLEAN_ENVIRONMENT,
            cwd=self.home,
            pass_fds=keep_open,
            capture_output=True,
            text=True,
            check=False,
        )
        password_file.unlink()
        if ended.returncode != 0:
            raise ChildFailed(f"initdb failed: {(ended.stderr or ended.stdout).strip()}")
        draft.rename(self.data)


def postgres_in(folder: Path, secrets: Secrets, durable: bool) -> Postgres:
    """The Postgres of a data folder.

    Its home is `folder/postgres`, unless this process is root and Postgres's account cannot pass through to there
    (the home of root, say): then a folder under /var/lib/segsmith, with a pointer to it in `folder/postgres.location`.
    """
    home = folder / "postgres"
    pointer = folder / "postgres.location"
    account = account_for(home / "data")
    if pointer.exists():
        home = Path(pointer.read_text().strip())
        account = account_for(home / "data")
        if not home.exists():
            raise FolderUnusable(
                f"The database of {folder} was in {home}, which is gone.",
                hint=f"Restore it, or start empty by removing {folder}.",
            )
    elif not can_reach(account, folder):
        home = SHARED_HOME / secrets.identity
        _forget_data_of_removed(folder)
        home.mkdir(parents=True, exist_ok=True)
        write_private(home / "belongs-to", str(folder))
        write_private(pointer, str(home))
    if not home.exists():
        home.mkdir()
    if account is not None:
        home.chmod(0o711)
    return Postgres(home=home, account=account, secrets=secrets, durable=durable)


def _forget_data_of_removed(folder: Path) -> None:
    """Somebody removed this very data folder and begins anew: what it kept elsewhere goes with it."""
    for note in SHARED_HOME.glob("*/belongs-to"):
        if note.read_text() == str(folder):
            shutil.rmtree(note.parent)
