"""Archives on their way to the server: parts side by side, each with its digest; after a break only what is missing."""

import base64
import hashlib
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from uuid import UUID

from segsmith.packing import Archive
from segsmith.problems import TransferBroken
from segsmith.transport import Transport
from segsmith.values import Upload

PARTS_AT_ONCE = 4
OnBytes = Callable[[int, int], None]
"""Told (bytes the server has, bytes in all) after every part."""


def send_parts(transport: Transport, upload_id: UUID, archive: Archive, on_bytes: OnBytes | None = None) -> str:
    """Send the parts of `archive` that the server does not have, at most four at a time.

    Returns the SHA-256 of the whole archive, computed on the way. At most five parts are in memory. Parts the server
    has already are compared by digest and sent again where they differ. Raises TransferBroken, ApiProblem and
    ServerUnreachable.
    """
    upload = Upload.model_validate(transport.get(f"/v1/uploads/{upload_id}"))
    if upload.size_bytes != archive.size_bytes:
        raise TransferBroken(
            f"The upload was begun for {upload.size_bytes} bytes, {archive.filename} now has {archive.size_bytes}.",
            hint="Begin a new upload.",
        )
    there = {part.number: part.sha256 for part in upload.parts}
    whole = hashlib.sha256()
    sent_bytes = 0
    sending: set[Future[int]] = set()

    def settle(finished: set[Future[int]]) -> None:
        nonlocal sent_bytes
        for future in finished:
            sent_bytes += future.result()
            if on_bytes:
                on_bytes(sent_bytes, archive.size_bytes)

    with ThreadPoolExecutor(PARTS_AT_ONCE, thread_name_prefix="upload") as pool:
        try:
            for number in range(upload.part_count):
                content = archive.read(number * upload.part_bytes, upload.part_bytes)
                whole.update(content)
                wanted = there.get(number)
                sending.add(pool.submit(_send_part, transport, upload_id, number, content, wanted))
                if len(sending) >= PARTS_AT_ONCE:
                    finished, sending = wait(sending, return_when=FIRST_COMPLETED)
                    settle(finished)
            settle(sending)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return whole.hexdigest()


def _send_part(transport: Transport, upload_id: UUID, number: int, content: bytes, there: str | None) -> int:
    """Send one part unless the server has just these bytes; returns its size."""
    digest = hashlib.sha256(content)
    if digest.hexdigest() != there:
        transport.request(
            "PUT",
            f"/v1/uploads/{upload_id}/parts/{number}",
            content=content,
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Digest": f"sha-256=:{base64.b64encode(digest.digest()).decode()}:",
            },
        )
    return len(content)
