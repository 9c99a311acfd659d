"""Whether this process lives and can work, and its figures."""

from collections.abc import Callable

from fastapi import APIRouter, Response
from pydantic import BaseModel
from sqlalchemy import text

from segsmith_api import metrics
from segsmith_api.dependencies import Here, Reading
from segsmith_api.installation import Installation
from segsmith_api.records import jobs
from segsmith_shared.problems import ServiceUnavailable

router = APIRouter(tags=["health"])
guarded = APIRouter(tags=["health"])


class Health(BaseModel):
    status: str = "ok"


class NotReady(ServiceUnavailable):
    """A server this one needs does not answer."""

    title = "Not ready"


@router.get("/livez")
async def livez() -> Health:
    """The process answers."""
    return Health()


@router.get("/readyz")
def readyz(here: Here) -> Health:
    """Postgres and the object store answer. Redis is not asked: without its bell, jobs only start later."""
    for name, check in (("Postgres", _ask_postgres), ("The object store", _ask_objects)):
        _require(name, check, here)
    return Health()


@guarded.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def read_metrics(session: Reading) -> Response:
    """For Prometheus."""
    return Response(metrics.exposition(jobs.counts(session)), media_type=metrics.MEDIA_TYPE)


def _require(name: str, check: Callable[[Installation], None], here: Installation) -> None:
    try:
        check(here)
    except Exception as error:
        raise NotReady(f"{name} does not answer.", hint="Look at that server and its address.") from error


def _ask_postgres(here: Installation) -> None:
    """Also that the migrations have run."""
    with here.transaction() as session:
        session.execute(text("SELECT 1 FROM job LIMIT 1"))


def _ask_objects(here: Installation) -> None:
    here.objects.exists("0" * 64)
