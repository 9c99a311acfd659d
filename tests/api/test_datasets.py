"""Datasets, versions, pairs and splits as a client sees them."""

import io
import json
import zipfile
from hashlib import sha256
from uuid import UUID, uuid4

from segsmith_shared.database.tables import Origin
from segsmith_shared.pairs.classes import checked_classes, read_class_list
from tests.fixtures.api_room import ApiRoom


def test_a_dataset_is_created_and_read_where_location_says(room: ApiRoom) -> None:
    created = room.client.post("/v1/datasets", json={"name": "Kvasir", "description": "348 polyps"})
    assert created.status_code == 201
    read = room.client.get(created.headers["location"])
    assert read.json() == created.json()
    assert (read.json()["name"], read.json()["version_count"], read.json()["latest_version_id"]) == ("Kvasir", 0, None)


def test_a_dataset_tells_of_its_newest_version(room: ApiRoom) -> None:
    version_id = room.version(["a", "b"])
    version = room.client.get(f"/v1/versions/{version_id}").json()
    dataset = room.client.get(f"/v1/datasets/{version['dataset_id']}").json()
    assert (dataset["version_count"], dataset["latest_version_id"]) == (1, str(version_id))
    listed = room.client.get(f"/v1/datasets/{version['dataset_id']}/versions").json()["items"]
    assert listed == [version]


