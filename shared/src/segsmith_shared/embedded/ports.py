"""Free loopback ports below the range that outgoing connections draw from."""

import secrets
import socket

HOST = "127.0.0.1"
LOWEST, COUNT = 20_000, 12_000  # Linux gives outgoing connections 32768 and above


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on now. Somebody else may take it first: callers try again."""
    while True:
        port = LOWEST + secrets.randbelow(COUNT)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: TIME_WAIT is no obstacle
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port
