"""Requests nobody honest sends: each is answered by a problem below 500, and none leaves anything behind."""

import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from segsmith_api.archive import entry_name
from segsmith_api.limits import JSON_LIMIT_BYTES
from segsmith_api.object_responses import disposition
from segsmith_shared.database.tables import Artifact
from tests.fixtures.api_room import ApiRoom, upload

JSON = {"content-type": "application/json"}


def test_bodies_that_no_database_can_hold_are_refused(room: ApiRoom) -> None:
    texts = [
        b'{"name": "a\\u0000b"}',
        b'{"name": "\\ud800"}',
        b'{"name": "x", "description": "\\udc00"}',
        b'{"name": NaN}',
        b'{"name": "x", "n": Infinity}',
        b'{"name": "\xff"}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"name": "x", "unknown": 1}',
        b'{"name": "x", "name": 3}',
        b'"name"',
        b"",
        b'{"name": "' + b"x" * 201 + b'"}',
        b'{"name": "line\\nbreak"}',
        b'{"name": "   "}',
        b'{"name": 1e400}',
    ]
    for body in texts:
        answer = room.client.post("/v1/datasets", content=body, headers=JSON)
        assert 400 <= answer.status_code < 500, (body[:40], answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    for number in (b"1e400", b"-1e400"):
        spec = b'{"pairs": {"version_id": "%s"}, "recipes": [{"overrides": {"a": %s}}]}' % (
            str(uuid4()).encode(),
            number,
        )
        assert room.client.post("/v1/pipelines", content=spec, headers=JSON).status_code == 422
    nested = '{"a":' * 500 + "1" + "}" * 500
    deep = f'{{"pairs": {{"version_id": "{uuid4()}"}}, "recipes": [{{"overrides": {nested}}}]}}'
    assert 400 <= room.client.post("/v1/pipelines", content=deep, headers=JSON).status_code < 500
    assert room.client.get("/v1/datasets").json()["items"] == []


def test_a_body_beyond_the_limit_is_refused_announced_or_not(room: ApiRoom) -> None:
    announced = room.client.post("/v1/datasets", content=b"x" * (JSON_LIMIT_BYTES + 1), headers=JSON)
    assert (announced.status_code, announced.json()["type"]) == (413, "/problems/too-large")

    def unannounced() -> Iterator[bytes]:
        for _ in range(JSON_LIMIT_BYTES // 2**16 + 2):
            yield b" " * 2**16

    endless = room.client.post("/v1/datasets", content=unannounced(), headers=JSON)
    assert (endless.status_code, endless.json()["type"]) == (413, "/problems/too-large")


def test_a_request_behind_an_unread_body_is_not_believed(room: ApiRoom) -> None:
    """A refused body must not be read as the next request of the same connection."""
    address = urlsplit(room.url)
    smuggled = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=20) as connection:
        head = f"POST /v1/datasets HTTP/1.1\r\nHost: x\r\nContent-Length: {JSON_LIMIT_BYTES + 1}\r\n\r\n"
        connection.sendall(head.encode() + smuggled)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert received.startswith(b"HTTP/1.1 413")
    assert received.count(b"HTTP/1.1") == 1


def test_a_body_that_stops_coming_is_given_up(room: ApiRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segsmith_api.limits.BODY_SILENCE_SECONDS", 0.3)
    address = urlsplit(room.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=20) as connection:
        head = (
            f"POST /v1/datasets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {room.key}\r\nContent-Length: 100\r\n\r\n"
        )
        connection.sendall(head.encode() + b'{"name"')
        assert connection.recv(65536).startswith(b"HTTP/1.1 408")


def test_a_client_that_stops_reading_is_let_go(room: ApiRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hold a thread, a file or a stream for as long as it likes."""
    monkeypatch.setattr("segsmith_api.limits.READER_SILENCE_SECONDS", 0.5)
    size_bytes = 20 * 2**20
    digest = room.objects.put_bytes(b"x" * size_bytes)
    row = Artifact(
        job_id=room.probe(), name="large", media_type="application/zip", digest=digest, size_bytes=size_bytes
    )
    room.add(row)
    address = urlsplit(room.url)
    with (
        capture_logs() as logged,
        socket.create_connection((address.hostname or "", address.port or 0), timeout=20) as connection,
    ):
        head = f"GET /v1/artifacts/{row.id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {room.key}\r\n\r\n"
        connection.sendall(head.encode())
        deadline = time.monotonic() + 30
        while not any(entry["event"] == "the client stopped reading" for entry in logged):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_cursors_from_elsewhere_are_refused(room: ApiRoom) -> None:
    for name in "ab":
        room.dataset(name)
    cursor = room.client.get("/v1/datasets?limit=1").json()["next_cursor"]
    version_id = room.version(["a", "b"])
    other = room.client.get(f"/v1/versions/{version_id}/pairs?limit=1").json()["next_cursor"]
    for forged in (other, cursor[:-4], cursor + "AAAA", "é", "%00", "x", "=" * 9, cursor[::-1], "A" * 900):
        answer = room.client.get("/v1/datasets", params={"cursor": forged})
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/bad-cursor"), forged
    assert room.client.get("/v1/datasets", params={"cursor": "A" * 1001}).status_code == 422
    assert room.client.get("/v1/datasets", params={"cursor": cursor}).status_code == 200


def test_parameters_out_of_range_are_refused(room: ApiRoom) -> None:
    job_id, upload_id = room.probe(), upload(room, b"x")["id"]
    version_id = room.version(["a"])
    for path in (
        "/v1/datasets?limit=201",
        "/v1/datasets?limit=-1",
        "/v1/datasets?limit=9999999999999999999999",
        f"/v1/jobs/{job_id}/events?after=99999999999999999999",
        f"/v1/versions/{version_id}/pairs?name=%00",
        f"/v1/versions/{version_id}/pairs?name={'x' * 401}",
        "/v1/datasets/%00",
        "/v1/jobs?pipeline_id=%27%20OR%201=1",
    ):
        answer = room.client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), path
    part = room.client.put(f"/v1/uploads/{upload_id}/parts/99999999999999999999", content=b"x")
    assert part.status_code == 422


def test_names_from_outside_cannot_add_headers_or_leave_their_folder(room: ApiRoom) -> None:
    job_id = room.probe()
    name = 'report"\r\nSet-Cookie: a=b\r\n/../../é.html'
    digest = room.objects.put_bytes(b"<p>")
    row = Artifact(job_id=job_id, name=name, media_type="text/html", digest=digest, size_bytes=3)
    room.add(row)
    answer = room.client.get(f"/v1/artifacts/{row.id}")
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-disposition"].startswith('inline; filename="report___Set-Cookie')


def test_an_archive_named_to_hurt_is_only_a_name(room: ApiRoom) -> None:
    begun = upload(room, b"x" * 10)
    announced = {"filename": "../../etc/passwd\\..\\x.zip", "size_bytes": 1}
    named = room.client.post(f"/v1/datasets/{begun['dataset_id']}/uploads", json=announced)
    assert (named.status_code, named.json()["filename"]) == (201, announced["filename"])
    for filename in ("", "a\nb", "a\0b", "x" * 401):
        announced = {"filename": filename, "size_bytes": 1}
        refused = room.client.post(f"/v1/datasets/{begun['dataset_id']}/uploads", json=announced)
        assert refused.status_code == 422, filename


def test_a_request_id_from_outside_is_only_taken_when_it_is_plain(room: ApiRoom) -> None:
    for given_id in ("a b", "x" * 81, "<script>", "é".encode().decode("latin-1")):
        answer = room.client.get("/livez", headers={b"X-Request-Id": given_id.encode("latin-1")})
        assert answer.headers["x-request-id"] != given_id


def test_keys_that_are_no_keys_are_refused_without_a_search(room: ApiRoom) -> None:
    for key in ("sgs_", "sgs_" + "x" * 5000, "sgs_\xff", "Bearer", room.key[:-1], room.key.upper(), room.key + ",x"):
        with room.stranger() as stranger:
            answer = stranger.get("/v1/datasets", headers={b"Authorization": f"Bearer {key}".encode("latin-1")})
        assert answer.status_code == 401, key


@given(st.text(max_size=300))
def test_any_name_makes_one_plain_header(name: str) -> None:
    header = disposition("attachment", name)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2


@given(st.text(max_size=100))
def test_any_name_stays_inside_the_folder_it_is_unpacked_to(name: str) -> None:
    parts = entry_name(name).split("/")
    assert "" not in parts
    assert ".." not in parts
    assert "\\" not in entry_name(name)
    assert ":" not in entry_name(name)


def test_a_spec_at_the_limit_of_size_is_answered_in_time(room: ApiRoom) -> None:
    names = {str(number): [f"pair {number} {index}" for index in range(100)] for number in range(2000)}
    spec = {"pairs": {"version_id": str(uuid4())}, "clustering": {"method": "imported", "imported": names}}
    body = json.dumps(spec)
    assert len(body) < JSON_LIMIT_BYTES
    assert room.client.post("/v1/pipelines", content=body, headers=JSON).status_code == 404
