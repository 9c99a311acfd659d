"""S3 on loopback from `rclone serve s3`: buckets are folders under `objects/`."""

import signal
from pathlib import Path

from segsmith_shared.embedded.binaries import rclone_program
from segsmith_shared.embedded.folder import Secrets
from segsmith_shared.embedded.ports import HOST
from segsmith_shared.embedded.supervise import ChildProcess
from segsmith_shared.storage.client import s3_client, server_answers


def object_server_child(folder: Path, secrets: Secrets, port: int, keep_open: tuple[int, ...]) -> ChildProcess:
    """The server. Its keys travel in the environment: everybody can read a command line."""
    # `objects` relative to the working folder: in a longer path a colon would name a remote.
    command = [str(rclone_program()), "serve", "s3", "./objects", "--addr", f"{HOST}:{port}"]
    return ChildProcess(
        name="s3",
        command=[*command, "--config", "/dev/null", "--vfs-cache-mode", "off"],
        log_file=folder / "logs" / "s3.log",
        environment={
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "RCLONE_AUTH_KEY": f'"{secrets.s3_access_key},{secrets.s3_secret_key}"',
        },
        death_signal=signal.SIGTERM,
        keep_open=keep_open,
        folder=folder,
    )


def object_server_answers(secrets: Secrets, port: int) -> bool:
    return server_answers(s3_client(f"{HOST}:{port}", secrets.s3_access_key, secrets.s3_secret_key, retries=0))
