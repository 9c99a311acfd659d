"""One module per noun: parse, call, return."""

from fastapi import APIRouter

from segsmith_api.json_bodies import StorableJsonRoute


def router_of(tag: str) -> APIRouter:
    """A noun's router below /v1; its JSON bodies are checked to be storable."""
    return APIRouter(prefix="/v1", tags=[tag], route_class=StorableJsonRoute)
