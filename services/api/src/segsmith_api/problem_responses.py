"""Every error leaves as `application/problem+json` (RFC 9457), also those of routing, validation and bugs."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.exceptions import HTTPException

from segsmith_shared.problems import InvalidInput, NotFound, Problem, ServiceUnavailable, TooLarge
from segsmith_shared.telemetry import logger

MEDIA_TYPE = "application/problem+json"
LONGEST_INPUT = 200

log = logger(__name__)


class Unexpected(Problem):
    """A bug, or a server in a state nobody foresaw. The log has the traceback under the request id."""

    status = 500
    title = "Something went wrong on our side"


class DatabaseUnavailable(ServiceUnavailable):
    """Postgres does not answer."""

    title = "The database does not answer"


class MethodNotAllowed(Problem):
    """The address exists, the method does not."""

    status = 405
    title = "This address takes other methods"


class TooSlow(Problem):
    """The request's body stopped coming."""

    status = 408
    title = "The request took too long to arrive"


def install(app: FastAPI) -> None:
    """Make `app` answer every error that has a name as a problem; bugs are caught further out, by `limits`."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OperationalError, _database)
    app.add_exception_handler(InterfaceError, _database)


def response_for(problem: Problem, request_id: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The problem document, with the request id that finds it in the log."""
    document = problem.as_document() | {"request_id": request_id}
    needed = {"WWW-Authenticate": "Bearer"} if problem.status == HTTPStatus.UNAUTHORIZED else {}
    return JSONResponse(
        jsonable_encoder(document), problem.status, {**(headers or {}), **needed}, media_type=MEDIA_TYPE
    )


def request_id_of(request: Request) -> str:
    return str(request.scope.get("segsmith.request_id", ""))


def invalid(errors: Sequence[Mapping[str, Any]], prefix: tuple[str | int, ...] = ()) -> InvalidInput:
    """pydantic's errors as one problem: each with a JSON pointer into the body, or the parameter's name.

    `prefix` is where in the body the checked value stood. What was sent is not repeated: it may be large or secret.
    """
    described = [_described({**error, "loc": (*prefix, *error["loc"])}) for error in errors]
    first = described[0]
    where = first.get("pointer") or first.get("parameter")
    more = f" (and {len(described) - 1} more)" if len(described) > 1 else ""
    return InvalidInput(f"{where}: {first['detail']}{more}", hint="See `errors`.", errors=described)


def _described(error: Mapping[str, Any]) -> dict[str, str]:
    place, *path = error["loc"] or ("body",)
    detail = str(error["msg"])[:LONGEST_INPUT]
    if place == "body":
        if error["type"] == "json_invalid":
            return {"pointer": "#", "detail": f"not JSON at character {path[0]}: {error['ctx']['error']}"}
        return {"pointer": "#" + "".join("/" + _escaped(part) for part in path), "detail": detail}
    return {"parameter": ".".join(map(str, (place, *path))), "detail": detail}


def _escaped(part: str | int) -> str:
    """A reference token of RFC 6901."""
    return str(part)[:LONGEST_INPUT].replace("~", "~0").replace("/", "~1")


async def _problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101 - starlette's handler type is wider than what it is given
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("problem", problem=error.code, detail=error.detail, exc_info=error)
    return response_for(error, request_id_of(request))


async def _validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    return response_for(invalid(error.errors()), request_id_of(request))


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods_at(request)) or headers.get("Allow", "")
    return response_for(_named(request, error), request_id_of(request), headers)


def _methods_at(request: Request) -> list[str]:
    """All methods of the address (RFC 9110, 15.5.6); starlette knows those of the first route that has it."""
    paths = request.app.openapi()["paths"]
    here = [item for path, item in paths.items() if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), request.url.path)]
    return sorted({method.upper() for item in here for method in item})


def _named(request: Request, error: HTTPException) -> Problem:
    classes: dict[int, type[Problem]] = {
        404: NotFound,
        405: MethodNotAllowed,
        408: TooSlow,
        413: TooLarge,
        422: InvalidInput,
    }
    details = {
        404: f"There is nothing at {request.url.path[:LONGEST_INPUT]}.",
        405: f"{request.method} is not offered here.",
    }
    detail = details.get(error.status_code, str(error.detail))
    return _with_status(classes.get(error.status_code, Problem), error.status_code, detail)


def _with_status(kind: type[Problem], status: int, detail: str) -> Problem:
    problem = kind(detail)
    if kind is Problem:
        problem.status = status  # type: ignore[misc]  # the root class serves every status without a class of its own
    return problem


async def _database(request: Request, error: Exception) -> JSONResponse:
    log.error("database unavailable", exc_info=error)
    return response_for(DatabaseUnavailable("Try again in a moment."), request_id_of(request), {"Retry-After": "5"})


def unexpected(request_id: str) -> JSONResponse:
    """The answer to a bug. What happened is in the log, and only there."""
    hint = "Report the request id; the server's log has the details."
    return response_for(Unexpected("The request failed.", hint=hint), request_id)


def problem_types() -> dict[str, type[Problem]]:
    """Every problem class this process knows, by code: the pages behind the problem types."""
    known: dict[str, type[Problem]] = {}
    waiting: list[type[Problem]] = [Problem]
    while waiting:
        kind = waiting.pop()
        known[kind.code_of_class()] = kind
        waiting += kind.__subclasses__()
    return known
