"""What goes wrong between here and the server, as errors that say what to do next."""

from typing import Any, ClassVar

import httpx

from segsmith_shared.problems import InvalidInput, NotFound, Problem


class ServerUnreachable(Problem):
    """Nobody answers at the server's address."""

    status = 503
    title = "The server does not answer"


class WrongAddress(InvalidInput):
    """What was given as the server's address is none."""

    title = "The server's address cannot be used"


class WrongApiKey(InvalidInput):
    """What was given as an API key cannot be one. The key is never shown."""

    title = "The API key cannot be used"


class ProxyUnusable(Problem):
    """A variable of the environment names a proxy that cannot be used."""

    title = "The proxy cannot be used"


class CertificatesUnusable(Problem):
    """A variable of the environment names certificates that cannot be read."""

    title = "The certificates cannot be read"


class TransferBroken(Problem):
    """What arrived is not what was sent, or a source changed while it was being sent."""

    status = 500
    title = "A transfer went wrong"


class FolderNotFound(NotFound):
    """The folder or file named on this machine does not exist or holds nothing."""

    title = "Nothing to send"


class DownloadFailed(Problem):
    """A published file could not be had from its address."""

    status = 502
    title = "The download failed"


class ApiProblem(Problem):
    """The server said no: an RFC 9457 problem document as an exception.

    `status`, `type` and `title` are the document's own; what else it says, e.g. `errors`, is in `members`.
    """

    status: int  # type: ignore[misc]  # one class for every status the server may answer
    title: str  # type: ignore[misc]  # and for every title

    _OWN: ClassVar[frozenset[str]] = frozenset({"type", "title", "status", "detail", "hint"})

    def __init__(self, status: int, document: dict[str, Any]) -> None:
        members = {name: value for name, value in document.items() if name not in self._OWN}
        super().__init__(str(document.get("detail") or ""), hint=str(document.get("hint") or ""))
        self.status = status
        self.title = str(document.get("title") or f"The server answered {status}")
        self.members = members
        self._type = str(document.get("type") or "about:blank")

    @property
    def type(self) -> str:
        return self._type

    @property
    def code(self) -> str:
        """The last part of the type: `bad-cursor` of `/problems/bad-cursor`."""
        return self._type.rpartition("/")[2]

    @classmethod
    def from_response(cls, response: httpx.Response) -> "ApiProblem":
        """The problem in a response whose body has been read; other bodies (a proxy's page) become a plain one."""
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            document = {
                "detail": f"{response.request.method} {response.request.url.path}: {response.reason_phrase}",
                "hint": _HINTS.get(response.status_code, ""),
            }
        return cls(response.status_code, document)


_HINTS = {
    407: "The proxy wants a user name and a password: http://user:password@host:port in HTTP_PROXY or HTTPS_PROXY.",
    413: "A proxy before the server limits what one request may hold: let it pass 16 MiB (nginx: client_max_body_size),"
    " or lower UPLOAD_PART_BYTES of the server.",
}
"""Of answers that are not the server's own, but of a proxy on the way."""
