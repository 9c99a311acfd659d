"""JSON bodies that Postgres can hold: what it would refuse is refused here, by name, before anything is done."""

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

DEEPEST = 30


class StorableJsonRequest(Request):
    """A request whose JSON has neither NaN or Infinity, nor a NUL or half a surrogate pair in any text."""

    async def json(self) -> Any:
        """The body's document. Raises HTTPException 422 for what JSON in Postgres cannot be; JSONDecodeError."""
        if not hasattr(self, "_json"):
            body = await self.body()
            try:
                document = json.loads(body, parse_constant=_refuse_constant)
                _check_storable(document)
            except UnicodeDecodeError as error:
                raise json.JSONDecodeError("not UTF-8", "", error.start) from error
            except RecursionError as error:
                raise HTTPException(422, "The JSON is nested too deeply.") from error
            self._json = document
        return self._json


class StorableJsonRoute(APIRoute):
    """Gives the route's handler a StorableJsonRequest."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def with_storable_json(request: Request) -> Response:
            return await handle(StorableJsonRequest(request.scope, request.receive))

        return with_storable_json


def _refuse_constant(name: str) -> NoReturn:
    raise HTTPException(422, f"{name} is no JSON number (RFC 8259).")


def _check_storable(document: Any, depth: int = 0) -> None:
    """Texts, keys included, must be UTF-8 without NUL, numbers finite, and the whole no deeper than any request is."""
    if depth > DEEPEST:
        raise HTTPException(422, f"The JSON is nested deeper than {DEEPEST} levels.")
    match document:
        case str() if "\0" in document or any("\ud800" <= character <= "\udfff" for character in document):
            raise HTTPException(422, "A text of the JSON holds a NUL or half a surrogate pair.")
        case float() if not math.isfinite(document):
            raise HTTPException(422, "A number of the JSON is beyond what a double can hold.")
        case list():
            for item in document:
                _check_storable(item, depth + 1)
        case dict():
            for key, value in document.items():
                _check_storable(key, depth + 1)
                _check_storable(value, depth + 1)
