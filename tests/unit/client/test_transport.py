"""Requests are repeated while the server is away, and a POST stays one POST."""

import pytest

from segsmith import ApiProblem, ServerUnreachable
from segsmith.client import Client
from tests.unit.client.rough_server import HANGS_UP, Asked, RoughServer, Says, says

DATASET = {"id": "00000000-0000-4000-8000-000000000001", "name": "d", "created_at": "2026-01-01T00:00:00Z"}


def test_a_post_that_is_repeated_carries_the_same_key(rough_server: RoughServer) -> None:
    answers = iter([HANGS_UP, says({"title": "busy"}, 503), says(DATASET, 201), says(DATASET, 201)])
    rough_server.answer = lambda _: next(answers)
    with Client(rough_server.url, "sgs_key") as client:
        client.datasets.create("d")
        client.datasets.create("d")
    keys = [asked.headers["Idempotency-Key"] for asked in rough_server.asked]
    assert len({*keys[:3]}) == 1
    assert keys[3] != keys[0]
    assert {asked.headers["Authorization"] for asked in rough_server.asked} == {"Bearer sgs_key"}


def test_patience_ends(rough_server: RoughServer) -> None:
    rough_server.answer = lambda _: HANGS_UP
    with Client(rough_server.url, patience_seconds=0.3) as client, pytest.raises(ServerUnreachable, match="127"):
        client.datasets.create("d")
    assert len(rough_server.asked) >= 2


def test_a_server_that_stays_busy_is_quoted(rough_server: RoughServer) -> None:
    busy = says({"type": "/problems/service-unavailable", "title": "A needed service does not answer"}, 503)
    rough_server.answer = lambda _: busy
    with Client(rough_server.url, patience_seconds=0.3) as client, pytest.raises(ApiProblem) as caught:
        client.datasets.create("d")
    assert caught.value.code == "service-unavailable"


def test_a_problem_document_becomes_an_error_with_all_its_parts(rough_server: RoughServer) -> None:
    document = {
        "type": "/problems/invalid-input",
        "title": "A value is not acceptable",
        "status": 422,
        "detail": "name is empty",
        "hint": "Give a name.",
        "errors": [{"pointer": "#/name", "detail": "too short"}],
        "request_id": "r-1",
    }
    rough_server.answer = lambda _: says(document, 422)
    with Client(rough_server.url) as client, pytest.raises(ApiProblem) as caught:
        client.datasets.create("")
    assert caught.value.as_document() == document
    assert len(rough_server.asked) == 1


def test_a_page_from_a_proxy_is_still_an_api_problem(rough_server: RoughServer) -> None:
    rough_server.answer = lambda _: Says(418, b"<html>no</html>", {"Content-Type": "text/html"})
    with Client(rough_server.url) as client, pytest.raises(ApiProblem) as caught:
        client.datasets.create("d")
    assert caught.value.status == 418
    assert "POST /v1/datasets" in caught.value.detail


def test_lists_follow_their_cursor_to_the_end(rough_server: RoughServer) -> None:
    def answer(asked: Asked) -> Says:
        following = {"": "two", "two": "three", "three": None}[asked.query.get("cursor", "")]
        return says({"items": [DATASET], "next_cursor": following})

    rough_server.answer = answer
    with Client(rough_server.url) as client:
        assert len(list(client.datasets.list())) == 3
