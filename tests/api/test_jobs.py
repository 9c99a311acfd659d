"""Jobs and pipelines: what people ask of them, and their events as they happen."""

import time
from collections.abc import Callable
from uuid import UUID

import httpx
import pytest
from sqlmodel import col, select

from segsmith_api.metrics import EVENT_STREAMS
from segsmith_api.records.pipelines import status_of
from segsmith_shared.database.tables import Artifact, Event, JobStatus
from tests.fixtures.api_room import ApiRoom, sent_events

DEADLINE_SECONDS = 20.0


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ask(room: ApiRoom, job_id: UUID, what: str) -> httpx.Response:
    return room.client.post(f"/v1/jobs/{job_id}/{what}")


def test_a_waiting_job_is_paused_resumed_cancelled_and_retried(room: ApiRoom) -> None:
    job_id = room.probe()
    for what, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled"), ("retry", "queued")):
        answer = ask(room, job_id, what)
        assert (answer.status_code, answer.json()["status"]) == (202, status)
    assert room.status_of(job_id) == JobStatus.QUEUED


def test_a_running_job_is_asked_to_stop(room: ApiRoom) -> None:
    job_id = room.probe()
    room.claim()
    answer = ask(room, job_id, "cancel").json()
    assert (answer["status"], answer["cancel_requested"]) == ("running", True)


def test_what_a_state_does_not_allow_is_a_conflict(room: ApiRoom) -> None:
    job_id = room.probe()
    room.finish(room.claim(), taken=1)
    for what in ("cancel", "pause", "resume", "retry"):
        assert ask(room, job_id, what).status_code == 409, what
    shown = room.client.get(f"/v1/jobs/{job_id}").json()
    assert (shown["status"], shown["outputs"]) == ("succeeded", {"taken": 1})


def test_jobs_are_found_by_kind_status_and_pipeline(room: ApiRoom) -> None:
    pipeline_id = room.pipeline()
    first = room.probe(pipeline_id=pipeline_id)
    second = room.probe(first, pipeline_id=pipeline_id)
    alone = room.probe()
    ask(room, alone, "cancel")

    def found(**filters: str) -> set[str]:
        return {job["id"] for job in room.client.get("/v1/jobs", params=filters).json()["items"]}

    assert found(pipeline_id=str(pipeline_id)) == {str(first), str(second)}
    assert found(status="cancelled") == {str(alone)}
    assert found(kind="train") == set()
    assert room.client.get(f"/v1/jobs/{second}").json()["needs"] == [str(first)]


def test_a_pipeline_shows_its_graph_and_is_cancelled_whole(room: ApiRoom) -> None:
    pipeline_id = room.pipeline("night run")
    first = room.probe(pipeline_id=pipeline_id)
    room.probe(first, pipeline_id=pipeline_id)
    shown = room.client.get(f"/v1/pipelines/{pipeline_id}").json()
    assert (shown["status"], len(shown["jobs"]), shown["counts"]) == ("queued", 2, {"queued": 2})
    room.finish(room.claim())
    assert room.client.get("/v1/pipelines").json()["items"][0]["status"] == "running"
    cancelled = room.client.post(f"/v1/pipelines/{pipeline_id}/cancel")
    assert (cancelled.status_code, cancelled.json()["counts"]) == (202, {"succeeded": 1, "cancelled": 1})
    assert cancelled.json()["status"] == "cancelled"
    assert cancelled.json()["finished_at"] is not None


def test_a_pipeline_is_paused_and_goes_on(room: ApiRoom) -> None:
    pipeline_id = room.pipeline()
    room.probe(pipeline_id=pipeline_id)
    assert room.client.post(f"/v1/pipelines/{pipeline_id}/pause").json()["status"] == "paused"
    assert room.client.post(f"/v1/pipelines/{pipeline_id}/resume").json()["status"] == "queued"


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ({}, "succeeded"),
        ({"succeeded": 3}, "succeeded"),
        ({"succeeded": 1, "queued": 1}, "running"),
        ({"queued": 2}, "queued"),
        ({"queued": 1, "running": 1}, "running"),
        ({"succeeded": 1, "paused": 1}, "paused"),
        ({"failed": 1, "cancelled": 2, "succeeded": 1}, "failed"),
        ({"cancelled": 2, "succeeded": 1}, "cancelled"),
        ({"failed": 1, "queued": 1}, "queued"),
    ],
)
def test_a_pipelines_status_is_what_its_jobs_make_of_it(counts: dict[str, int], status: str) -> None:
    assert status_of(counts) == status


