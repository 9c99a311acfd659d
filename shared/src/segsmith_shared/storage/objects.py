"""Objects named by the SHA-256 of their content, and never believed without checking it."""

import hashlib
import io
import re
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NewType, TypeVar

from minio import Minio
from minio.datatypes import Object as StatObject
from minio.error import S3Error
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from segsmith_shared.problems import InvalidInput, Problem, ServiceUnavailable
from segsmith_shared.settings import Settings
from segsmith_shared.storage.client import ensure_bucket, s3_client
from segsmith_shared.telemetry import OBJECT_BYTES

Digest = NewType("Digest", str)
"""64 lower-case hexadecimal digits."""

PREFIX = "sha256/"
CHUNK_BYTES = 2**20
PART_BYTES = 32 * 2**20
SPOOL_BYTES = 16 * 2**20
GONE = ("NoSuchKey", "NoSuchObject", "NoSuchBucket")
BINARY = "application/octet-stream"

Given = TypeVar("Given")
Taken = TypeVar("Taken")


class ObjectMissing(Problem):
    """A stored object that something refers to is not there any more."""

    status = 500
    title = "A stored object is lost"


class ObjectCorrupt(Problem):
    """The bytes under a digest have another digest."""

    status = 500
    title = "A stored object is damaged"


class StorageUnavailable(ServiceUnavailable):
    """The S3 server does not answer, or refuses us."""

    title = "The object storage does not answer"


class ChangedWhileRead(Problem):
    """A file was written to while it was being stored."""

    status = 409
    title = "The file changed while it was stored"


@dataclass(frozen=True)
class StoredObject:
    """One entry of the store, as listed."""

    digest: Digest
    size_bytes: int
    modified_at: datetime


def digest_of(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())


def parse_digest(text: str) -> Digest:
    """A digest from outside. Raises InvalidInput."""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise InvalidInput(f"{text[:80]!r} is not a SHA-256 digest.", hint="Give 64 lower-case hexadecimal digits.")
    return Digest(text)


def key_of(digest: str) -> str:
    """The object's key: two levels of 256 folders keep every listing short."""
    digest = parse_digest(digest)
    return f"{PREFIX}{digest[:2]}/{digest[2:4]}/{digest}"


