"""Collecting takes only what is old and unnamed; checking finds what was lost or damaged."""

import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import torch
from minio import Minio
from sqlalchemy import Engine

from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import ApiKey, Artifact, Job, JobKind
from segsmith_shared.settings import Settings
from segsmith_shared.storage import checkpoints
from segsmith_shared.storage.client import s3_client
from segsmith_shared.storage.housekeeping import check, collect
from segsmith_shared.storage.objects import ObjectStore, digest_of, key_of
from segsmith_shared.storage.references import every_digest_named, object_references

IN_TWO_DAYS = datetime.now(UTC) + timedelta(days=2)


@pytest.fixture
def raw(settings: Settings) -> Minio:
    return s3_client(settings.s3_endpoint, settings.s3_access_key, settings.s3_secret_key.get_secret_value())


def test_old_objects_that_nothing_names_go_and_named_ones_stay(object_store: ObjectStore) -> None:
    named, loose = object_store.put_bytes(b"named"), object_store.put_bytes(b"loose")
    collected = collect(object_store, lambda: {named}, now=IN_TWO_DAYS)
    assert (collected.removed, collected.removed_bytes, collected.too_young) == (1, 5, 0)
    assert object_store.exists(named)
    assert not object_store.exists(loose)


def test_young_objects_stay_because_their_row_may_be_on_its_way(object_store: ObjectStore) -> None:
    loose = object_store.put_bytes(b"just written")
    assert collect(object_store, set).too_young == 1
    assert object_store.exists(loose)


def test_a_rehearsal_counts_and_removes_nothing(object_store: ObjectStore) -> None:
    loose = object_store.put_bytes(b"loose")
    assert collect(object_store, set, now=IN_TWO_DAYS, rehearse=True).removed == 1
    assert object_store.exists(loose)


def test_an_object_named_while_the_collection_runs_stays(object_store: ObjectStore) -> None:
    late = object_store.put_bytes(b"named after the listing")
    named: set[str] = set()

    def references() -> set[str]:
        named.add(late)  # the listing is done by now: a reader of rows sees this one
        return named

    assert collect(object_store, references, now=IN_TWO_DAYS).removed == 0


@pytest.mark.parametrize("read_everything", [True, False])
def test_a_check_names_what_is_lost(object_store: ObjectStore, read_everything: bool) -> None:
    kept, lost = object_store.put_bytes(b"kept"), digest_of(b"lost")
    checked = check(object_store, lambda: {kept, lost}, read_everything=read_everything)
    assert (checked.sound, checked.missing, checked.corrupt) == (1, (lost,), ())


def test_a_check_that_reads_everything_names_what_is_damaged(
    object_store: ObjectStore, raw: Minio, settings: Settings
) -> None:
    damaged = object_store.put_bytes(b"right")
    raw.put_object(settings.s3_bucket, key_of(damaged), io.BytesIO(b"wrong"), 5)
    assert check(object_store, lambda: {damaged}).corrupt == (damaged,)


def test_a_running_jobs_checkpoint_and_its_tensors_are_never_collected(
    object_store: ObjectStore, engine: Engine
) -> None:
    manifest = checkpoints.save(object_store, {"network.weight": torch.ones(3)}, {"images_seen": 1})
    picture = object_store.put_bytes(b"picture")
    with session_scope(engine) as session:
        job = Job(kind=JobKind.TRAIN, queue="gpu", name="train 0", slice_state={"checkpoint": {"manifest": manifest}})
        session.add(job)
        session.flush()
        session.add(Artifact(job_id=job.id, name="sheet.png", media_type="image/png", digest=picture, size_bytes=7))
    with session_scope(engine) as session:
        collected = collect(object_store, lambda: every_digest_named(session, object_store), now=IN_TWO_DAYS)
    assert (collected.removed, collected.too_young) == (0, 0)
    assert checkpoints.load(object_store, manifest)[1] == {"images_seen": 1}


def test_a_check_of_the_database_does_not_take_a_keys_digest_for_an_object(
    object_store: ObjectStore, engine: Engine
) -> None:
    picture = digest_of(b"a lost picture")
    with session_scope(engine) as session:
        session.add(ApiKey(name="first", prefix="sgs_abc", digest=digest_of(b"secret")))
        job = Job(kind=JobKind.REPORT, queue="cpu", name="report")
        session.add(job)
        session.flush()
        session.add(Artifact(job_id=job.id, name="sheet.png", media_type="image/png", digest=picture, size_bytes=7))
    with session_scope(engine) as session:
        assert check(object_store, lambda: object_references(session, object_store)).missing == (picture,)


def storage_command(*arguments: str) -> tuple[int, dict[str, object]]:
    command = [sys.executable, "-m", "segsmith_shared.storage", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ran.stdout, ran.stderr
    return ran.returncode, json.loads(ran.stdout)


def test_an_administrator_collects_and_checks_from_the_command_line(
    object_store: ObjectStore, engine: Engine, raw: Minio, settings: Settings
) -> None:
    named, young = object_store.put_bytes(b"named"), object_store.put_bytes(b"written just now")
    with session_scope(engine) as session:
        job = Job(kind=JobKind.PROBE, queue="cpu")
        session.add(job)
        session.flush()
        session.add(Artifact(job_id=job.id, name="a", media_type="text/plain", digest=named, size_bytes=5))
    assert storage_command("gc", "--rehearse") == (0, {"removed": 0, "removed_bytes": 0, "too_young": 1})
    assert storage_command("gc")[1]["too_young"] == 1
    assert object_store.exists(young)
    assert storage_command("fsck") == (0, {"sound": 1, "missing": [], "corrupt": []})
    raw.remove_object(settings.s3_bucket, key_of(named))
    assert storage_command("fsck", "--names-only") == (1, {"sound": 0, "missing": [named], "corrupt": []})
