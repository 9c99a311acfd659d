"""Idempotency: however often a POST is sent with one key, it happens once."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from uuid import uuid4

import httpx

from segsmith_shared.authentication import create_key
from tests.fixtures.api_room import ApiRoom, upload


def post(room: ApiRoom, key: str, name: str = "polyps") -> httpx.Response:
    return room.client.post("/v1/datasets", json={"name": name}, headers={"Idempotency-Key": key})


def test_twenty_equal_requests_at_once_make_one_dataset(room: ApiRoom) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(room, "one"), range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 19
    assert len(room.client.get("/v1/datasets").json()["items"]) == 1


def test_another_request_with_the_same_key_is_refused(room: ApiRoom) -> None:
    assert post(room, "one").status_code == 201
    refused = post(room, "one", name="another")
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/idempotency-key-reused")
    elsewhere = room.client.post("/v1/api-keys", json={"name": "polyps"}, headers={"Idempotency-Key": "one"})
    assert elsewhere.status_code == 422


def test_a_request_that_failed_may_be_tried_again_with_its_key(room: ApiRoom) -> None:
    version_id = room.version(["a"])
    headers = {"Idempotency-Key": "split"}
    body = {"name": "main", "parts": {"train": ["a"]}}
    missing = room.client.post(f"/v1/versions/{uuid4()}/splits", json=body, headers=headers)
    assert missing.status_code == 404
    assert room.client.post(f"/v1/versions/{version_id}/splits", json=body, headers=headers).status_code == 201


def test_two_callers_may_use_the_same_key(room: ApiRoom) -> None:
    with room.session() as session:
        other = create_key(session, "another")[1]
    mine = post(room, "one")
    headers = {"Idempotency-Key": "one", "Authorization": f"Bearer {other}"}
    theirs = room.client.post("/v1/datasets", json={"name": "theirs"}, headers=headers)
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["id"] != theirs.json()["id"]


def test_closing_an_upload_again_answers_with_the_same_job(room: ApiRoom) -> None:
    begun = upload(room, b"x" * 1500)
    body = {"sha256": sha256(b"x" * 1500).hexdigest()}
    close = f"/v1/uploads/{begun['id']}/close"
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda _: room.client.post(close, json=body, headers={"Idempotency-Key": "c"}), range(4))
        )
    assert {answer.status_code for answer in answers} == {202}
    again = room.client.post(close, json=body, headers={"Idempotency-Key": "c"})
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    assert len(room.client.get("/v1/jobs").json()["items"]) == 1


def test_an_idempotency_key_must_be_plain_text(room: ApiRoom) -> None:
    for key in ("", "a b", "x" * 201):
        assert post(room, key).status_code == 422, key