class ObjectStore:
    """A bucket of content-addressed objects; safe to share between threads, not across a fork.

    Writing an object that is already there writes it again, on purpose: its age starts anew, so that the collection
    of unreferenced objects cannot take it from under a writer who is about to refer to it. Every method raises
    StorageUnavailable when the server does not answer after the client's retries.
    """

    def __init__(self, client: Minio, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    @classmethod
    def from_settings(cls, settings: Settings) -> "ObjectStore":
        """The store of this process's settings. Makes the bucket where it is missing."""
        client = s3_client(
            settings.s3_endpoint,
            settings.s3_access_key,
            settings.s3_secret_key.get_secret_value(),
            secure=settings.s3_secure,
            region=settings.s3_region,
        )
        with _explained():
            ensure_bucket(client, settings.s3_bucket)
        return cls(client, settings.s3_bucket)

    def put_bytes(self, data: bytes, media_type: str = BINARY) -> Digest:
        """Stores the bytes and returns their digest."""
        digest = digest_of(data)
        self._put(digest, io.BytesIO(data), len(data), media_type)
        return digest

    def put_file(self, path: Path, media_type: str = BINARY) -> Digest:
        """Stores a file of any size in constant memory; it is read twice. Raises ChangedWhileRead."""
        with path.open("rb") as file:
            digest = Digest(hashlib.file_digest(file, "sha256").hexdigest())
            size_bytes = file.seek(0, io.SEEK_END)
            file.seek(0)
            self._put(digest, _Verifying(file, digest, size_bytes), size_bytes, media_type)
        return digest

    def put_stream(self, stream: BinaryIO, media_type: str = BINARY) -> Digest:
        """Stores what the stream gives, of unknown length: its name is known only at the end, so it waits on disk."""
        sha256 = hashlib.sha256()
        with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
            while chunk := stream.read(CHUNK_BYTES):
                sha256.update(chunk)
                spool.write(chunk)
            size_bytes = spool.tell()
            spool.seek(0)
            digest = Digest(sha256.hexdigest())
            self._put(digest, _Verifying(spool, digest, size_bytes), size_bytes, media_type)
        return digest

    def get_bytes(self, digest: str) -> bytes:
        """The whole object. Raises ObjectMissing, ObjectCorrupt."""
        return b"".join(self.open_stream(digest))

    def open_stream(self, digest: str) -> Iterator[bytes]:
        """The object in chunks. Its digest is known at the end: ObjectCorrupt comes after the last chunk.

        Whoever passes chunks on before the end must be able to take them back; else use `fetch_to`.
        """
        sha256 = hashlib.sha256()
        with _explained(digest):
            response = self._client.get_object(self._bucket, key_of(digest))
            try:
                for chunk in response.stream(CHUNK_BYTES):
                    sha256.update(chunk)
                    OBJECT_BYTES.labels("read").inc(len(chunk))
                    yield chunk
            finally:
                _give_back(response)
        if sha256.hexdigest() != digest:
            raise _corrupt(digest)

    def fetch_to(self, digest: str, path: Path) -> None:
        """Writes the object to `path`, which appears whole and verified or not at all."""
        draft = path.with_name(f".{path.name}.{digest[:12]}.draft")
        try:
            with draft.open("wb") as file:
                file.writelines(self.open_stream(digest))
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def exists(self, digest: str) -> bool:
        return self.size_bytes(digest) is not None

    def size_bytes(self, digest: str) -> int | None:
        """The object's size; None where there is no such object. The content is not looked at."""
        found = self._stat(digest)
        return found.size if found else None

    def modified_at(self, digest: str) -> datetime | None:
        """When the object was last put; None where there is no such object."""
        found = self._stat(digest)
        return found.last_modified if found else None

    def delete(self, digest: str) -> None:
        """Removes the object; one that is not there is no error."""
        with _explained(digest):
            self._client.remove_object(self._bucket, key_of(digest))

    def each(self) -> Iterator[StoredObject]:
        """Every stored object, in the order of digests. What is not an object of ours is passed over."""
        with _explained():
            for entry in self._client.list_objects(self._bucket, prefix=PREFIX, recursive=True):
                name = (entry.object_name or "").rpartition("/")[2]
                if entry.last_modified is not None and entry.object_name == f"{PREFIX}{name[:2]}/{name[2:4]}/{name}":
                    yield StoredObject(Digest(name), entry.size or 0, entry.last_modified)

    def get_many(self, digests: Iterable[str], threads: int = 8) -> Iterator[bytes]:
        """The objects in the order asked for, read ahead by a few, so that a million do not fill the memory."""
        return _in_order(self.get_bytes, digests, threads)

    def put_many(self, items: Iterable[bytes], media_type: str = BINARY, threads: int = 8) -> list[Digest]:
        """Stores all and returns their digests in order."""
        return list(_in_order(lambda data: self.put_bytes(data, media_type), items, threads))

    def _stat(self, digest: str) -> StatObject | None:
        try:
            with _explained(digest):
                return self._client.stat_object(self._bucket, key_of(digest))
        except ObjectMissing:
            return None

    def _put(self, digest: Digest, body: BinaryIO, size_bytes: int, media_type: str) -> None:
        with _explained(digest):
            self._client.put_object(
                self._bucket,
                key_of(digest),
                body,
                size_bytes,
                content_type=media_type,
                part_size=PART_BYTES,
                num_parallel_uploads=1,  # rclone wants the parts in order, and memory stays at one part
            )
        OBJECT_BYTES.labels("written").inc(size_bytes)


class _Verifying(io.RawIOBase, BinaryIO):
    """Passes a stream on and stops before its last byte if the whole is not what was promised."""

    def __init__(self, stream: BinaryIO | tempfile.SpooledTemporaryFile[bytes], digest: str, size_bytes: int) -> None:
        self._stream = stream
        self._digest = digest
        self._left_bytes = size_bytes
        self._sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        self._sha256.update(chunk)
        self._left_bytes -= len(chunk)
        at_end = self._left_bytes <= 0 or not chunk
        if at_end and self._sha256.hexdigest() != self._digest:
            raise ChangedWhileRead("Its content differs from when its digest was taken.", hint="Store it again.")
        return chunk


@contextmanager
def _explained(digest: str = "") -> Iterator[None]:
    """Turns what the client raises into our problems."""
    try:
        yield
    except S3Error as error:
        if digest and error.code in GONE:
            raise ObjectMissing(
                f"Object {digest} is not in the store.", hint="Run `segsmith fsck` to see what else is lost."
            ) from error
        raise StorageUnavailable(
            f"{error.code}: {error.message}", hint="Look at the S3 server and its keys."
        ) from error
    except HTTPError as error:
        raise StorageUnavailable(str(error), hint="Is the S3 server running at S3_ENDPOINT?") from error


def _corrupt(digest: str) -> ObjectCorrupt:
    return ObjectCorrupt(
        f"The bytes of object {digest} have another SHA-256.",
        hint="Restore it from a backup; `segsmith fsck` lists all.",
    )


def _give_back(response: BaseHTTPResponse) -> None:
    response.close()
    response.release_conn()


def _in_order(work: Callable[[Given], Taken], items: Iterable[Given], threads: int) -> Iterator[Taken]:
    """The results in the order of the items, at most 2 x `threads` of them waiting."""
    waiting: deque[Future[Taken]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="objects") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
