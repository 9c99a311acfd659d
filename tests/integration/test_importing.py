"""An upload becomes a version through the real worker: whole, once, and with a report of what was left out."""

import io
import tarfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine
from sqlmodel import col, select

from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import (
    Artifact,
    Dataset,
    DatasetVersion,
    Job,
    JobKind,
    JobStatus,
    Pair,
    Upload,
    UploadPart,
)
from segsmith_shared.jobs import plan, states
from segsmith_shared.jobs.bell import ring
from segsmith_shared.pairs.checking import ImportReport
from segsmith_shared.pairs.classes import class_list
from segsmith_shared.pairs.png_files import stored_label_bytes
from segsmith_shared.plans.pipeline import PlannedJob
from segsmith_shared.plans.specs import ImportSpec
from segsmith_shared.storage.objects import Digest, ObjectStore
from segsmith_shared.storage.pair_arrays import read_label
from tests.fixtures.engine_room import EngineRoom
from tests.fixtures.label_sets import grey, lesion, save_set
from tests.fixtures.pair_folders import blank_png, draw_class_folder, draw_folder, plant

PART_BYTES = 100_000


class Imports:
    """Uploads archives and submits import jobs for them, as the API does."""

    def __init__(self, room: EngineRoom, engine: Engine, objects: ObjectStore) -> None:
        self.room, self.engine, self.objects = room, engine, objects
        self.dataset = Dataset(name="polyps")
        with session_scope(engine) as session:
            session.add(self.dataset)

    def upload(self, archive: bytes, sha: str | None = None) -> UUID:
        """Store an archive in parts, closed."""
        pieces = [archive[start : start + PART_BYTES] for start in range(0, len(archive), PART_BYTES)]
        upload = Upload(
            dataset_id=self.dataset.id,
            filename="polyps.tar",
            size_bytes=len(archive),
            part_bytes=PART_BYTES,
            sha256=sha or sha256(archive).hexdigest(),
            closed_at=datetime.now(UTC),
        )
        with session_scope(self.engine) as session:
            session.add(upload)
            session.flush()
            for number, piece in enumerate(pieces):
                digest = self.objects.put_bytes(piece)
                session.add(UploadPart(upload_id=upload.id, number=number, size_bytes=len(piece), digest=digest))
        return upload.id

    def submit(self, upload_id: UUID, **fields: Any) -> UUID:
        spec = ImportSpec(dataset_id=self.dataset.id, upload_id=upload_id, **fields)
        with session_scope(self.engine) as session:
            plan.submit(session, [PlannedJob(job_id := uuid4(), JobKind.IMPORT, "import", "cpu", spec)])
        ring("cpu")
        return job_id

    def finish(self, upload_id: UUID, **fields: Any) -> Job:
        return self.room.until_ended(self.submit(upload_id, **fields))

    def versions(self) -> list[DatasetVersion]:
        with session_scope(self.engine) as session:
            return list(session.exec(select(DatasetVersion)))

    def version(self, job: Job) -> DatasetVersion:
        with session_scope(self.engine) as session:
            return session.get_one(DatasetVersion, UUID(job.outputs["version_id"]))

    def pairs(self, version: DatasetVersion) -> list[Pair]:
        query = select(Pair).where(Pair.version_id == version.id).order_by(col(Pair.position))
        with session_scope(self.engine) as session:
            return list(session.exec(query))

    def artifacts(self, job: Job) -> dict[str, bytes]:
        with session_scope(self.engine) as session:
            rows = list(session.exec(select(Artifact).where(Artifact.job_id == job.id)))
        return {row.name: self.objects.get_bytes(Digest(row.digest)) for row in rows}


@pytest.fixture
def imports(room: EngineRoom, engine: Engine, object_store: ObjectStore) -> Imports:
    return Imports(room, engine, object_store)


def packed(folder: Path) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(folder, "polyps")
    return stream.getvalue()


