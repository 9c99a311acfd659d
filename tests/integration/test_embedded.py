"""The embedded servers as a user meets them: crashes, Ctrl-C, restarts, neighbours, root and ordinary users."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import redis

from segsmith_shared.embedded import EmbeddedServers, ports, postgres
from segsmith_shared.embedded.accounts import Account, can_reach
from segsmith_shared.embedded.binaries import copy_postgres, postgres_site
from segsmith_shared.embedded.folder import FolderInUse, FolderUnusable
from segsmith_shared.settings import Settings
from segsmith_shared.storage.objects import ObjectStore
from tests.fixtures.processes import eventually, processes_in

AS_ROOT = os.geteuid() == 0
SERVE = """
import json, sys
from pathlib import Path
from segsmith_shared.embedded import EmbeddedServers
try:
    with EmbeddedServers.start(Path(sys.argv[1]), durable=len(sys.argv) > 2) as servers:
        print(json.dumps(servers.environment), flush=True)
        servers.wait()
except KeyboardInterrupt:
    pass  # Ctrl-C between the print and the wait
"""


@pytest.fixture
def folder(reachable_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    parent = reachable_folder / request.function.__name__
    parent.mkdir()
    parent.chmod(0o711)
    yield parent / "data of 'Ö' [1]: 100%"
    shutil.rmtree(parent)


@pytest.fixture(scope="module")
def running(reachable_folder: Path) -> Iterator[EmbeddedServers]:
    """Servers of this module's own, for what may be done to them without a start of one's own."""
    with EmbeddedServers.start(reachable_folder / "other [folder]", durable=False) as running:
        yield running


@dataclass
class Serving:
    """A process that serves from a folder, as `make up` does."""

    process: subprocess.Popen[str]
    environment: dict[str, str]


@contextmanager
def serving(folder: Path, *options: str, command: list[str] | None = None) -> Iterator[Serving]:
    process = subprocess.Popen(
        [*(command or [sys.executable]), "-c", SERVE, str(folder), *options],
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert process.stdout is not None
    try:
        yield Serving(process, json.loads(process.stdout.readline()))
    finally:
        process.stdout.close()
        process.kill()
        process.wait()
        eventually(lambda: processes_in(folder) == [])


def query(environment: dict[str, str], statement: str) -> list[tuple[object, ...]]:
    url = environment["DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def broker(environment: dict[str, str]) -> redis.Redis:
    return redis.Redis.from_url(environment["REDIS_URL"])


def store(environment: dict[str, str]) -> ObjectStore:
    return ObjectStore.from_settings(Settings(**environment))  # type: ignore[arg-type]  # parsed from text, as at start


def test_a_killed_parent_leaves_no_server_and_the_next_start_has_its_data(folder: Path) -> None:
    with serving(folder) as first:
        query(first.environment, "CREATE TABLE kept AS SELECT 7 AS number")
        left_behind = processes_in(folder)
        assert len(left_behind) > 3
        first.process.kill()
        first.process.wait()
        with serving(folder) as second:  # at once: it must wait for the old servers to leave
            assert not set(left_behind) & set(processes_in(folder))
            assert query(second.environment, "SELECT number FROM kept") == [(7,)]


def test_ctrl_c_stops_everything_in_order(folder: Path) -> None:
    with serving(folder) as running:
        os.killpg(running.process.pid, signal.SIGINT)  # the whole foreground group, as a terminal does
        assert running.process.wait(timeout=15) == 0
        assert processes_in(folder) == []
    assert "database system is shut down" in (folder / "logs" / "postgres.log").read_text()


def test_a_restart_keeps_rows_messages_objects_and_passwords(folder: Path) -> None:
    with EmbeddedServers.start(folder) as first:
        query(first.environment, "CREATE TABLE kept AS SELECT 1 AS number")
        with broker(first.environment) as client:
            client.set("kept", "2")
        digest = store(first.environment).put_bytes(b"3")
    with EmbeddedServers.start(folder) as second:
        assert query(second.environment, "SELECT number FROM kept") == [(1,)]
        with broker(second.environment) as client:
            assert client.get("kept") == b"2"
        assert store(second.environment).get_bytes(digest) == b"3"
        assert second.environment["S3_SECRET_KEY"] == first.environment["S3_SECRET_KEY"]


def test_two_folders_serve_side_by_side_and_do_not_share_passwords(
    running: EmbeddedServers, servers: EmbeddedServers
) -> None:
    one, other = running.environment, servers.environment
    addresses = {e[name].rpartition("@")[2] for e in (one, other) for name in ("DATABASE_URL", "REDIS_URL")}
    assert len(addresses) == 4
    query(one, "CREATE TABLE only_here (number int)")
    assert query(other, "SELECT 1 FROM pg_tables WHERE tablename = 'only_here'") == []
    foreign = one["REDIS_URL"].partition("@")[0] + "@" + other["REDIS_URL"].partition("@")[2]
    with pytest.raises(redis.AuthenticationError), redis.Redis.from_url(foreign) as client:
        client.ping()


def test_a_second_start_in_the_same_folder_names_the_first_process(running: EmbeddedServers) -> None:
    with pytest.raises(FolderInUse, match=f"process {os.getpid()}"), EmbeddedServers.start(running.folder):
        pass
    assert query(running.environment, "SELECT 1") == [(1,)]


def test_no_password_can_be_read_by_other_users(running: EmbeddedServers) -> None:
    secret = json.loads((running.folder / "secrets.json").read_text())
    passwords = [value for name, value in secret.items() if name != "identity"]
    for pid in processes_in(running.folder):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        assert not any(password in words for password in passwords)
    for path in readable_by_others(running.folder):
        content = path.read_bytes().decode(errors="replace")
        assert not any(password in content for password in passwords), path
    wrong = running.environment["DATABASE_URL"].replace(secret["postgres_password"], "guess")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        query({"DATABASE_URL": wrong}, "SELECT 1")


def readable_by_others(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        mode = path.stat().st_mode
        if path.is_dir() and mode & 0o011:
            yield from readable_by_others(path)
        elif path.is_file() and mode & 0o044:
            yield path


def test_crashed_servers_come_back_where_they_were(running: EmbeddedServers) -> None:
    killed = [child.pid for child in running.children]
    for pid in killed:
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def all_answer() -> bool:
        try:
            with broker(running.environment) as client:
                client.ping()
            store(running.environment)
            return query(running.environment, "SELECT 1") == [(1,)]
        except (psycopg.OperationalError, redis.ConnectionError):
            return False

    eventually(lambda: all_answer() and not {child.pid for child in running.children} & {*killed, None})


def test_a_port_that_somebody_took_costs_another_attempt(
    folder: Path, servers: EmbeddedServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = int(servers.environment["REDIS_URL"].rpartition(":")[2].partition("/")[0])
    offered = iter([taken, ports.free_port(), taken, ports.free_port(), taken, ports.free_port()])
    monkeypatch.setattr("segsmith_shared.embedded.servers.free_port", lambda: next(offered))
    with EmbeddedServers.start(folder, durable=False) as running:
        assert query(running.environment, "SELECT 1") == [(1,)]


def test_a_cut_first_start_is_begun_anew(folder: Path) -> None:
    (folder / "postgres" / "data.draft").mkdir(parents=True)
    (folder / "postgres" / "data.draft" / "PG_VERSION").write_text("18")
    folder.chmod(0o711)
    with EmbeddedServers.start(folder, durable=False) as running:
        assert query(running.environment, "SELECT 1") == [(1,)]


def test_data_of_another_postgres_is_refused_in_words(folder: Path) -> None:
    (folder / "postgres" / "data").mkdir(parents=True)
    (folder / "postgres" / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(FolderUnusable, match="PostgreSQL 17"), EmbeddedServers.start(folder, durable=False):
        pass
    assert processes_in(folder) == []


@pytest.mark.skipif(not AS_ROOT, reason="only root meets folders that Postgres's account cannot enter")
def test_under_a_private_folder_of_root_the_data_lives_elsewhere_and_no_permission_changes(
    folder: Path, reachable_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, private = reachable_folder / "var-lib", folder.parent / "root"
    elsewhere.mkdir()
    private.mkdir(mode=0o700)
    monkeypatch.setattr(postgres, "SHARED_HOME", elsewhere)
    copy_postgres(postgres_site(), private / "site-packages")  # programs out of reach as well, as a venv in root's home
    monkeypatch.setattr(postgres, "postgres_site", lambda: private / "site-packages")
    for number in (1, 2):
        with EmbeddedServers.start(private / "data", durable=False) as running:
            query(running.environment, f"CREATE TABLE start_{number} (number int)")
            tables = query(running.environment, "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'start_%'")
            assert tables == [(number,)]
    assert private.stat().st_mode & 0o777 == 0o700
    assert Path((private / "data" / "postgres.location").read_text()).parent == elsewhere
    shutil.rmtree(private / "data")
    with EmbeddedServers.start(private / "data", durable=False) as anew:
        assert query(anew.environment, "SELECT 1 FROM pg_tables WHERE tablename = 'start_1'") == []
    assert len(list(elsewhere.iterdir())) == 1
    shutil.rmtree(elsewhere)


@pytest.mark.skipif(not AS_ROOT, reason="the other tests already run as an ordinary user")
def test_an_ordinary_user_serves_from_a_folder_of_his(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    site = postgres_site()
    python = interpreter_for(Account(nobody.pw_uid, nobody.pw_gid))
    sources = Path(sys.modules["segsmith_shared"].__path__[0]).parent
    if python is None or not can_reach(Account(nobody.pw_uid, nobody.pw_gid), site):
        pytest.skip("no Python that an ordinary user of this machine can run with these packages")
    os.chown(folder.parent, nobody.pw_uid, nobody.pw_gid)
    become = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    command = [*become, "env", f"PYTHONPATH={sources}:{site}", "HOME=/nonexistent", python]
    if subprocess.run([*command, "-c", "import segsmith_shared.embedded"], check=False).returncode:
        pytest.skip(f"{python} lacks a package that the interpreter of these tests does not need")
    with serving(folder, command=command) as running:
        assert query(running.environment, "SELECT 1") == [(1,)]
        assert folder.stat().st_uid == nobody.pw_uid
        owners = {Path(f"/proc/{pid}").stat().st_uid for pid in processes_in(folder)}
        assert owners == {nobody.pw_uid}
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.process.wait(timeout=15) == 0
    assert processes_in(folder) == []


def interpreter_for(account: Account) -> str | None:
    """A Python of this version that the account can run; pyenv's under /root is not one."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [Path(sys.executable), Path("/usr/bin") / version, Path("/usr/local/bin") / version]
    reachable = (path for path in candidates if path.exists() and can_reach(account, path.resolve().parent))
    return next((str(path) for path in reachable), None)
