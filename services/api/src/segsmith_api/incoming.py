"""Bytes on their way in: counted and digested as they come, on disk and never whole in memory."""

import base64
import binascii
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol

from fastapi import Request

from segsmith_shared.problems import InvalidInput
from segsmith_shared.storage.objects import ObjectStore

SHA_256 = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]*):\s*(?=,|$)")


class WrongPartSize(InvalidInput):
    """The part is longer or shorter than the upload's plan says."""

    title = "The part has the wrong size"


class DigestMismatch(InvalidInput):
    """The bytes that arrived are not the bytes that were promised."""

    title = "The bytes have another SHA-256"


class File(Protocol):
    """What a part is written to."""

    def write(self, data: bytes, /) -> int: ...

    def flush(self) -> None: ...


def sha256_in(content_digest: str | None) -> str | None:
    """The SHA-256 in a Content-Digest header (RFC 9530), as hexadecimal digits; None without a header.

    Raises InvalidInput where the header holds none, because a client that sends it wants it checked.
    """
    if content_digest is None:
        return None
    found = SHA_256.search(content_digest)
    try:
        digest = base64.b64decode(found[1], validate=True) if found else b""
    except binascii.Error:
        digest = b""
    if len(digest) != sha256().digest_size:
        raise InvalidInput("Content-Digest holds no SHA-256.", hint="Send `Content-Digest: sha-256=:BASE64:`.")
    return digest.hex()


async def receive_part(request: Request, file: File, size_bytes: int, promised: str | None) -> str:
    """Writes the body to `file` and returns its SHA-256.

    Raises WrongPartSize, as early as it shows, and DigestMismatch.
    """
    announced = request.headers.get("content-length")
    if announced is not None and announced != str(size_bytes):
        raise _wrong_size(size_bytes, announced[:20])
    digest = sha256()
    received_bytes = 0
    async for chunk in request.stream():
        received_bytes += len(chunk)
        if received_bytes > size_bytes:
            raise _wrong_size(size_bytes, "more")
        digest.update(chunk)
        file.write(chunk)
    if received_bytes < size_bytes:
        raise _wrong_size(size_bytes, str(received_bytes))
    file.flush()
    if promised is not None and digest.hexdigest() != promised:
        raise _mismatch("part", promised, digest.hexdigest())
    return digest.hexdigest()


def sha256_of_parts(objects: ObjectStore, digests: Sequence[str], promised: str) -> None:
    """Reads the parts in a row, chunk by chunk. Raises DigestMismatch, ObjectMissing, ObjectCorrupt."""
    whole = sha256()
    for digest in digests:
        for chunk in objects.open_stream(digest):
            whole.update(chunk)
    if whole.hexdigest() != promised:
        raise _mismatch("archive", promised, whole.hexdigest())


def _wrong_size(expected_bytes: int, came: str) -> WrongPartSize:
    return WrongPartSize(f"This part has {expected_bytes} bytes, not {came}.", hint="GET the upload for its part size.")


def _mismatch(what: str, promised: str, found: str) -> DigestMismatch:
    return DigestMismatch(
        f"The {what} was promised as {promised} and arrived as {found}.",
        hint="Send it again; if that repeats, the file changed or something on the way alters it.",
    )
