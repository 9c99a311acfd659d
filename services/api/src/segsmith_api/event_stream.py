"""Server-sent events from the event rows: whoever was cut off goes on after the last id it saw."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Header, Query
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from sqlmodel import Session

from segsmith_api.installation import Installation
from segsmith_api.metrics import EVENT_STREAMS
from segsmith_api.openapi import Responses
from segsmith_shared.database.tables import Event, JobStatus
from segsmith_shared.jobs.states import ENDED

POLL_SECONDS = 0.4
HEARTBEAT_SECONDS = 15.0
EVENTS_AT_ONCE = 200
RECONNECT_MILLISECONDS = 1000
LARGEST_ID = 2**63 - 1

STREAM: Responses = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}


@dataclass(frozen=True)
class Watched:
    """What a stream follows: how to read its events after an id, and how it stands."""

    events_after: Callable[[Session, int], Sequence[Event]]
    status: Callable[[Session], JobStatus]


def after_of(
    after: Annotated[int | None, Query(ge=0, le=LARGEST_ID, description="only events with a higher id")] = None,
    last_event_id: Annotated[
        str | None, Header(description="as browsers send it when they reconnect", max_length=100)
    ] = None,
) -> int:
    """After which event the stream begins. A Last-Event-ID that is none of ours begins it anew."""
    if last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit():
        return min(int(last_event_id), LARGEST_ID)
    return after or 0


After = Annotated[int, Depends(after_of)]


def event_stream(here: Installation, watched: Watched, after: int) -> StreamingResponse:
    """The events as they are written, heartbeats between them, and `end` when all is over.

    Between two looks the stream holds no thread and no connection. A client that reads slowly holds up nobody but
    itself: no more is read from the database than it has taken. Ends without `end` when the server stops.
    """
    return EventSourceResponse(
        _messages(here, watched, after), headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    )


async def _messages(here: Installation, watched: Watched, after: int) -> AsyncIterator[bytes]:
    with EVENT_STREAMS.track_inprogress():
        yield format_sse_event(retry=RECONNECT_MILLISECONDS)
        spoke = time.monotonic()
        while not here.stopping.is_set():
            status, events = await to_thread.run_sync(_look, here, watched, after, limiter=here.watching)
            for event in events:
                after = event.id or after
                yield _message(event)
                spoke = time.monotonic()
            if len(events) == EVENTS_AT_ONCE:
                continue
            if status in ENDED:
                yield format_sse_event(event="end", data_str=json.dumps({"status": status}))
                return
            if time.monotonic() - spoke >= HEARTBEAT_SECONDS:
                yield KEEPALIVE_COMMENT
                spoke = time.monotonic()
            with suppress(TimeoutError):
                await asyncio.wait_for(here.stopping.wait(), POLL_SECONDS)


def _look(here: Installation, watched: Watched, after: int) -> tuple[JobStatus, Sequence[Event]]:
    """Status first: an end that is seen was committed with its events, so that the read after it misses none."""
    with here.transaction() as session:
        return watched.status(session), watched.events_after(session, after)


def _message(event: Event) -> bytes:
    document = event.model_dump(mode="json", include={"job_id", "pipeline_id", "kind", "data", "created_at"})
    return format_sse_event(data_str=json.dumps(document), event=event.kind, id=str(event.id))
