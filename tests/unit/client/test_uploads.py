"""Uploads lose nothing and send nothing twice that has arrived, whatever happens on the way."""

import base64
import hashlib
import threading
from pathlib import Path
from uuid import UUID

import pytest

from segsmith import ApiProblem, TransferBroken
from segsmith.client import Client
from segsmith.packing import ArchiveFile
from segsmith.values import Artifact
from tests.unit.client.rough_server import HANGS_UP, Asked, RoughServer, Says, says

UPLOAD = UUID("00000000-0000-4000-8000-000000000002")
PART_BYTES = 1000


class PartsServer:
    """The part routes of the API, over a dictionary; `break_at` parts hang up once, after they were stored."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.parts: dict[int, bytes] = {}
        self.puts: list[int] = []
        self.break_at: set[int] = set()
        self.refuse: set[int] = set()
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> Says | None:
        if asked.method == "GET":
            return says(self._status())
        number = int(asked.path.rpartition("/")[2])
        with self._lock:
            self.puts.append(number)
            if number in self.refuse:
                return says({"type": "/problems/digest-mismatch", "title": "no"}, 422)
            digest = base64.b64encode(hashlib.sha256(asked.body).digest()).decode()
            assert asked.headers["Content-Digest"] == f"sha-256=:{digest}:"
            self.parts[number] = asked.body
            if number in self.break_at:
                self.break_at.discard(number)
                return HANGS_UP
        return says({})

    def _status(self) -> dict[str, object]:
        parts = [
            {"number": number, "size_bytes": len(part), "sha256": hashlib.sha256(part).hexdigest()}
            for number, part in self.parts.items()
        ]
        return {
            "id": str(UPLOAD),
            "dataset_id": str(UPLOAD),
            "filename": "pairs.zip",
            "size_bytes": self.size_bytes,
            "part_bytes": PART_BYTES,
            "part_count": -(-self.size_bytes // PART_BYTES),
            "parts": parts,
        }


@pytest.fixture
def archive(tmp_path: Path) -> ArchiveFile:
    file = tmp_path / "pairs.zip"
    file.write_bytes(bytes(number % 251 for number in range(12_345)))
    return ArchiveFile(file)


@pytest.fixture
def parts_server(rough_server: RoughServer, archive: ArchiveFile) -> PartsServer:
    rough_server.answer = server = PartsServer(archive.size_bytes)
    return server


def test_all_parts_arrive_though_connections_break(
    rough_server: RoughServer, parts_server: PartsServer, archive: ArchiveFile
) -> None:
    parts_server.break_at = {0, 5, 12}
    told: list[int] = []
    with Client(rough_server.url) as client:
        sha256 = client.uploads.send(UPLOAD, archive, lambda done, _: told.append(done))
    content = archive.path.read_bytes()
    assert b"".join(part for _, part in sorted(parts_server.parts.items())) == content
    assert sha256 == hashlib.sha256(content).hexdigest()
    assert told == sorted(told)
    assert told[-1] == archive.size_bytes


def test_resuming_sends_only_what_is_missing_or_wrong(
    rough_server: RoughServer, parts_server: PartsServer, archive: ArchiveFile
) -> None:
    content = archive.path.read_bytes()
    parts_server.parts = {number: content[number * PART_BYTES :][:PART_BYTES] for number in range(10)}
    parts_server.parts[3] = b"other bytes of the same upload"
    with Client(rough_server.url) as client:
        sha256 = client.uploads.send(UPLOAD, archive)
    assert sorted(parts_server.puts) == [3, 10, 11, 12]
    assert sha256 == hashlib.sha256(content).hexdigest()


def test_a_refused_part_ends_the_upload(
    rough_server: RoughServer, parts_server: PartsServer, archive: ArchiveFile
) -> None:
    parts_server.refuse = {1}
    with Client(rough_server.url) as client, pytest.raises(ApiProblem) as caught:
        client.uploads.send(UPLOAD, archive)
    assert caught.value.code == "digest-mismatch"


def test_resuming_with_another_archive_is_refused(
    rough_server: RoughServer, parts_server: PartsServer, archive: ArchiveFile
) -> None:
    parts_server.size_bytes = 99
    with Client(rough_server.url) as client, pytest.raises(TransferBroken, match="12345"):
        client.uploads.send(UPLOAD, archive)
    assert parts_server.puts == []


def test_a_download_appears_only_when_it_is_whole_and_right(rough_server: RoughServer, tmp_path: Path) -> None:
    content = b"report" * 1000
    answers = iter([Says(200, content, cut_after=700), Says(200, content), Says(200, content[::-1])])
    rough_server.answer = lambda _: next(answers)
    artifact = Artifact(
        id=UPLOAD,
        job_id=UPLOAD,
        name="report.html",
        media_type="text/html",
        size_bytes=len(content),
        digest=hashlib.sha256(content).hexdigest(),
        created_at="2026-01-01T00:00:00Z",
    )
    with Client(rough_server.url) as client:
        assert client.artifacts.download(artifact, tmp_path / "out" / "report.html").read_bytes() == content
        with pytest.raises(TransferBroken, match=r"other\.html"):
            client.artifacts.download(artifact, tmp_path / "out" / "other.html")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["report.html"]
