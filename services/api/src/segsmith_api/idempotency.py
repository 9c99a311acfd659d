"""A POST that is sent twice happens once: the answer is stored under its `Idempotency-Key` in the same transaction."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from psycopg.errors import LockNotAvailable
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlmodel import Session
from starlette.background import BackgroundTask

from segsmith_api.authentication import Caller, caller_of
from segsmith_api.installation import Installation, installation_of
from segsmith_shared.database.tables import IdempotencyRecord
from segsmith_shared.jobs.bell import ring
from segsmith_shared.problems import Conflict, InvalidInput

WAIT_SECONDS = 10

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="any text of your choice, e.g. a UUID: sending the request again with it does nothing twice",
    ),
]


class IdempotencyKeyReused(InvalidInput):
    """The key came before, with another request."""

    title = "The idempotency key belongs to another request"


class RequestInProgress(Conflict):
    """The same request is being carried out right now."""

    title = "The same request is still being carried out"


@dataclass(frozen=True)
class Reply:
    """What a POST answers. `rings` says for how many jobs each queue is rung; `withheld` fields are never stored."""

    status: int
    body: BaseModel
    location: str | None = None
    rings: Mapping[str, int] = field(default_factory=dict)
    withheld: frozenset[str] = frozenset()

    @property
    def headers(self) -> dict[str, str]:
        return {"Location": self.location} if self.location else {}


@dataclass(frozen=True)
class Once:
    """Carries out the work of one POST at most once per key, and answers every repetition alike."""

    here: Installation
    caller: Caller
    key: str | None
    request_digest: str

    def __call__(self, work: Callable[[Session], Reply]) -> Response:
        """`work` writes its rows; they, and the answer under its key, are committed together or not at all.

        A failed request leaves no record: it may be tried again under the same key.
        """
        with self.here.transaction() as session:
            if self.key is not None and (known := self._known(session)):
                return known
            reply = work(session)
            document = reply.body.model_dump(mode="json")
            if self.key is not None:
                session.add(self._record(reply, document))
        response = _response(reply.status, document, reply.headers)
        response.background = BackgroundTask(self._ring, reply.rings)
        return response

    def known(self) -> Response | None:
        """The stored answer, for work that must be done before the transaction and is too dear to do twice."""
        if self.key is None:
            return None
        with self.here.transaction() as session:
            return self._known(session)

    def _ring(self, rings: Mapping[str, int]) -> None:
        """After the answer: a broker that does not answer must not keep the client waiting for rows that are safe."""
        for queue, times in rings.items():
            ring(queue, times, redis_url=self.here.settings.redis_url.get_secret_value())

    def _known(self, session: Session) -> Response | None:
        self._wait_for_the_other(session)
        record = session.get(IdempotencyRecord, (self.caller.key_id, self.key))
        if record is None:
            return None
        if record.request_digest != self.request_digest:
            raise IdempotencyKeyReused(
                "This Idempotency-Key came before, with a different request.", hint="Use a new key for a new request."
            )
        return _response(record.status, record.body, record.headers | {"Idempotency-Replayed": "true"})

    def _wait_for_the_other(self, session: Session) -> None:
        """Takes the key's lock until the transaction ends, so that of two equal requests the second sees the first."""
        lock = int.from_bytes(sha256(f"{self.caller.key_id} {self.key}".encode()).digest()[:8], "big", signed=True)
        try:
            session.execute(text(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'"))
            session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})
        except OperationalError as error:
            if isinstance(error.orig, LockNotAvailable):
                raise RequestInProgress(
                    f"The request of this Idempotency-Key is not done after {WAIT_SECONDS} s.",
                    hint="Try later.",
                ) from error
            raise

    def _record(self, reply: Reply, document: dict[str, Any]) -> IdempotencyRecord:
        return IdempotencyRecord(
            api_key_id=self.caller.key_id,
            key=self.key or "",
            request_digest=self.request_digest,
            status=reply.status,
            body={name: None if name in reply.withheld else value for name, value in document.items()},
            headers=reply.headers,
        )


async def once_of(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    key: Key = None,
) -> Once:
    """The once-only transaction of this request."""
    return Once(installation_of(request), caller, key, await _digest_of(request))


async def _digest_of(request: Request) -> str:
    """SHA-256 over what makes two requests the same: method, address with its query, and body."""
    body = await request.body()
    return sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode() + body).hexdigest()


def _response(status: int, document: dict[str, Any], headers: dict[str, str]) -> Response:
    """Keys are sorted because the stored document has lost their order: both answers are the same bytes."""
    body = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return Response(body, status, headers, media_type="application/json")
