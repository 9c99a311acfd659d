"""Keys, errors and figures: what everybody meets at the door."""

from uuid import uuid4

import httpx
from sqlalchemy import Engine
from sqlmodel import select
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from segsmith_api.main import create_app
from segsmith_shared.authentication import ensure_first_key
from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import ApiKey, IdempotencyRecord
from segsmith_shared.settings import Settings
from tests.fixtures.api_room import ApiRoom, listening


def test_no_route_below_v1_answers_a_stranger(room: ApiRoom) -> None:
    document = room.client.get("/openapi.json").json()
    with room.stranger() as stranger, room.stranger(Authorization="Bearer sgs_" + "x" * 43) as liar:
        for path, item in document["paths"].items():
            if not path.startswith("/v1") and path != "/metrics":
                continue
            for method in item:
                for client in (stranger, liar):
                    answer = client.request(method, path.replace("{number}", "0").replace("{face}", "image"))
                    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), (method, path)


def test_health_and_the_start_page_need_no_key(room: ApiRoom) -> None:
    with room.stranger() as stranger:
        assert stranger.get("/livez").json() == stranger.get("/readyz").json() == {"status": "ok"}
        assert "/v1/datasets" in stranger.get("/").text


def test_a_revoked_key_ends_at_once(room: ApiRoom) -> None:
    made = room.client.post("/v1/api-keys", json={"name": "laptop"})
    assert made.status_code == 201
    with room.stranger(Authorization=f"Bearer {made.json()['key']}") as laptop:
        assert laptop.get("/v1/datasets").status_code == 200
        revoked = room.client.delete(f"/v1/api-keys/{made.json()['id']}")
        assert revoked.json()["revoked_at"] is not None
        assert laptop.get("/v1/datasets").status_code == 401


def test_a_key_is_shown_once_and_stored_nowhere(room: ApiRoom) -> None:
    headers = {"Idempotency-Key": "k"}
    first, again = (room.client.post("/v1/api-keys", json={"name": "laptop"}, headers=headers) for _ in range(2))
    key = first.json()["key"]
    assert again.json() == first.json() | {"key": None}
    listed = room.client.get("/v1/api-keys").json()["items"]
    assert key.startswith(listed[0]["prefix"])
    assert "key" not in listed[0]
    with room.session() as session:
        stored = [*session.exec(select(ApiKey)), *session.exec(select(IdempotencyRecord))]
        assert key not in " ".join(row.model_dump_json() for row in stored)


def test_the_first_key_is_made_once_and_again_only_when_all_are_revoked(engine: Engine) -> None:
    def first_key() -> str | None:
        with session_scope(engine) as session:
            return ensure_first_key(session)

    assert (first_key() or "").startswith("sgs_")
    assert first_key() is None
    with session_scope(engine) as session:
        for row in session.exec(select(ApiKey)):
            row.revoked_at = row.created_at
    assert first_key() is not None


def test_an_installation_may_ask_for_no_key(settings: Settings, database_url: str) -> None:
    open_settings = settings.model_copy(update={"auth_required": False})
    with listening(create_app(open_settings)) as (url, _), httpx.Client(base_url=url) as anybody:
        made = anybody.post("/v1/datasets", json={"name": "x"}, headers={"Idempotency-Key": "k"})
        assert (made.status_code, anybody.get("/v1/datasets").json()["items"]) == (201, [made.json()])


def test_every_wrong_value_is_pointed_at(room: ApiRoom) -> None:
    body = {"pairs": {"version_id": "x"}, "seed": -1, "a/b~c": 1}
    problem = room.client.post("/v1/pipelines", json=body)
    assert (problem.status_code, problem.headers["content-type"]) == (422, "application/problem+json")
    pointers = [error["pointer"] for error in problem.json()["errors"]]
    assert sorted(pointers) == ["#/a~1b~0c", "#/pairs/version_id", "#/seed"]
    parameter = room.client.get("/v1/jobs", params={"status": "asleep"}).json()["errors"]
    assert [error["parameter"] for error in parameter] == ["query.status"]


def test_a_bug_is_answered_without_a_traceback_and_found_by_its_request_id(settings: Settings, engine: Engine) -> None:
    app = create_app(settings)

    @app.get("/bug")
    def bug() -> None:
        raise ZeroDivisionError("secret detail")

    with (
        capture_logs(processors=[merge_contextvars]) as logged,
        listening(app) as (url, _),
        httpx.Client(base_url=url) as client,
    ):
        answer = client.get("/bug", headers={"X-Request-Id": "from-the-proxy-1"})
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/unexpected")
    assert (answer.json()["request_id"], answer.headers["x-request-id"]) == ("from-the-proxy-1", "from-the-proxy-1")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    [entry] = [entry for entry in logged if entry.get("exc_info")]
    assert (entry["request_id"], entry["path"]) == ("from-the-proxy-1", "/bug")


def test_a_database_that_is_away_is_said_to_be(settings: Settings) -> None:
    nowhere = settings.model_copy(
        update={"database_url": type(settings.database_url)("postgresql+psycopg://nobody@127.0.0.1:1/nothing")}
    )
    with (
        capture_logs() as logged,
        listening(create_app(nowhere)) as (url, _),
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        assert client.get("/livez").status_code == 200
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["type"]) == (503, "/problems/not-ready")
        asked = client.get("/v1/datasets", headers={"Authorization": "Bearer sgs_x"})
        assert (asked.status_code, asked.json()["type"]) == (503, "/problems/database-unavailable")
        assert "127.0.0.1" not in asked.text
    assert "database unavailable" in {entry["event"] for entry in logged}


def test_other_methods_and_addresses_are_problems_too(room: ApiRoom) -> None:
    wrong = room.client.delete("/v1/datasets")
    assert (wrong.status_code, wrong.json()["type"]) == (405, "/problems/method-not-allowed")
    assert set(wrong.headers["allow"].split(", ")) == {"GET", "POST"}
    nothing = room.client.get("/v1/nothing")
    assert (nothing.status_code, nothing.json()["type"]) == (404, "/problems/not-found")


def test_a_problem_type_is_a_page(room: ApiRoom) -> None:
    problem = room.client.get(f"/v1/datasets/{uuid4()}").json()
    assert problem["title"] in room.client.get(problem["type"]).text
    assert room.client.get("/problems/nothing-of-ours").status_code == 404


def test_figures_count_requests_by_route_and_jobs_by_status(room: ApiRoom) -> None:
    room.probe()
    room.client.get(f"/v1/datasets/{uuid4()}")
    figures = room.client.get("/metrics").text
    assert 'segsmith_jobs{kind="probe",status="queued"} 1.0' in figures
    assert 'route="/v1/datasets/{dataset_id}",status="404"' in figures
