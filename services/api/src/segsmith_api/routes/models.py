"""Models that come from elsewhere; those that were trained here are read in `science`."""

from uuid import uuid4

from fastapi import Response
from sqlmodel import Session

from segsmith_api.answers import JobDetail
from segsmith_api.bodies import NewModel
from segsmith_api.dependencies import OnceOnly
from segsmith_api.idempotency import Reply
from segsmith_api.import_orders import pretrained_model_job
from segsmith_api.records import jobs
from segsmith_api.routes import router_of
from segsmith_shared.database.weights import require_weights
from segsmith_shared.jobs.plan import submit

router = router_of("models")


@router.post("/models", status_code=202, response_model=JobDetail)
def create_model(body: NewModel, once: OnceOnly) -> Response:
    """Make a model of a pretrained file that is here. To bring your own, POST /v1/uploads and close with `model`."""

    def work(session: Session) -> Reply:
        require_weights(session, [body.pretrained])
        job = pretrained_model_job(uuid4(), body)
        submit(session, [job])
        return Reply(202, jobs.detail(session, job.id), f"/v1/jobs/{job.id}", {job.queue: 1})

    return once(work)
