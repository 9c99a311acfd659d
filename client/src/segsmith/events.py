"""Events as they happen: server-sent events, followed across broken connections without missing or repeating one."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import httpx

from segsmith.problems import ApiProblem
from segsmith.transport import BUSY_STATUSES, Pauses, Transport
from segsmith.values import Event

END = "end"


@dataclass
class ServerSentEvent:
    """One event of the stream, fields as in the WHATWG standard."""

    id: str = ""
    event: str = "message"
    data: str = ""


def parse_events(chunks: Iterable[bytes]) -> Iterator[ServerSentEvent]:
    """The events in a stream of bytes (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    Lines end with LF, CRLF or CR and with nothing else: str.splitlines would also cut at characters inside the data.
    """
    event = _Draft()
    for line in _lines(chunks):
        if line:
            event.take(line)
        elif event.data:
            yield event.finished()
            event = _Draft()
        else:
            event = _Draft()


@dataclass
class _Draft:
    id: str = ""
    event: str = "message"
    data: list[str] = field(default_factory=list)

    def take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self.data.append(value)
        elif name in {"id", "event"}:
            setattr(self, name, value)

    def finished(self) -> ServerSentEvent:
        return ServerSentEvent(self.id, self.event, "\n".join(self.data))


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        text = rest + chunk
        held = b"\r" if text.endswith(b"\r") else b""  # its LF may be in the next chunk
        *lines, rest = text.removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        rest += held
        yield from (line.decode() for line in lines)


def follow(transport: Transport, path: str, after: int = 0, silence_seconds: float = 90.0) -> Iterator[Event]:
    """Every event of a stream with an id above `after`, in order, until the server says that all is over.

    Reconnects with Last-Event-ID while the server is away for at most the transport's patience, also when nothing, not
    even a heartbeat, came for `silence_seconds`. Raises ServerUnreachable, ApiProblem.
    """
    pauses = Pauses(transport.patience_seconds)
    while True:
        failure: httpx.TransportError = httpx.RemoteProtocolError("the stream of events ended early")
        try:
            headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
            with transport.stream(path, headers=headers, timeout_seconds=silence_seconds) as response:
                for sent in parse_events(pauses.reset_by(response.iter_bytes())):
                    if sent.event == END:
                        return
                    event = Event.model_validate(json.loads(sent.data) | {"id": sent.id})
                    after = event.id
                    yield event
        except httpx.TransportError as error:
            failure = error
        except ApiProblem as problem:
            if problem.status not in BUSY_STATUSES:
                raise
        transport.wait_or_raise(pauses, failure)
