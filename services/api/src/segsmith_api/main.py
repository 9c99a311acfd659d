"""The application: routes, their shell, and what a process opens at its start and closes at its end."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from fastapi import Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from segsmith_api import problem_responses
from segsmith_api.authentication import caller_of
from segsmith_api.installation import Installation
from segsmith_api.limits import JSON_LIMIT_BYTES, Shell
from segsmith_api.openapi import DESCRIPTION, PROBLEMS, problem_schemas
from segsmith_api.pages import router as pages
from segsmith_api.routes import api_keys, datasets, health, jobs, models, pairs, pipelines, science, uploads, weights
from segsmith_shared.settings import Settings
from segsmith_shared.settings import settings as settings_of_process

NOUNS = (datasets, uploads, pairs, pipelines, jobs, science, models, weights, api_keys)
PART = re.compile(r"/v1/uploads/[^/]+/parts/[^/]+")


class Api(FastAPI):
    """Documents its errors with the one media type they have."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        document["components"]["schemas"] |= problem_schemas()
        return document


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application for `settings`, the process's unless given. Connects when it starts, not before."""
    chosen = settings or settings_of_process()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        installation = await to_thread.run_sync(Installation.connect, chosen)
        installation.loop = asyncio.get_running_loop()
        app.state.installation = installation
        try:
            yield
        finally:
            installation.close()

    app = Api(
        title="segsmith",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # its pages fetch scripts from elsewhere; `/` lists the routes without
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        separate_input_output_schemas=False,
    )
    problem_responses.install(app)
    app.add_exception_handler(ClientDisconnect, _gone)
    for noun in NOUNS:
        app.include_router(noun.router, dependencies=[Depends(caller_of)], responses=PROBLEMS)
    app.include_router(health.guarded, dependencies=[Depends(caller_of)], responses=PROBLEMS)
    app.include_router(health.router)
    app.include_router(pages)
    app.add_middleware(Shell, body_limit_of=lambda scope: _body_limit(scope, chosen))
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _body_limit(scope: Scope, settings: Settings) -> int:
    """Parts may be as long as uploads have them; everything else is a JSON document."""
    if scope["method"] == "PUT" and PART.fullmatch(scope["path"]):
        return max(settings.upload_part_bytes, JSON_LIMIT_BYTES)
    return JSON_LIMIT_BYTES


async def _gone(request: Request, error: Exception) -> Response:
    """Nobody is left to read this; the status is for the log."""
    del request, error
    return Response(status_code=499)