def test_pages_neither_miss_nor_repeat_while_the_list_grows(room: ApiRoom) -> None:
    there = [str(room.dataset(f"set {number}")) for number in range(7)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = room.client.get("/v1/datasets", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        room.dataset("added meanwhile")
    assert seen == there[::-1]


def test_pairs_come_in_their_order_and_by_name(room: ApiRoom) -> None:
    names = [f"polyp {number}" for number in (3, 1, 2)]
    version_id = room.version(names)
    pairs = room.client.get(f"/v1/versions/{version_id}/pairs").json()["items"]
    assert [pair["name"] for pair in pairs] == names
    found = room.client.get(f"/v1/versions/{version_id}/pairs", params={"name": "polyp 1"}).json()["items"]
    assert found == [pairs[1]]
    assert room.client.get(f"/v1/pairs/{pairs[1]['id']}").json() == pairs[1]


def test_a_picture_is_sent_once_and_known_by_its_digest(room: ApiRoom) -> None:
    pair = room.client.get(f"/v1/versions/{room.version(['a'])}/pairs").json()["items"][0]
    for face, media_type in (("image", "image/png"), ("label", "image/png"), ("overlay", "image/jpeg")):
        first = room.client.get(pair[f"{face}_url"])
        assert (first.status_code, first.headers["content-type"]) == (200, media_type)
        assert first.headers["etag"].strip('"') == sha256(first.content).hexdigest()
        again = room.client.get(pair[f"{face}_url"], headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_a_lost_picture_is_a_problem_that_names_it(room: ApiRoom) -> None:
    pair = room.client.get(f"/v1/versions/{room.version(['a'])}/pairs").json()["items"][0]
    digest = room.client.get(pair["image_url"]).headers["etag"].strip('"')
    room.objects.delete(digest)
    answer = room.client.get(pair["image_url"])
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/object-missing")


def test_a_version_downloads_as_a_zip_that_unpacks_and_repeats(room: ApiRoom) -> None:
    names = ["a", "centre 1/b", "../c", "ü"]
    version_id = room.version(names, origin=Origin.EXTERNAL)
    first, second = (room.client.get(f"/v1/versions/{version_id}/archive") for _ in range(2))
    assert first.content == second.content
    with zipfile.ZipFile(io.BytesIO(first.content)) as archive:
        assert archive.testzip() is None
        safe = ["a", "centre 1/b", "c", "ü"]
        expected = [f"{folder}/{name}.png" for name in safe for folder in ("images", "masks")]
        assert archive.namelist() == [*expected, "provenance.jsonl"]
        lines = [json.loads(line) for line in archive.read("provenance.jsonl").splitlines()]
    assert [(line["name"], line["origin"]) for line in lines] == [(name, "external") for name in names]


def test_a_version_names_its_classes_and_its_zip_lists_them(room: ApiRoom) -> None:
    version_id = room.version(["a", "b"], class_names=["polyp", "scar"])
    assert room.client.get(f"/v1/versions/{version_id}").json()["class_names"] == ["polyp", "scar"]
    content = room.client.get(f"/v1/versions/{version_id}/archive").content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist()[-2:] == ["classes.json", "provenance.jsonl"]
        classes = read_class_list(archive.read("classes.json").decode())
    assert classes == checked_classes([{"name": "polyp", "value": 1}, {"name": "scar", "value": 2}])
    plain = room.version(["a"])
    assert room.client.get(f"/v1/versions/{plain}").json()["class_names"] == []


def test_a_split_by_fractions_repeats_and_covers_every_pair(room: ApiRoom) -> None:
    version_id = room.version([f"p{number}" for number in range(20)])
    asked = {"fractions": {"train": 0.75, "test": 0.25}, "seed": 7}
    splits = [
        room.client.post(f"/v1/versions/{version_id}/splits", json={"name": name, **asked}).json() for name in "ab"
    ]
    assert splits[0]["parts"] == splits[1]["parts"]
    assert splits[0]["counts"] == {"train": 15, "test": 5}
    pairs = room.client.get(f"/v1/versions/{version_id}/pairs").json()["items"]
    assert {pair["id"] for pair in pairs} == set(splits[0]["parts"]["train"] + splits[0]["parts"]["test"])
    assert room.client.get(f"/v1/splits/{splits[0]['id']}").json() == splits[0]
    assert len(room.client.get(f"/v1/versions/{version_id}/splits").json()["items"]) == 2


def test_a_split_by_names_keeps_the_names(room: ApiRoom) -> None:
    version_id = room.version(["a", "b", "c"])
    asked = {"name": "main", "parts": {"train": ["c", "a"], "test": ["b"]}}
    split = room.client.post(f"/v1/versions/{version_id}/splits", json=asked)
    assert split.status_code == 201
    ids = {p["name"]: p["id"] for p in room.client.get(f"/v1/versions/{version_id}/pairs").json()["items"]}
    assert split.json()["parts"] == {"train": [ids["a"], ids["c"]], "test": [ids["b"]]}


def test_a_split_that_cannot_be_is_refused_with_a_reason(room: ApiRoom) -> None:
    version_id = room.version(["a", "b"])
    impossible: list[dict[str, object]] = [
        {"parts": {"train": ["nobody"]}},
        {"parts": {"train": ["a"], "test": ["a"]}},
        {"fractions": {"train": 0.5}},
        {},
        {"parts": {"x": ["a"]}, "fractions": {"x": 1}},
    ]
    for asked in impossible:
        answer = room.client.post(f"/v1/versions/{version_id}/splits", json={"name": "s", **asked})
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), asked
    assert room.client.get(f"/v1/versions/{version_id}/splits").json()["items"] == []


def test_a_splits_name_is_taken_once_per_version(room: ApiRoom) -> None:
    version_id = room.version(["a", "b"])
    asked = {"name": "main", "parts": {"train": ["a"]}}
    assert room.client.post(f"/v1/versions/{version_id}/splits", json=asked).status_code == 201
    taken = room.client.post(f"/v1/versions/{version_id}/splits", json=asked)
    assert (taken.status_code, taken.json()["type"]) == (409, "/problems/split-name-taken")


def test_what_does_not_exist_is_said_to_be_missing(room: ApiRoom) -> None:
    paths = (
        "datasets/{} datasets/{}/versions versions/{} versions/{}/pairs versions/{}/archive pairs/{} pairs/{}/image "
        "splits/{} versions/{}/splits versions/{}/report uploads/{} models/{} jobs/{} jobs/{}/events jobs/{}/artifacts "
        "jobs/{}/checkpoints artifacts/{} pipelines/{} pipelines/{}/events pipelines/{}/artifacts generations/{} "
        "generations/{}/samples samples/{} samples/{}/region evaluations/{} clusterings/{} segmentation-runs/{} "
        "judges/{} judgements/{}"
    )
    missing = uuid4()
    for path in paths.split():
        answer = room.client.get(f"/v1/{path.format(missing)}")
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found"), path
        assert str(missing) in answer.json()["detail"], path
        assert UUID(answer.headers["x-request-id"]) == UUID(answer.json()["request_id"])
