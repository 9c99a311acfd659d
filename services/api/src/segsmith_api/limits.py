"""The outermost shell: a request id, limits on what comes in, headers that keep browsers careful, one log line."""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segsmith_api.problem_responses import response_for, unexpected
from segsmith_shared.problems import TooLarge
from segsmith_shared.telemetry import HTTP_REQUEST_SECONDS, identified, logger

JSON_LIMIT_BYTES = 8 * 2**20
BODY_SILENCE_SECONDS = 30.0
BODY_SECONDS = 900.0
READER_SILENCE_SECONDS = 120.0
GIVEN_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,80}")

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

log = logger("segsmith_api.access")


class ReaderStalled(Exception):
    """The client takes nothing of the answer any more, and holds what stands behind it."""


class Shell:
    """Pure ASGI, so that streams pass through it untouched."""

    def __init__(self, app: ASGIApp, body_limit_of: Callable[[Scope], int]) -> None:
        self._app = app
        self._body_limit_of = body_limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self._body_limit_of(scope))
        with identified(request_id=exchange.request_id):
            await exchange.run(self._app)


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit_bytes: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._limit_bytes = limit_bytes
        self._received_bytes = 0
        self._sent_bytes = 0
        self._whole = False
        self._status = 0
        self._began = time.perf_counter()
        self._headers = Headers(scope=scope)
        given = self._headers.get("x-request-id", "")
        self.request_id = given if GIVEN_REQUEST_ID.fullmatch(given) else uuid4().hex
        scope["segsmith.request_id"] = self.request_id

    async def run(self, app: ASGIApp) -> None:
        try:
            if self._announced_bytes() > self._limit_bytes:
                await response_for(self._too_large(), self.request_id)(self._scope, self._receive, self.send)
            else:
                await app(self._scope, self.receive, self.send)
        except ReaderStalled:
            log.warning("the client stopped reading", path=self._scope["path"])  # returning breaks the answer off
        except Exception:
            log.exception("request failed", method=self._scope["method"], path=self._scope["path"])
            if self._status:
                raise  # the answer has begun: all that can be done is to break it off
            await unexpected(self.request_id)(self._scope, self._receive, self.send)
        finally:
            self._note()

    async def receive(self) -> Message:
        """The next part of the body, counted, and waited for only so long; afterwards waits for the client to go."""
        if self._whole:
            return await self._receive()
        left_seconds = self._began + BODY_SECONDS - time.perf_counter()
        try:
            async with asyncio.timeout(min(BODY_SILENCE_SECONDS, left_seconds)):
                message = await self._receive()
        except TimeoutError as error:
            raise HTTPException(
                408, f"A body may pause for {BODY_SILENCE_SECONDS:g} s and take {BODY_SECONDS:g} s in all."
            ) from error
        if message["type"] == "http.request":
            self._received_bytes += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._received_bytes > self._limit_bytes:
                raise HTTPException(413, self._too_large().detail)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._answered(message["status"])
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.request_id
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            if not self._whole and self._has_body():
                headers["Connection"] = "close"  # the rest of a body nobody reads must not be taken for a request
        elif message["type"] == "http.response.body":
            self._sent_bytes += len(message.get("body", b""))
        try:
            async with asyncio.timeout(READER_SILENCE_SECONDS):
                await self._send(message)
        except TimeoutError as error:
            raise ReaderStalled from error

    def _answered(self, status: int) -> None:
        """Counted by route template, so that neither ids nor scans for addresses make new series."""
        self._status = status
        route = getattr(self._scope.get("route"), "path", None)
        method = self._scope["method"] if route else "any"
        HTTP_REQUEST_SECONDS.labels(method, route or "unmatched", status).observe(time.perf_counter() - self._began)

    def _announced_bytes(self) -> int:
        with suppress(ValueError):
            return int(self._headers.get("content-length", "0"))
        return 0

    def _has_body(self) -> bool:
        return self._announced_bytes() > 0 or "transfer-encoding" in self._headers

    def _too_large(self) -> TooLarge:
        return TooLarge(f"A request to this address may have at most {self._limit_bytes} bytes.")

    def _note(self) -> None:
        """One line per request, also for one whose client went before there was an answer (499)."""
        log.info(
            "request",
            method=self._scope["method"],
            path=self._scope["path"],
            status=self._status or 499,
            seconds=round(time.perf_counter() - self._began, 4),
            received_bytes=self._received_bytes,
            sent_bytes=self._sent_bytes,
            client=(self._scope.get("client") or ("",))[0],
        )