def picture(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_an_archive_with_bad_files_becomes_a_version_of_the_good_ones(imports: Imports, tmp_path: Path) -> None:
    names = draw_folder(tmp_path / "set", 8)
    planted = plant(tmp_path / "set")
    imports.room.service("tests.fixtures.import_worker")

    job = imports.finish(imports.upload(packed(tmp_path / "set")), label="first")

    assert job.status == JobStatus.SUCCEEDED, job.problem
    version = imports.version(job)
    assert (version.number, version.label, version.pair_count, version.origin) == (1, "first", 8, "real")
    assert version.created_by_job_id == job.id
    assert version.provenance["filename"] == "polyps.tar"
    pairs = imports.pairs(version)
    assert [pair.name for pair in pairs] == names
    for pair in pairs:
        folder = tmp_path / "set"
        with Image.open(folder / "images" / f"{pair.name}.jpg") as original:
            assert (picture(imports.objects.get_bytes(Digest(pair.image_digest))) == np.asarray(original)).all()
        label = picture(imports.objects.get_bytes(Digest(pair.label_digest)))
        assert set(np.unique(label)) == {0, 255}
        assert (label > 0).mean() == pytest.approx(pair.lesion_fraction)
        assert picture(imports.objects.get_bytes(Digest(pair.thumbnail_digest))).shape == (64, 64, 3)
        assert picture(imports.objects.get_bytes(Digest(pair.overlay_digest))).shape == (64, 64, 3)
    report = ImportReport.model_validate(version.report)
    found = {finding.file: finding.code for finding in report.findings if finding.severity == "error"}
    assert found == {f"polyps/{file}": code for file, code in planted.items()}
    artifacts = imports.artifacts(job)
    assert artifacts["import-report.txt"].decode() == report.in_words() + "\n"
    assert ImportReport.model_validate_json(artifacts["import-report.json"]) == report
    assert picture(artifacts["import-sheet.png"]).shape[2] == 3


def test_labels_of_two_classes_are_stored_as_they_are_and_the_version_names_both(
    imports: Imports, tmp_path: Path
) -> None:
    names = draw_class_folder(tmp_path / "set", 5)
    (tmp_path / "set" / "classes.json").write_text(class_list(["polyp", "scar"]), encoding="utf-8")
    upload = imports.upload(packed(tmp_path / "set"))
    imports.room.service("tests.fixtures.import_worker")

    listed = imports.version(imports.finish(upload))
    given = [{"name": "bleeding", "value": 2}, {"name": "polyp", "value": 1}]
    named = imports.version(imports.finish(upload, options={"classes": given}))

    assert (listed.class_names, named.class_names) == (["polyp", "scar"], ["bleeding", "polyp"])
    for pairs, values in ((imports.pairs(listed), (0, 1, 2)), (imports.pairs(named), (0, 2, 1))):
        for name, pair in zip(names, pairs, strict=True):
            label = read_label(imports.objects.get_bytes(Digest(pair.label_digest)), classes=2)
            truth = picture((tmp_path / "set" / "masks" / f"{name}.png").read_bytes())
            assert np.array_equal(label, np.array(values)[truth])
            assert pair.lesion_fraction == (truth > 0).mean()
    report = ImportReport.model_validate(listed.report)
    assert report.class_names == ["polyp", "scar"]


def test_a_list_of_classes_with_a_fault_fails_the_import_with_its_reason(imports: Imports, tmp_path: Path) -> None:
    draw_class_folder(tmp_path / "set", 2)
    (tmp_path / "set" / "classes.json").write_text('{"classes": [{"name": "polyp", "value": 99999}]}')
    imports.room.service("tests.fixtures.import_worker")
    job = imports.finish(imports.upload(packed(tmp_path / "set")))
    assert job.status == JobStatus.FAILED
    assert job.problem is not None
    assert "65535" in job.problem["detail"]
    assert imports.versions() == []


def test_equal_archives_give_equal_digests_and_rising_numbers(imports: Imports, tmp_path: Path) -> None:
    draw_folder(tmp_path / "set", 3)
    upload = imports.upload(packed(tmp_path / "set"))
    for _ in range(2):
        imports.room.service("tests.fixtures.import_worker")
    jobs = [imports.submit(upload) for _ in range(3)]

    versions = [imports.version(imports.room.until_status(job, JobStatus.SUCCEEDED)) for job in jobs]

    assert sorted(version.number for version in versions) == [1, 2, 3]
    assert len({version.digest for version in versions}) == 1


def test_options_reach_the_check_and_groups_reach_the_rows(imports: Imports, tmp_path: Path) -> None:
    names = draw_folder(tmp_path / "set", 4)
    for folder, ending in (("images", "jpg"), ("masks", "png")):
        twin = (tmp_path / "set" / folder / f"{names[1]}.{ending}").read_bytes()
        (tmp_path / "set" / folder / f"twin.{ending}").write_bytes(twin)
    imports.room.service("tests.fixtures.import_worker")

    job = imports.finish(
        imports.upload(packed(tmp_path / "set")), options={"ids": [names[0], names[1], "twin"]}, origin="external"
    )

    version = imports.version(job)
    assert version.origin == "external"
    assert {pair.name: pair.near_duplicate_group for pair in imports.pairs(version)} == {
        names[0]: None,
        names[1]: 0,
        "twin": 0,
    }


@pytest.mark.parametrize(
    ("archive", "options", "title", "words"),
    [
        (b"no archive at all", {}, "The upload is no archive", "neither like a zip nor like a tar"),
        (b"", {"ids": 7}, "A value is not acceptable", "Import option 'ids'"),
    ],
)
def test_a_hopeless_import_fails_at_once_and_says_why(
    imports: Imports, archive: bytes, options: dict[str, Any], title: str, words: str
) -> None:
    imports.room.service("tests.fixtures.import_worker")
    job = imports.finish(imports.upload(archive), options=options)
    assert (job.status, job.attempts) == (JobStatus.FAILED, 1)
    assert job.problem is not None
    assert job.problem["title"] == title
    assert words in job.problem["detail"]
    assert job.problem["hint"]


def test_an_archive_without_a_pair_fails_but_keeps_its_report(imports: Imports, tmp_path: Path) -> None:
    draw_folder(tmp_path / "set", 2)
    for path in (tmp_path / "set" / "masks").iterdir():
        path.write_bytes(b"")
    imports.room.service("tests.fixtures.import_worker")
    job = imports.finish(imports.upload(packed(tmp_path / "set")))
    assert job.status == JobStatus.FAILED
    assert job.problem is not None
    assert "masks/case-000.png: the file has no bytes" in job.problem["detail"]
    assert b"0 pairs accepted, 2 rejected" in imports.artifacts(job)["import-report.txt"]
    assert imports.versions() == []


def test_a_strict_import_of_an_implausible_set_stores_none_of_its_pairs(imports: Imports, tmp_path: Path) -> None:
    save_set(tmp_path / "set", {f"p{index}": grey(~lesion(index) * np.uint8(255)) for index in range(4)})
    upload = imports.upload(packed(tmp_path / "set"))
    imports.room.service("tests.fixtures.import_worker")

    job = imports.finish(upload, options={"strict": True})

    assert (job.status, job.attempts) == (JobStatus.FAILED, 1)
    assert job.problem is not None
    assert job.problem["title"] == "The set as a whole cannot be meant"
    assert "4 of 4 labels mark over half of the picture and its border" in job.problem["detail"]
    assert b"Nothing is imported: labels-inverted" in imports.artifacts(job)["import-report.txt"]
    assert imports.versions() == []
    stored = [Digest(sha256(stored_label_bytes((~lesion(n)).astype(np.uint8), 1)).hexdigest()) for n in range(4)]
    assert not any(imports.objects.exists(digest) for digest in stored)

    version = imports.version(imports.finish(upload, options={"strict": True, "foreground": "0"}))
    assert version.provenance["options"] == {"strict": True, "foreground": "0"}
    assert [
        read_label(imports.objects.get_bytes(Digest(pair.label_digest))).mean() for pair in imports.pairs(version)
    ] == [lesion(index).mean() for index in range(4)]


def test_an_upload_whose_parts_do_not_add_up_is_noticed(imports: Imports, tmp_path: Path) -> None:
    draw_folder(tmp_path / "set", 2)
    imports.room.service("tests.fixtures.import_worker")
    job = imports.finish(imports.upload(packed(tmp_path / "set"), sha=sha256(b"something else").hexdigest()))
    assert job.problem is not None
    assert job.problem["title"] == "The upload is damaged"


def draw_slow_folder(root: Path) -> list[str]:
    """Some pairs, and a last one of 36 million pixels, so that an import can be met in its middle."""
    names = draw_folder(root, 6, side_px=48)
    (root / "images" / "last.png").write_bytes(blank_png(6000, 6000))
    label = Image.new("L", (6000, 6000))
    label.paste(255, (100, 100, 3000, 3000))
    label.save(root / "masks" / "last.png")
    return [*names, "last"]


def until_in_the_middle(imports: Imports, job_id: UUID) -> None:
    imports.room.until_step(job_id, 1)
    assert imports.room.job(job_id).status == JobStatus.RUNNING


@pytest.mark.slow
def test_a_worker_killed_while_importing_costs_a_repetition_and_nothing_else(imports: Imports, tmp_path: Path) -> None:
    names = draw_slow_folder(tmp_path / "set")
    imports.room.caretaker()
    worker = imports.room.service("tests.fixtures.import_worker")
    job_id = imports.submit(imports.upload(packed(tmp_path / "set")))
    until_in_the_middle(imports, job_id)
    worker.kill()
    assert imports.versions() == []
    imports.room.service("tests.fixtures.import_worker")

    job = imports.room.until_status(job_id, JobStatus.SUCCEEDED)

    assert job.fence == 2
    version = imports.version(job)
    assert version.number == 1
    assert [pair.name for pair in imports.pairs(version)] == names


def test_a_cancelled_import_leaves_no_version(imports: Imports, tmp_path: Path) -> None:
    draw_slow_folder(tmp_path / "set")
    imports.room.service("tests.fixtures.import_worker")
    job_id = imports.submit(imports.upload(packed(tmp_path / "set")))
    until_in_the_middle(imports, job_id)
    imports.room.do(states.cancel, job_id)
    assert imports.room.until_ended(job_id).status == JobStatus.CANCELLED
    assert imports.versions() == []
