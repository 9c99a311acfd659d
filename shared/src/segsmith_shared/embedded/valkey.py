"""Valkey (speaks Redis) on loopback TCP with a password: the bell's broker."""

import signal
from pathlib import Path

import redis

from segsmith_shared.embedded.binaries import valkey_program
from segsmith_shared.embedded.folder import Secrets, write_private
from segsmith_shared.embedded.ports import HOST
from segsmith_shared.embedded.supervise import ChildProcess


def valkey_url(secrets: Secrets, port: int) -> str:
    return f"redis://:{secrets.redis_password}@{HOST}:{port}/0"


def valkey_child(folder: Path, secrets: Secrets, port: int, durable: bool, keep_open: tuple[int, ...]) -> ChildProcess:
    """The server, its configuration (with the password, mode 0600) and data in `folder/redis`."""
    home = folder / "redis"
    home.mkdir(mode=0o700, exist_ok=True)
    configuration = [
        f"bind {HOST}",
        f"port {port}",
        f"requirepass {secrets.redis_password}",
        "maxmemory 256mb",
        "maxmemory-policy noeviction",  # a broker that evicts loses messages
        'save ""',
        f"appendonly {'yes' if durable else 'no'}",
        "daemonize no",
    ]
    write_private(home / "valkey.conf", "\n".join(configuration) + "\n")
    return ChildProcess(
        name="valkey",
        # Through stdin: in the path of a configuration Valkey expands [ ] * ?, and goes on without one if none fits.
        command=[str(valkey_program()), "-"],
        standard_input=home / "valkey.conf",
        log_file=folder / "logs" / "valkey.log",
        environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        death_signal=signal.SIGTERM,
        keep_open=keep_open,
        folder=home,
    )


def valkey_answers(secrets: Secrets, port: int) -> bool:
    client = redis.Redis(host=HOST, port=port, password=secrets.redis_password, socket_timeout=5)
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
    finally:
        client.close()
