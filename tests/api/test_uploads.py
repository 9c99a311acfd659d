"""Uploads: parts in any order, cut off and gone on with, closed with the digest of the whole."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from random import Random
from uuid import UUID

import pytest

from segsmith_shared.database.tables import Job, JobKind
from tests.fixtures.api_room import ApiRoom, upload

Answer = dict[str, object]

ARCHIVE = Random(1).randbytes(3500)


def content_digest(data: bytes) -> dict[str, str]:
    return {"Content-Digest": f"sha-256=:{base64.b64encode(sha256(data).digest()).decode()}:"}


def close(
    room: ApiRoom, upload_id: str, digest: str | None = None, **import_options: object
) -> tuple[int, dict[str, object]]:
    body = {"sha256": digest or sha256(ARCHIVE).hexdigest(), "import": import_options}
    answer = room.client.post(f"/v1/uploads/{upload_id}/close", json=body)
    return answer.status_code, answer.json()


def test_an_archive_sent_in_parts_becomes_an_import_job(room: ApiRoom) -> None:
    begun = upload(room, ARCHIVE)
    assert (begun["part_bytes"], begun["part_count"], begun["missing"]) == (1000, 4, [0, 1, 2, 3])
    status, job = close(room, begun["id"], label="first", origin="external", options={"empty_labels": "keep"})
    assert (status, job["kind"], job["status"]) == (202, JobKind.IMPORT, "queued")
    with room.session() as session:
        spec = session.get_one(Job, UUID(str(job["id"]))).spec
    assert spec == {
        "dataset_id": begun["dataset_id"],
        "upload_id": begun["id"],
        "label": "first",
        "origin": "external",
        "options": {"empty_labels": "keep"},
    }
    shown = room.client.get(f"/v1/uploads/{begun['id']}").json()
    assert (shown["sha256"], shown["import_job_id"]) == (sha256(ARCHIVE).hexdigest(), job["id"])
    stored = b"".join(room.objects.get_bytes(part["sha256"]) for part in shown["parts"])
    assert stored == ARCHIVE


def test_an_upload_that_was_cut_off_goes_on_with_what_is_missing(room: ApiRoom) -> None:
    announced = {"filename": "polyps.zip", "size_bytes": len(ARCHIVE)}
    begun = room.client.post(f"/v1/datasets/{room.dataset()}/uploads", json=announced).json()
    parts = [ARCHIVE[start : start + 1000] for start in range(0, len(ARCHIVE), 1000)]
    path = f"/v1/uploads/{begun['id']}/parts"
    for number in (3, 1):
        sent = room.client.put(f"{path}/{number}", content=parts[number], headers=content_digest(parts[number]))
        assert sent.json() == {
            "number": number,
            "size_bytes": len(parts[number]),
            "sha256": sha256(parts[number]).hexdigest(),
        }
    missing = room.client.get(f"/v1/uploads/{begun['id']}").json()["missing"]
    assert missing == [0, 2]
    status, problem = close(room, begun["id"])
    assert (status, problem["type"], problem["missing"]) == (409, "/problems/upload-incomplete", [0, 2])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda number: room.client.put(f"{path}/{number}", content=parts[number]), missing))
    assert close(room, begun["id"])[0] == 202


def test_a_part_sent_again_replaces_the_first(room: ApiRoom) -> None:
    begun = upload(room, ARCHIVE[::-1])
    for number in range(4):
        room.client.put(f"/v1/uploads/{begun['id']}/parts/{number}", content=ARCHIVE[number * 1000 :][:1000])
    assert close(room, begun["id"])[0] == 202


def test_a_part_that_is_not_what_was_promised_is_not_stored(room: ApiRoom) -> None:
    announced = {"filename": "polyps.zip", "size_bytes": len(ARCHIVE)}
    begun = room.client.post(f"/v1/datasets/{room.dataset()}/uploads", json=announced).json()
    path = f"/v1/uploads/{begun['id']}/parts"
    whole = ARCHIVE[:1000]

    def chunked(data: bytes) -> Iterator[bytes]:
        return iter([data[:600], data[600:]])

    refused: dict[str, list[tuple[int, bytes | Iterator[bytes], dict[str, str]]]] = {
        "/problems/digest-mismatch": [(0, whole, content_digest(whole[::-1]))],
        "/problems/wrong-part-size": [
            (0, whole[:-1], {}),
            (0, whole + b"!", {}),
            (0, chunked(whole[:-1]), {}),
            (0, chunked(whole + b"!"), {}),
            (3, whole, {}),
            (0, b"", {}),
        ],
        "/problems/invalid-input": [(0, whole, {"Content-Digest": "md5=:AAAA:"}), (-1, whole, {}), (2**40, whole, {})],
        "/problems/not-found": [(4, whole, {})],
    }
    for kind, attempts in refused.items():
        for number, data, headers in attempts:
            answer = room.client.put(f"{path}/{number}", content=data, headers=headers)
            assert answer.json()["type"] == kind, (number, headers, answer.text)
    assert room.client.get(f"/v1/uploads/{begun['id']}").json()["parts"] == []


def test_an_archive_with_another_digest_is_not_imported(room: ApiRoom) -> None:
    begun = upload(room, ARCHIVE)
    status, problem = close(room, begun["id"], digest=sha256(b"another").hexdigest())
    assert (status, problem["type"]) == (422, "/problems/digest-mismatch")
    assert room.client.get("/v1/jobs").json()["items"] == []
    assert close(room, begun["id"])[0] == 202


def test_a_closed_upload_takes_nothing_more_and_names_its_job(room: ApiRoom) -> None:
    begun = upload(room, ARCHIVE)
    _, job = close(room, begun["id"])
    status, problem = close(room, begun["id"])
    assert (status, problem["type"], problem["job_id"]) == (409, "/problems/upload-closed", job["id"])
    late = room.client.put(f"/v1/uploads/{begun['id']}/parts/0", content=ARCHIVE[:1000])
    assert (late.status_code, late.json()["type"]) == (409, "/problems/upload-closed")


def test_closing_twice_at_once_makes_one_import(room: ApiRoom) -> None:
    begun = upload(room, ARCHIVE)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: close(room, begun["id"])[0], range(4)))
    assert sorted(answers) == [202, 409, 409, 409]
    assert len(room.client.get("/v1/jobs").json()["items"]) == 1


def test_import_options_are_checked_before_anything_is_read(room: ApiRoom) -> None:
    begun = upload(room, ARCHIVE)
    status, problem = close(room, begun["id"], options={"maximum_pixels": -1, "nonsense": 1})
    assert status == 422
    errors = problem["errors"]
    assert isinstance(errors, list)
    pointers = {error["pointer"] for error in errors}
    assert pointers == {"#/import/options/maximum_pixels", "#/import/options/nonsense"}


@pytest.mark.parametrize(
    ("classes", "pointer", "words"),
    [
        ([{"name": "polyp", "value": -1}], "#/import/options/classes/0/value", "greater than or equal to 0"),
        ([{"name": "polyp"}, {"name": "tool"}], "#/import/options/classes", "each class a value"),
        ([{"name": f"c{n}", "value": n} for n in range(9)], "#/import/options/classes", "9 classes"),
    ],
)
def test_classes_of_an_import_are_checked_before_anything_is_read(
    room: ApiRoom, classes: list[dict[str, object]], pointer: str, words: str
) -> None:
    begun = upload(room, ARCHIVE)
    status, problem = close(room, begun["id"], options={"classes": classes})
    assert status == 422
    errors = problem["errors"]
    assert isinstance(errors, list)
    assert [error["pointer"] for error in errors] == [pointer]
    assert words in errors[0]["detail"]


def test_an_archive_beyond_the_limit_is_refused_before_it_is_sent(room: ApiRoom) -> None:
    announced = {"filename": "x.zip", "size_bytes": room.settings.maximum_upload_bytes + 1}
    answer = room.client.post(f"/v1/datasets/{room.dataset()}/uploads", json=announced)
    assert answer.status_code == 422