def test_a_dry_run_says_what_would_run_and_writes_nothing(room: ApiRoom) -> None:
    version_id = room.version([f"p{number}" for number in range(8)])
    tests = room.version([f"t{number}" for number in range(4)])
    spec = {
        "pairs": {"version_id": str(version_id)},
        "tests": [{"name": "held out", "pairs": {"version_id": str(tests)}}],
        "clustering": {"k": 2},
        "allow_stand_ins": True,
    }
    plan = room.client.post("/v1/pipelines", params={"dry_run": True}, json=spec)
    assert plan.status_code == 200
    assert plan.json()["jobs"][0]["kind"] == "cluster"
    assert any(line["unit"] == "U-Net evaluations" for line in plan.json()["cost"])
    assert room.client.get("/v1/jobs").json()["items"] == []
    datasets = room.client.get("/v1/datasets").json()["items"]
    real = room.client.post("/v1/pipelines", json=spec)
    assert (real.status_code, real.headers["location"]) == (202, f"/v1/pipelines/{real.json()['id']}")
    assert len(real.json()["jobs"]) == len(plan.json()["jobs"])
    assert room.client.get(f"/v1/generations?pipeline_id={real.json()['id']}").json()["items"][0]["recipe"] == "Diff"
    assert room.client.get("/v1/datasets").json()["items"][1:] == datasets


def test_artifacts_are_listed_and_served_without_running_scripts(room: ApiRoom) -> None:
    pipeline_id = room.pipeline()
    job_id = room.probe(pipeline_id=pipeline_id)
    page = b"<script>alert(1)</script>"
    digest = room.objects.put_bytes(page)
    room.add(Artifact(job_id=job_id, name="report.html", media_type="text/html", digest=digest, size_bytes=len(page)))
    for path in (f"/v1/jobs/{job_id}/artifacts", f"/v1/pipelines/{pipeline_id}/artifacts"):
        [artifact] = room.client.get(path).json()["items"]
        served = room.client.get(artifact["url"])
        assert (served.content, served.headers["content-type"]) == (page, "text/html; charset=utf-8")
        assert "sandbox" in served.headers["content-security-policy"]


def test_events_come_as_they_happen_and_end_with_the_job(room: ApiRoom) -> None:
    job_id = room.probe()
    with room.client.stream("GET", f"/v1/jobs/{job_id}/events") as response:
        events = sent_events(response)
        assert next(events).data["data"]["status"] == "queued"
        claim = room.claim()
        assert next(events).data["data"]["status"] == "running"
        room.say(claim, 1, 2)
        progress = next(events)
        assert (progress.event, progress.data["data"]["done"], progress.data["job_id"]) == ("progress", 1, str(job_id))
        room.finish(claim)
        *_, last = events
    assert (last.event, last.data, last.id) == ("end", {"status": "succeeded"}, "")


def test_a_stream_that_was_cut_off_goes_on_without_loss_or_repetition(room: ApiRoom) -> None:
    pipeline_id = room.pipeline()
    for _ in range(3):
        room.probe(pipeline_id=pipeline_id)
    seen = []
    path = f"/v1/pipelines/{pipeline_id}/events"
    with room.client.stream("GET", path) as response:
        seen.append(next(sent_events(response)).id)
    for _ in range(3):
        room.finish(room.claim())
    with room.client.stream("GET", path, headers={"Last-Event-ID": seen[-1]}) as response:
        seen += [event.id for event in sent_events(response) if event.id]
    with room.session() as session:
        written = [str(event_id) for event_id in session.exec(select(Event.id).order_by(col(Event.id)))]
    assert seen == written


def test_more_events_than_one_look_takes_all_come(room: ApiRoom) -> None:
    job_id = room.probe()
    claim = room.claim()
    for done in range(450):
        room.say(claim, done, 450)
    room.finish(claim)
    with room.client.stream("GET", f"/v1/jobs/{job_id}/events") as response:
        told = [event.data["data"]["done"] for event in sent_events(response) if event.event == "progress"]
    assert told == list(range(450))


def test_an_idle_stream_holds_no_connection_and_a_gone_client_leaves_nothing(room: ApiRoom) -> None:
    job_id = room.probe()
    pool = room.app.state.installation.engine.pool
    before = EVENT_STREAMS._value.get()
    clients = [room.stranger(Authorization=f"Bearer {room.key}") for _ in range(30)]
    streams = [client.stream("GET", f"/v1/jobs/{job_id}/events") for client in clients]
    events = [sent_events(stream.__enter__()) for stream in streams]
    for each in events:
        next(each)
    assert EVENT_STREAMS._value.get() == before + 30
    eventually(lambda: pool.checkedout() == 0)
    assert pool.checkedin() + pool.overflow() <= pool.size()
    for stream, client in zip(streams, clients, strict=True):
        stream.__exit__(None, None, None)
        client.close()
    eventually(lambda: EVENT_STREAMS._value.get() == before)


def test_a_server_that_stops_ends_its_streams_without_saying_end(room: ApiRoom) -> None:
    job_id = room.probe()
    with room.client.stream("GET", f"/v1/jobs/{job_id}/events") as response:
        events = sent_events(response)
        next(events)
        room.stop()
        assert [event.event for event in events if event.event == "end"] == []
