"""Stored objects as answers: named by digest, so that a browser asks for the same picture once."""

from collections.abc import Iterator
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from segsmith_shared.storage.objects import ObjectMissing, ObjectStore

WHOLE_BYTES = 16 * 2**20
PAGE_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
"""A page from outside (a report shows names from outside) may show pictures it holds, and nothing else."""

SHOWN_TYPES = frozenset({"text/html", "text/plain", "image/png", "image/jpeg", "image/svg+xml", "application/json"})


def object_response(
    request: Request, objects: ObjectStore, digest: str, media_type: str, filename: str, size_bytes: int = 0
) -> Response:
    """The object's bytes, verified; 304 where the client has them.

    Small objects are verified before the first byte leaves; of large ones the connection is broken where the digest
    turns out wrong at the end. Raises ObjectMissing, ObjectCorrupt.
    """
    headers = _headers(digest, media_type, filename)
    if f'"{digest}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if size_bytes <= WHOLE_BYTES:
        return Response(objects.get_bytes(digest), headers=headers, media_type=media_type)
    if not objects.exists(digest):
        raise ObjectMissing(f"Object {digest} is not in the store.")
    return StreamingResponse(
        objects.open_stream(digest), headers={**headers, "Content-Length": str(size_bytes)}, media_type=media_type
    )


def download(chunks: Iterator[bytes], media_type: str, filename: str) -> StreamingResponse:
    """A file made while it is sent."""
    headers = {"Content-Disposition": disposition("attachment", filename)}
    return StreamingResponse(chunks, headers=headers, media_type=media_type)


def disposition(kind: str, filename: str) -> str:
    """Content-Disposition (RFC 6266) for any name: the ASCII form cannot end the header or leave its quotes."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-~ ") else "_" for c in filename)[-150:] or "file"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename[-150:], safe='', errors='replace')}"


def _headers(digest: str, media_type: str, filename: str) -> dict[str, str]:
    kind = "inline" if media_type.partition(";")[0] in SHOWN_TYPES else "attachment"
    return {
        "ETag": f'"{digest}"',
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Disposition": disposition(kind, filename),
        "Content-Security-Policy": PAGE_POLICY,
    }
