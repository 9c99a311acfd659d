"""`python -m segsmith_api`: the API on SEGSMITH_HOST and SEGSMITH_PORT until it is told to stop."""

import signal
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI

from segsmith_api.address import Address
from segsmith_api.installation import Installation
from segsmith_api.main import create_app
from segsmith_shared.settings import settings_or_exit
from segsmith_shared.telemetry import configure_logging

STOP_SECONDS = 15
KEEP_ALIVE_SECONDS = 30
CONNECTIONS_AT_ONCE = 1000


class Server(uvicorn.Server):
    """Tells open event streams to end before it waits for open requests to finish."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        installation: Installation | None = getattr(self._app.state, "installation", None)
        if installation is not None:
            installation.stop()


def server_for(app: FastAPI, address: Address) -> Server:
    """The server, not yet listening. Requests under way may take STOP_SECONDS to finish when it is told to stop."""
    config = uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS_AT_ONCE,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    return Server(config, app)


def main() -> None:
    """Serve until SIGTERM or SIGINT; exit 0 when told to stop, because that is no failure."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # uvicorn puts its own in place, and raises the signal at its end
    configure_logging("api")
    server_for(create_app(settings_or_exit()), Address()).run()


if __name__ == "__main__":
    main()
