"""A real HTTP server that misbehaves on request, to see whether the client gets through."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Says:
    """An answer. `cut_after` bytes of the body the connection breaks."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None


HANGS_UP = None
Answerer = Callable[[Asked], Says | None]


def says(document: Any, status: int = 200) -> Says:
    return Says(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


class RoughServer:
    """Answers with whatever `answer` says; None breaks the connection without a word."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Answerer = lambda _: says({}, 404)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        rough = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                place = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(place.query).items()}
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = Asked(self.command, place.path, query, dict(self.headers), body)
                rough.asked.append(asked)
                said = rough.answer(asked)
                if said is None:
                    self.close_connection = True
                    return
                self.send_response(said.status)
                for name, value in said.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(said.body)))
                self.end_headers()
                self.wfile.write(said.body[: said.cut_after])
                self.close_connection = said.cut_after is not None

            do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the base class looks for these names

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the base class names it
                return None

        return Handler
