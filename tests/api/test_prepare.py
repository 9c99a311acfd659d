"""Before the first start and before every later one: schema, bucket and key, whoever prepares them how often."""

import os
import subprocess
import sys
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import create_engine, text

from segsmith_api.main import create_app
from segsmith_shared.database.migrate import OnlyUpwards, upgrade
from segsmith_shared.embedded.ports import free_port
from segsmith_shared.settings import Settings
from segsmith_shared.storage.client import s3_client
from tests.fixtures.api_room import listening

KEY = "sgs_" + "k" * 43


def prepare(environment: dict[str, str], database_url: str, **more: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | environment | {"DATABASE_URL": database_url} | more
    command = [sys.executable, "-m", "segsmith_api.prepare"]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=120)


def test_an_empty_database_and_no_bucket_become_an_installation_that_knows_the_given_key(
    environment: dict[str, str], settings: Settings, empty_database_url: str
) -> None:
    for _ in range(2):
        done = prepare(environment, empty_database_url, SEGSMITH_FIRST_API_KEY=KEY)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert KEY not in done.stderr
    keys = (settings.s3_access_key, settings.s3_secret_key.get_secret_value())
    assert s3_client(settings.s3_endpoint, *keys).bucket_exists(settings.s3_bucket)
    installed = settings.model_copy(update={"database_url": type(settings.database_url)(empty_database_url)})
    with listening(create_app(installed)) as (url, _):
        ours = httpx.get(f"{url}/v1/datasets", headers={"Authorization": f"Bearer {KEY}"})
        others = httpx.get(f"{url}/v1/datasets", headers={"Authorization": f"Bearer {KEY}x"})
    assert (ours.status_code, others.status_code) == (200, 401)


def test_a_key_that_nobody_gave_is_printed_once(environment: dict[str, str], database_url: str) -> None:
    first, second = prepare(environment, database_url), prepare(environment, database_url)
    assert first.stdout.startswith("first API key, shown only now: sgs_")
    assert (first.returncode, second.returncode, second.stdout) == (0, 0, "")


@pytest.mark.parametrize("key", ["hunter2", "sgs_short", "sgs_" + "x" * 200, "SGS_" + "x" * 40])
def test_a_key_that_could_be_guessed_is_refused_in_one_line(
    environment: dict[str, str], database_url: str, key: str
) -> None:
    refused = prepare(environment, database_url, SEGSMITH_FIRST_API_KEY=key)
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "40 to 100 characters" in line
    assert key not in line


def test_servers_that_are_away_are_named_in_one_line(environment: dict[str, str], database_url: str) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    for changed, name in (
        ({"database_url": f"postgresql+psycopg://x:secret@{nowhere}/x"}, "Postgres does not answer"),
        ({"database_url": database_url, "S3_ENDPOINT": nowhere}, "The object storage does not answer"),
    ):
        failed = prepare(environment, changed.pop("database_url"), **changed)
        assert (failed.returncode, len(failed.stderr.strip().splitlines())) == (1, 1), failed.stderr
        assert failed.stderr.startswith(name)
        assert "secret" not in failed.stderr


def test_data_of_every_earlier_revision_is_there_after_the_upgrade_and_the_stack_serves_it(
    environment: dict[str, str], settings: Settings, empty_database_url: str
) -> None:
    dataset, version = uuid4(), uuid4()
    upgrade(empty_database_url, "0001")
    engine = create_engine(empty_database_url)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO dataset (id, name, description, created_at) VALUES (:id, 'polyps', '', now())"),
            {"id": dataset},
        )
        connection.execute(
            text(
                "INSERT INTO dataset_version (id, dataset_id, number, label, origin, pair_count, digest, report,"
                " provenance, created_at) VALUES (:id, :dataset, 1, '', 'real', 1, 'd', '{}', '{}', now())"
            ),
            {"id": version, "dataset": dataset},
        )
        connection.execute(
            text(
                "INSERT INTO pair (id, version_id, position, name, image_digest, label_digest, thumbnail_digest,"
                " overlay_digest, width_px, height_px, lesion_fraction, lesion_count)"
                " VALUES (:id, :version, 0, 'a polyp', 'i', 'l', 't', 'o', 384, 288, .1, 1)"
            ),
            {"id": uuid4(), "version": version},
        )
    engine.dispose()
    assert prepare(environment, empty_database_url, SEGSMITH_FIRST_API_KEY=KEY).returncode == 0
    upgraded = settings.model_copy(update={"database_url": type(settings.database_url)(empty_database_url)})
    with (
        listening(create_app(upgraded)) as (url, _),
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}) as client,
    ):
        assert client.get(f"/v1/datasets/{dataset}").json()["name"] == "polyps"
        (pair,) = client.get(f"/v1/versions/{version}/pairs").json()["items"]
    assert (pair["name"], pair["width_px"], pair["lesion_count"]) == ("a polyp", 384, 1)


def test_an_older_version_is_refused_by_a_newer_database_and_changes_nothing(
    environment: dict[str, str], database_url: str
) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9001'"))
    refused = prepare(environment, database_url)
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith("Migrations only go up: The database is at revision 9001;")
    assert "restore a backup" in line
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9001"
        assert connection.scalar(text("SELECT count(*) FROM api_key")) == 0
    engine.dispose()


def test_going_back_to_an_earlier_revision_is_refused_with_a_message(database_url: str) -> None:
    with pytest.raises(OnlyUpwards, match="this would take it back to 0001"):
        upgrade(database_url, "0001")
    command = [sys.executable, "-m", "segsmith_shared.database.migrate", "--url", database_url, "--to", "0002"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    assert "Migrations only go up" in refused.stderr
