"""Pages for people: where to begin, and what each kind of problem means."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath
from fastapi.templating import Jinja2Templates

from segsmith_api.problem_responses import problem_types
from segsmith_shared.problems import NotFound

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(Path(__file__).parent / "templates")

POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}


@router.get("/")
def read_start(request: Request) -> Response:
    """The routes, from the OpenAPI document, on a page that needs nothing from elsewhere."""
    operations = [
        {"method": method.upper(), "path": path, "summary": (operation.get("description") or "").partition("\n")[0]}
        for path, item in request.app.openapi()["paths"].items()
        for method, operation in item.items()
    ]
    return templates.TemplateResponse(request, "start.html", {"operations": operations}, headers=POLICY)


@router.get("/problems/{code}")
def read_problem(request: Request, code: Annotated[str, InPath(max_length=100)]) -> Response:
    """What a problem type means."""
    kind = problem_types().get(code)
    if kind is None:
        raise NotFound(f"There is no problem type {code}.")
    about = {"code": code, "title": kind.title, "status": kind.status, "meaning": kind.__doc__}
    return templates.TemplateResponse(request, "problem.html", about, headers=POLICY)
