"""Published files from their addresses: resumed after a break, bounded in size, with the digest they arrived with."""

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from segsmith.connections import hopeless, http_client, proxy_for
from segsmith.problems import DownloadFailed
from segsmith.transport import BUSY_STATUSES, Pauses
from segsmith.uploads import OnBytes

SILENCE_SECONDS = 60.0
MOVED_ON = 416
"""The server has nothing beyond what is there: the draft is whole, or of another file."""


def download(
    address: str, file: Path, maximum_bytes: int, on_bytes: OnBytes | None = None, patience_seconds: float = 60.0
) -> str:
    """Write what is at `address` to `file`, which appears when it is whole; returns its SHA-256.

    What an earlier attempt left beside it is gone on with, if the server still has that very version. Raises
    DownloadFailed for an address that does not answer or refuses, and for more than `maximum_bytes`; ProxyUnusable,
    CertificatesUnusable.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = _Draft(file)
    pauses = Pauses(patience_seconds)
    arrived = False
    timeout = httpx.Timeout(SILENCE_SECONDS, connect=10.0)
    proxy = proxy_for(address)
    with http_client(address, proxy, follow_redirects=True, timeout=timeout) as http:
        while True:
            had_bytes = draft.size_bytes
            try:
                if _fetch(http, address, draft, maximum_bytes, on_bytes):
                    return draft.finish()
                failure = "the server is busy"
            except httpx.TransportError as error:
                reason = None if arrived else hopeless(address, proxy, error)
                if reason is not None:
                    raise DownloadFailed(reason.detail, hint=reason.hint) from error
                failure = str(error) or type(error).__name__
            if draft.size_bytes > had_bytes:
                arrived = True
                pauses.reset()
            if not pauses.wait():
                raise DownloadFailed(f"{urlsplit(address).hostname}: {failure}.", hint=f"Address: {address}")


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file in hexadecimal, read in blocks."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class _Draft:
    """What has arrived so far, and which version of the file it is part of."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.path = file.with_name(f".{file.name}.part")
        self._tag = file.with_name(f".{file.name}.part-of")

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def headers(self) -> dict[str, str]:
        """Ask for the rest, of the same version only; without a version, for the whole."""
        if not self.size_bytes or not self._tag.exists():
            return {}
        return {"Range": f"bytes={self.size_bytes}-", "If-Range": self._tag.read_text()}

    def start_over(self, tag: str | None) -> None:
        self.path.unlink(missing_ok=True)
        if tag and not tag.startswith("W/"):  # a weak tag does not promise equal bytes
            self._tag.write_text(tag)
        else:
            self._tag.unlink(missing_ok=True)

    def finish(self) -> str:
        digest = sha256_of(self.path)
        self._tag.unlink(missing_ok=True)
        self.path.replace(self._file)
        return digest


def _fetch(http: httpx.Client, address: str, draft: _Draft, maximum_bytes: int, on_bytes: OnBytes | None) -> bool:
    """One attempt; False when the server asks to come back later."""
    headers = {"Accept-Encoding": "identity", **draft.headers()}
    with http.stream("GET", address, headers=headers) as response:
        if response.status_code in BUSY_STATUSES:
            return False
        if response.status_code == MOVED_ON:
            draft.start_over(None)
            return False
        if response.is_error:
            raise DownloadFailed(
                f"{response.url.host} answered {response.status_code} {response.reason_phrase}.",
                hint=f"Address: {address}",
            )
        if address.startswith("https:") and response.url.scheme != "https":
            raise DownloadFailed(f"{address} leads to an address without encryption.")
        if not response.headers.get("Content-Range", "").startswith(f"bytes {draft.size_bytes}-"):
            draft.start_over(response.headers.get("ETag"))
        done_bytes = draft.size_bytes
        total_bytes = done_bytes + int(response.headers.get("Content-Length", "0"))
        with draft.path.open("ab") as out:
            for chunk in response.iter_raw():
                done_bytes += len(chunk)
                if done_bytes > maximum_bytes:
                    break
                out.write(chunk)
                if on_bytes:
                    on_bytes(done_bytes, max(total_bytes, done_bytes))
    if max(done_bytes, total_bytes) > maximum_bytes:
        draft.start_over(None)
        raise DownloadFailed(
            f"{address} holds more than {maximum_bytes} bytes.", hint="It is not the file that was published there."
        )
    return done_bytes >= total_bytes
