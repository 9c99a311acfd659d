"""Requests that survive a restarting server: repeated safely, because every POST carries a key that makes it one."""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx

from segsmith.addresses import checked_key, server_address
from segsmith.connections import hopeless, http_client, proxy_for, unreachable
from segsmith.problems import ApiProblem

BUSY_STATUSES = frozenset({429, 502, 503, 504})
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 8.0
JSON = dict[str, Any]


class Transport:
    """One server's address, key and connections.

    `patience_seconds` is how long a request is repeated while the server is away or busy; what cannot help, such as a
    host name that does not resolve, is not repeated before the server has answered for the first time. Used by several
    threads. Raises WrongAddress, WrongApiKey, ProxyUnusable, CertificatesUnusable.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        patience_seconds: float = 60.0,
        timeout_seconds: float = 60.0,
        handler: httpx.BaseTransport | None = None,
    ) -> None:
        key = checked_key(api_key)
        headers = {"User-Agent": "segsmith-client"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self.patience_seconds = patience_seconds
        self.url = server_address(url)
        self._proxy = proxy_for(self.url)
        self._answered = False
        self._http = http_client(
            self.url,
            self._proxy,
            base_url=self.url,
            headers=headers,
            timeout=httpx.Timeout(timeout_seconds, connect=10.0),
            transport=handler,
            limits=httpx.Limits(max_connections=16),
        )

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON at a path. Parameters that are None are left out."""
        return self.request("GET", path, params=_given(parameters)).json()

    def post(
        self, path: str, document: JSON | None = None, *, timeout_seconds: float | None = None, **params: Any
    ) -> Any:
        """Post a document once, however often it has to be sent."""
        key = {"Idempotency-Key": str(uuid4())}
        return self.request(
            "POST", path, json=document, headers=key, params=_given(params), timeout_seconds=timeout_seconds
        ).json()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: JSON | None = None,
        headers: dict[str, str] | None = None,
        json: JSON | None = None,
        content: bytes | None = None,
        timeout_seconds: float | None = None,
    ) -> httpx.Response:
        """A request that the server may see more than once. Raises ApiProblem or ServerUnreachable."""
        timeout = httpx.USE_CLIENT_DEFAULT if timeout_seconds is None else httpx.Timeout(timeout_seconds)

        def send() -> httpx.Response:
            return self._http.request(
                method, path, params=params, headers=headers, json=json, content=content, timeout=timeout
            )

        response = self._patiently(send)
        if response.is_error:
            raise ApiProblem.from_response(response)
        return response

    @contextmanager
    def stream(
        self, path: str, *, headers: dict[str, str] | None = None, timeout_seconds: float = 60.0
    ) -> Iterator[httpx.Response]:
        """The open response of one GET, not repeated. Raises ApiProblem, httpx.TransportError."""
        timeout = httpx.Timeout(timeout_seconds, connect=10.0)
        with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
            self._answered = True
            if response.is_error:
                response.read()
                raise ApiProblem.from_response(response)
            yield response

    def wait_or_raise(self, pauses: "Pauses", error: httpx.TransportError) -> None:
        """Pause before a repetition. Raises ServerUnreachable when patience has run out or no repetition can help."""
        reason = None if self._answered else hopeless(self.url, self._proxy, error)
        if reason is not None:
            raise reason from error
        if not pauses.wait():
            raise unreachable(self.url, error) from error

    def _patiently(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        pauses = Pauses(self.patience_seconds)
        while True:
            try:
                response = send()
            except httpx.TransportError as error:
                self.wait_or_raise(pauses, error)
                continue
            self._answered = True
            if response.status_code not in BUSY_STATUSES or not pauses.wait(_retry_after_seconds(response)):
                return response


class Pauses:
    """Growing, jittered pauses until patience runs out."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self.reset()

    def reset(self) -> None:
        """Be patient anew."""
        self._deadline = time.monotonic() + self._patience_seconds
        self._pause_seconds = FIRST_PAUSE_SECONDS

    def reset_by(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks, each of which shows that the other side lives."""
        for chunk in chunks:
            self.reset()
            yield chunk

    def wait(self, at_least_seconds: float = 0.0) -> bool:
        """Pause and return True; return False at once when that would exceed the patience."""
        pause = max(at_least_seconds, self._pause_seconds * random.uniform(0.5, 1.0))
        if time.monotonic() + pause > self._deadline:
            return False
        time.sleep(pause)
        self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
        return True


def _retry_after_seconds(response: httpx.Response) -> float:
    wanted = response.headers.get("Retry-After", "")
    return float(wanted) if wanted.isdigit() else 0.0


def _given(parameters: JSON) -> JSON:
    return {name: value for name, value in parameters.items() if value is not None}
