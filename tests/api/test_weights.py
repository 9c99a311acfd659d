"""Pretrained files over HTTP: listed, brought in, checked, carried away; and what a request that lacks one is told."""

from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from segsmith.bundles import check_bundle, is_bundle
from segsmith_shared.database.tables import Job, JobKind, PretrainedFile
from segsmith_shared.plans.weights import FID_INCEPTION, PRETRAINED
from tests.fixtures.api_room import ApiRoom, upload

CONTENT = b"weights" * 300


def stored(room: ApiRoom, name: str = FID_INCEPTION, content: bytes = CONTENT) -> PretrainedFile:
    row = PretrainedFile(
        name=name,
        sha256="ab" * 32,
        pinned="first import",
        tensors_digest=room.objects.put_bytes(content),
        size_bytes=len(content),
        tensor_count=2,
        job_id=room.probe(),
    )
    room.add(row)
    return row


def sent(room: ApiRoom, content: bytes = CONTENT, filename: str = "weights.pth") -> str:
    """An upload of no dataset whose parts have all arrived."""
    begun = room.client.post("/v1/uploads", json={"filename": filename, "size_bytes": len(content)}).json()
    assert begun["dataset_id"] is None
    for number in range(begun["part_count"]):
        part = content[number * begun["part_bytes"] :][: begun["part_bytes"]]
        assert room.client.put(f"/v1/uploads/{begun['id']}/parts/{number}", content=part).status_code == 200
    upload_id: str = begun["id"]
    return upload_id


def close(room: ApiRoom, upload_id: str, content: bytes = CONTENT, **order: Any) -> tuple[int, dict[str, Any]]:
    body = {"sha256": sha256(content).hexdigest(), **order}
    answer = room.client.post(f"/v1/uploads/{upload_id}/close", json=body)
    return answer.status_code, answer.json()


def test_every_known_file_is_listed_with_what_is_here_of_it(room: ApiRoom) -> None:
    stored(room)
    listed = {each["name"]: each for each in room.client.get("/v1/weights").json()["items"]}
    assert listed.keys() == PRETRAINED.keys()
    assert listed[FID_INCEPTION]["stored"]["pinned"] == "first import"
    assert listed["vgg19"]["stored"] is None
    assert listed["vgg19"]["published_sha256"] == "dcbb9e9d"
    assert room.client.get(f"/v1/weights/{FID_INCEPTION}").json() == listed[FID_INCEPTION]
    assert room.client.get("/v1/weights/resnet1000").status_code == 404


@pytest.mark.parametrize(
    ("order", "kind", "spec"),
    [
        ({"weights": {"name": FID_INCEPTION}}, JobKind.IMPORT_WEIGHTS, {"name": FID_INCEPTION, "replace": False}),
        ({"weights": {"replace": True}}, JobKind.IMPORT_WEIGHTS, {"name": None, "replace": True}),
        ({"model": {"weights": "ema"}}, JobKind.IMPORT_MODEL, {"pretrained": None}),
    ],
)
def test_an_upload_of_weights_becomes_an_import_that_trainings_do_not_hold_up(
    room: ApiRoom, order: dict[str, Any], kind: str, spec: dict[str, Any]
) -> None:
    upload_id = sent(room)
    status, job = close(room, upload_id, **order)
    assert (status, job["kind"], job["queue"]) == (202, kind, "gpu")
    with room.session() as session:
        row = session.get_one(Job, UUID(job["id"]))
    assert row.priority < 0
    assert {"upload_id": upload_id, **spec}.items() <= row.spec.items()


def test_an_upload_is_closed_only_as_what_it_was_begun_for(room: ApiRoom) -> None:
    upload_id, archive = sent(room), upload(room, CONTENT)["id"]
    wrong: list[tuple[str, dict[str, Any], str]] = [
        (upload_id, {}, "wrong-order"),
        (upload_id, {"import": {}}, "wrong-order"),
        (archive, {"weights": {"name": FID_INCEPTION}}, "wrong-order"),
        (archive, {"model": {}}, "wrong-order"),
        (upload_id, {"weights": {}, "model": {}}, "invalid-input"),
        (upload_id, {"weights": {"name": "resnet1000"}}, "unknown-weights"),
    ]
    for identity, order, problem in wrong:
        status, answer = close(room, identity, **order)
        assert (answer["type"], 400 <= status < 500) == (f"/problems/{problem}", True), answer
    assert room.client.get("/v1/jobs").json()["items"] == []
    assert close(room, upload_id, weights={"name": FID_INCEPTION})[0] == 202


def test_a_stored_file_is_read_again_when_asked(room: ApiRoom) -> None:
    row = stored(room)
    path = f"/v1/weights/{FID_INCEPTION}/verification"
    assert room.client.get(path).json()["sound"] is True
    room.objects.delete(row.tensors_digest)
    answer = room.client.get(path).json()
    assert answer["sound"] is False
    assert "segsmith weights fetch fid-inception --replace" in answer["detail"]
    missing = room.client.get("/v1/weights/vgg19/verification")
    assert (missing.status_code, missing.json()["type"]) == (404, "/problems/weights-not-stored")


def test_stored_files_travel_as_one_bundle(room: ApiRoom, tmp_path: Path) -> None:
    stored(room)
    stored(room, "vgg19", b"x" * 512)
    file = tmp_path / "bundle.tar"
    file.write_bytes(room.client.get("/v1/weights-bundle").content)
    assert is_bundle(file)
    assert [each.name for each in check_bundle(file).files] == [FID_INCEPTION, "vgg19"]
    file.write_bytes(room.client.get("/v1/weights-bundle", params={"name": "vgg19"}).content)
    assert [each.name for each in check_bundle(file).files] == ["vgg19"]
    assert room.client.get("/v1/weights-bundle", params={"name": "dino-vit-s8"}).status_code == 404


def test_a_pipeline_that_lacks_weights_is_refused_with_the_command_that_mends_it(room: ApiRoom) -> None:
    version = room.version([f"p{number}" for number in range(8)])
    spec: dict[str, Any] = {"pairs": {"version_id": str(version)}, "clustering": {"k": 2}, "segmentation": None}
    refused = room.client.post("/v1/pipelines", json=spec)
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/weights-missing")
    assert "segsmith weights fetch fid-inception" in refused.json()["hint"]
    assert room.client.get("/v1/pipelines").json()["items"] == []
    assert room.client.post("/v1/pipelines", json=spec | {"allow_stand_ins": True}).status_code == 202
    stored(room)
    assert room.client.post("/v1/pipelines", json=spec).status_code == 202


def test_a_model_of_a_pretrained_file_needs_that_file(room: ApiRoom) -> None:
    body = {"pretrained": "guided-diffusion-256"}
    refused = room.client.post("/v1/models", json=body)
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/weights-missing")
    stored(room, "guided-diffusion-256")
    begun = room.client.post("/v1/models", json=body | {"told": {"weights": "ema"}})
    assert (begun.status_code, begun.json()["kind"]) == (202, JobKind.IMPORT_MODEL)
    with room.session() as session:
        assert session.get_one(Job, UUID(begun.json()["id"])).spec["told"]["weights"] == "ema"
