"""Objects over a real S3 server: what is written comes back, and what was lost or damaged is noticed."""

import hashlib
import io
import threading
from pathlib import Path

import pytest
from minio import Minio

from segsmith_shared.embedded.ports import free_port
from segsmith_shared.problems import InvalidInput
from segsmith_shared.settings import Settings
from segsmith_shared.storage.client import s3_client
from segsmith_shared.storage.objects import (
    PART_BYTES,
    ChangedWhileRead,
    ObjectCorrupt,
    ObjectMissing,
    ObjectStore,
    StorageUnavailable,
    digest_of,
    key_of,
)


@pytest.fixture
def raw(settings: Settings) -> Minio:
    """The bare client, for doing to the store what only accidents do."""
    return s3_client(settings.s3_endpoint, settings.s3_access_key, settings.s3_secret_key.get_secret_value())


def replace_content(raw: Minio, settings: Settings, digest: str, content: bytes) -> None:
    raw.put_object(settings.s3_bucket, key_of(digest), io.BytesIO(content), len(content))


@pytest.mark.parametrize("data", [b"", b"polyp", bytes(range(256)) * 5000])
def test_bytes_come_back_under_their_digest(object_store: ObjectStore, data: bytes) -> None:
    digest = object_store.put_bytes(data, "image/png")
    assert digest == hashlib.sha256(data).hexdigest()
    assert object_store.get_bytes(digest) == data
    assert object_store.size_bytes(digest) == len(data)


def test_a_file_larger_than_one_part_comes_back_whole(object_store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(bytes(range(251)) * ((2 * PART_BYTES + 12345) // 251))
    digest = object_store.put_file(source)
    object_store.fetch_to(digest, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_a_stream_of_unknown_length_is_stored_under_the_digest_of_all_of_it(object_store: ObjectStore) -> None:
    data = bytes(range(256)) * 100_000
    digest = object_store.put_stream(io.BytesIO(data))
    assert digest == digest_of(data)
    assert object_store.get_bytes(digest) == data


def test_a_lost_object_is_named_in_the_error(object_store: ObjectStore) -> None:
    digest = digest_of(b"never stored")
    with pytest.raises(ObjectMissing, match=digest):
        object_store.get_bytes(digest)
    assert not object_store.exists(digest)


def test_a_damaged_object_is_never_handed_out(
    object_store: ObjectStore, raw: Minio, settings: Settings, tmp_path: Path
) -> None:
    digest = object_store.put_bytes(b"label of pair 7")
    replace_content(raw, settings, digest, b"label of pair 8")
    with pytest.raises(ObjectCorrupt, match=digest):
        object_store.get_bytes(digest)
    with pytest.raises(ObjectCorrupt):
        object_store.fetch_to(digest, tmp_path / "label")
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_object_is_noticed(object_store: ObjectStore, raw: Minio, settings: Settings) -> None:
    digest = object_store.put_bytes(b"a checkpoint")
    replace_content(raw, settings, digest, b"a check")
    with pytest.raises(ObjectCorrupt):
        b"".join(object_store.open_stream(digest))


def test_a_file_that_changes_while_it_is_stored_leaves_no_object(object_store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(b"first")

    class Changing(type(path)):  # type: ignore[misc]  # the concrete class of Path differs by system
        def open(self, mode: str = "r", *_: object) -> io.BytesIO:
            return ChangesOnSecondRead(b"first", b"other")

    with pytest.raises(ChangedWhileRead):
        object_store.put_file(Changing(path))
    assert list(object_store.each()) == []


class ChangesOnSecondRead(io.BytesIO):
    """A file whose content is another one when it is read again."""

    def __init__(self, first: bytes, second: bytes) -> None:
        super().__init__(first)
        self._second = second

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        super().seek(0)
        self.write(self._second)
        return super().seek(position, whence)


def test_putting_again_renews_the_age(object_store: ObjectStore) -> None:
    digest = object_store.put_bytes(b"same")
    [before] = object_store.each()
    waited = threading.Event()
    while True:
        object_store.put_bytes(b"same")
        [after] = object_store.each()
        if after.modified_at > before.modified_at:
            break
        waited.wait(0.1)
    assert after.digest == digest


def test_deleting_twice_is_no_error(object_store: ObjectStore) -> None:
    digest = object_store.put_bytes(b"short-lived")
    object_store.delete(digest)
    object_store.delete(digest)
    assert not object_store.exists(digest)


def test_each_lists_all_objects_of_ours_and_nothing_else(
    object_store: ObjectStore, raw: Minio, settings: Settings
) -> None:
    stored = {object_store.put_bytes(f"object {number}".encode()): number for number in range(40)}
    raw.put_object(settings.s3_bucket, "sha256/README", io.BytesIO(b"not ours"), 8)
    listed = list(object_store.each())
    assert [entry.digest for entry in listed] == sorted(stored)
    assert {entry.size_bytes for entry in listed} == {8, 9}


def test_many_come_back_in_the_order_asked_for(object_store: ObjectStore) -> None:
    items = [f"item {number}".encode() for number in range(50)]
    digests = object_store.put_many(items)
    assert list(object_store.get_many(reversed(digests))) == items[::-1]


def test_one_lost_among_many_is_an_error(object_store: ObjectStore) -> None:
    digests = object_store.put_many([b"a", b"b", b"c"])
    object_store.delete(digests[1])
    with pytest.raises(ObjectMissing, match=digests[1]):
        list(object_store.get_many(digests))


def test_something_that_is_no_digest_reaches_no_server(object_store: ObjectStore) -> None:
    with pytest.raises(InvalidInput):
        object_store.get_bytes("../../etc/passwd")


def test_wrong_keys_are_told_apart_from_lost_objects(settings: Settings) -> None:
    wrong = settings.model_copy(update={"s3_access_key": "somebody-else"})
    with pytest.raises(StorageUnavailable):
        ObjectStore.from_settings(wrong)


def test_a_server_that_is_not_there_is_named_as_such(settings: Settings) -> None:
    client = s3_client(f"127.0.0.1:{free_port()}", "key", "secret", retries=0)
    with pytest.raises(StorageUnavailable, match="refused"):
        ObjectStore(client, "bucket").get_bytes(digest_of(b""))
