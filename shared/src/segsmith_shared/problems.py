"""Errors a person can act on: one class per problem, rendered as RFC 9457 over HTTP and as one line in a terminal."""

import re
from typing import Any, ClassVar


class Problem(Exception):
    """The root of every error with a name. The class is the code; the message says what to do next.

    `title` is the same for every occurrence, `detail` tells this one, `hint` what to do about it. Extra keyword
    arguments become members of the problem document (RFC 9457, section 3.2) and must be JSON values.
    """

    status: ClassVar[int] = 400
    title: ClassVar[str] = "The request cannot be carried out"
    retryable: ClassVar[bool] = False  # whether a job that meets it is tried again: the input is not at fault

    def __init__(self, detail: str, *, hint: str = "", **members: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.members = members

    @property
    def type(self) -> str:
        """The problem type as a relative URI, e.g. `/problems/dataset-too-small` for `DatasetTooSmall`."""
        return f"/problems/{self.code}"

    @property
    def code(self) -> str:
        return self.code_of_class()

    @classmethod
    def code_of_class(cls) -> str:
        """`dataset-too-small` for `DatasetTooSmall`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()

    def as_document(self) -> dict[str, Any]:
        """The problem document: type, title, status, detail and, where given, hint and members."""
        document: dict[str, Any] = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.hint:
            document["hint"] = self.hint
        return document | self.members


class NotFound(Problem):
    """Nothing has this identity, or it belongs to nobody you may see."""

    status = 404
    title = "Not found"


class Conflict(Problem):
    """The thing is not in a state that allows this."""

    status = 409
    title = "Not possible in this state"


class InvalidInput(Problem):
    """A value from outside lies beyond its limits."""

    status = 422
    title = "A value is not acceptable"


class TooLarge(Problem):
    """More bytes, pixels or entries than the limit allows."""

    status = 413
    title = "Too large"


class Unauthenticated(Problem):
    """No valid API key came with the request."""

    status = 401
    title = "An API key is needed"


class ServiceUnavailable(Problem):
    """A server this one depends on does not answer."""

    status = 503
    title = "A needed service does not answer"
    retryable = True
