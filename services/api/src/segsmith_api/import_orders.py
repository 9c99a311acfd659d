"""What a finished upload becomes: pairs of its dataset, pretrained files, or a model."""

from uuid import UUID

from pydantic import ValidationError

from segsmith_api.bodies import CloseUpload, ImportOrder, NewModel
from segsmith_api.problem_responses import invalid
from segsmith_api.records.uploads import WrongOrder
from segsmith_shared.database.tables import JobKind, Upload
from segsmith_shared.jobs.plan import QUEUE_OF_KIND
from segsmith_shared.pairs.checking import CheckOptions
from segsmith_shared.plans.pipeline import PlannedJob
from segsmith_shared.plans.specs import Frozen, ImportModelSpec, ImportSpec, ImportWeightsSpec
from segsmith_shared.plans.weights import weights_named

SOON = -10
"""Priority of imports on the queue of long trainings: they take seconds, and a person waits for them."""


def check_order(row: Upload, body: CloseUpload) -> None:
    """Before anything is read. Raises WrongOrder, UnknownWeights, and InvalidInput naming wrong import options."""
    of_dataset = body.weights is None and body.model is None
    if (row.dataset_id is not None) != of_dataset or (row.dataset_id is None and body.order is not None):
        raise WrongOrder(
            f"Upload {row.id} belongs to {'a dataset' if row.dataset_id else 'no dataset'}.",
            hint="Close uploads of datasets with `import`, others with `weights` or `model`.",
        )
    if body.weights is not None and body.weights.name is not None:
        weights_named(body.weights.name)
    if body.order is not None:
        try:
            CheckOptions.model_validate(body.order.options)
        except ValidationError as error:
            raise invalid(error.errors(), ("body", "import", "options")) from error


def import_job(job_id: UUID, row: Upload, body: CloseUpload) -> PlannedJob:
    """The job that imports the upload as `check_order` allowed."""
    kind, what, spec = _spec_of(row, body)
    priority = 0 if kind == JobKind.IMPORT else SOON
    return PlannedJob(job_id, kind, f"import {what}"[:200], QUEUE_OF_KIND[kind], spec, priority=priority)


def pretrained_model_job(job_id: UUID, body: NewModel) -> PlannedJob:
    """The job that makes a model of a pretrained file."""
    kind, spec = JobKind.IMPORT_MODEL, ImportModelSpec(pretrained=body.pretrained, told=body.told)
    return PlannedJob(job_id, kind, f"import {body.pretrained}", QUEUE_OF_KIND[kind], spec, priority=SOON)


def _spec_of(row: Upload, body: CloseUpload) -> tuple[JobKind, str, Frozen]:
    if row.dataset_id is not None:
        order = body.order or ImportOrder()
        spec = ImportSpec(dataset_id=row.dataset_id, upload_id=row.id, **order.model_dump())
        return JobKind.IMPORT, row.filename, spec
    if body.weights is not None:
        weights = ImportWeightsSpec(upload_id=row.id, name=body.weights.name, replace=body.weights.replace)
        return JobKind.IMPORT_WEIGHTS, body.weights.name or row.filename, weights
    if body.model is None:
        raise ValueError("check_order lets no such upload pass")
    return JobKind.IMPORT_MODEL, row.filename, ImportModelSpec(upload_id=row.id, told=body.model)
