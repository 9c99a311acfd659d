"""Events arrive once each and in order, however the stream is cut."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segsmith import ApiProblem, ServerUnreachable
from segsmith.client import Client
from segsmith.events import ServerSentEvent, parse_events
from tests.unit.client.rough_server import HANGS_UP, Asked, RoughServer, Says, says

JOB = "00000000-0000-4000-8000-000000000001"
END = b'event: end\ndata: {"status": "succeeded"}\n\n'


def sent(number: int) -> bytes:
    data = {"job_id": JOB, "kind": "progress", "data": {"done": number}, "created_at": "2026-01-01T00:00:00Z"}
    return f"id: {number}\nevent: progress\ndata: {json.dumps(data)}\n\n".encode()


def stream(*events: bytes, cut_after: int | None = None) -> Says:
    return Says(200, b"".join(events), {"Content-Type": "text/event-stream"}, cut_after)


@given(cuts=st.lists(st.integers(0, 90), max_size=6), newline=st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_are_the_same_wherever_the_bytes_are_cut(cuts: list[int], newline: bytes) -> None:
    text = b": beat\nid: 7\nevent: message\ndata: one\ndata: two\x0b\xe2\x80\xa8three\n\ndata:{}\n\n:\n\nid: 9\n\n"
    text = text.replace(b"\n", newline)
    edges = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    chunks = [text[start:end] for start, end in pairwise(edges)]
    assert list(parse_events(chunks)) == [
        ServerSentEvent("7", "message", "one\ntwo\x0b\u2028three"),
        ServerSentEvent("", "message", "{}"),
    ]


def test_a_broken_stream_goes_on_where_it_broke(rough_server: RoughServer) -> None:
    def answer(asked: Asked) -> Says | None:
        match asked.headers["Last-Event-ID"]:
            case "0":
                whole = stream(sent(1), sent(2), sent(3))
                return stream(sent(1), sent(2), sent(3), cut_after=len(whole.body) - 5)
            case "2" if len(rough_server.asked) == 2:
                return HANGS_UP
            case "2":
                return stream(sent(3))  # ends without saying that all is over
            case _:
                return stream(sent(4), END)

    rough_server.answer = answer
    with Client(rough_server.url) as client:
        assert [event.data["done"] for event in client.jobs.events(JOB)] == [1, 2, 3, 4]  # type: ignore[arg-type]
    assert [asked.headers["Last-Event-ID"] for asked in rough_server.asked] == ["0", "2", "2", "3"]


def test_a_server_that_is_gone_for_good_is_said_to_be(rough_server: RoughServer) -> None:
    rough_server.answer = lambda _: HANGS_UP
    with Client(rough_server.url, patience_seconds=0.5) as client, pytest.raises(ServerUnreachable, match="127"):
        list(client.jobs.events(JOB))  # type: ignore[arg-type]


def test_a_refusal_is_not_repeated(rough_server: RoughServer) -> None:
    rough_server.answer = lambda _: says({"title": "Not found", "type": "/problems/not-found"}, 404)
    with Client(rough_server.url) as client, pytest.raises(ApiProblem) as caught:
        list(client.jobs.events(JOB))  # type: ignore[arg-type]
    assert (caught.value.status, caught.value.code, len(rough_server.asked)) == (404, "not-found", 1)
